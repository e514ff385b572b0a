"use strict";
// Lists completions or groups of them; every number that counts more than one completion was made before, in Python.
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
const PAGE = 50;
const TONES = { correct: "good", wrong: "bad", no_answer: "bad" };

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "style") element.style.cssText = value;
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

// --- theme ------------------------------------------------------------------------------------------------------------------

let themeChoice = "auto";
function chosenDark() { return themeChoice === "auto" ? systemDark.matches : themeChoice === "dark"; }
function setTheme(dark) { root.dataset.theme = dark ? "dark" : "light"; }
document.getElementById("theme").addEventListener("click", () => {
  themeChoice = chosenDark() ? "light" : "dark";
  setTheme(chosenDark());
});
systemDark.addEventListener("change", () => setTheme(chosenDark()));
window.addEventListener("beforeprint", () => setTheme(false));
window.addEventListener("afterprint", () => setTheme(chosenDark()));
setTheme(chosenDark());

// --- rows and groups --------------------------------------------------------------------------------------------------------

const has = (name) => name in data.columns;
const rows = Array.from({ length: data.count }, (_, i) => {
  const row = { index: i, more: data.more[i] };
  for (const [name, values] of Object.entries(data.columns)) row[name] = values[i];
  row.source = data.sources[row.source];
  return row;
});
const totals = new Map(data.groups.map((group) => [group.group, group]));
const hasSteps = data.steps.length > 0;
const hasReward = has("reward");
const sourcesHere = [...new Set(rows.map((row) => row.source))].sort();
const verdictsHere = [...new Set(rows.map((row) => row.verdict))].sort();

function number(value, digits = 3) {
  if (typeof value !== "number") return value === null || value === undefined ? "–" : String(value);
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}
const words = (verdict) => verdict.replace("_", " ");
const called = (row) => (row.benchmark && row.benchmark !== row.problem ? `${row.problem} · ${row.benchmark}` : String(row.problem));
const searched = (row) => row.searched ??= [row.problem, row.benchmark, row.answer, row.text, data.prompts[row.prompt]]
  .filter((text) => text !== null && text !== undefined).join("\n").toLowerCase();

const state = { view: "completions", verdict: "", source: "", from: null, to: null, text: "", sort: hasSteps ? "step" : "problem", down: false, shown: PAGE };

const SORTS = {
  step: ["step", (row) => row.step],
  problem: ["problem", (row) => String(row.problem)],
  reward: ["reward", (row) => row.reward],
  advantage: ["advantage", (row) => row.more.advantage],
  tokens: ["length in tokens", (row) => row.tokens],
};
const GROUP_SORTS = {
  step: ["step", (group) => group.rows[0].step],
  problem: ["problem", (group) => String(group.rows[0].problem)],
  solved: ["share correct", (group) => (group.total.judged ? group.total.correct / group.total.judged : null)],
  reward: ["mean reward", (group) => group.total.reward],
};

function compared(a, b) {  // what is not there comes last, whichever way is sorted
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : 2;
  if (b === null || b === undefined) return -2;
  return typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
}

function sorted(list, key) {
  return list.map((one, i) => [key(one), i, one]).sort((a, b) => {
    const order = compared(a[0], b[0]);
    return Math.abs(order) === 2 && (a[0] ?? b[0]) !== (a[0] && b[0]) ? order : (state.down ? -order : order) || a[1] - b[1];
  }).map((entry) => entry[2]);
}

function found() {
  return rows.filter((row) => (!state.verdict || row.verdict === state.verdict) && (!state.source || row.source === state.source)
    && (state.from === null || row.step >= state.from) && (state.to === null || row.step <= state.to)
    && (!state.text || searched(row).includes(state.text)));
}

function grouped(list) {
  const groups = new Map();
  for (const row of list) {
    if (!groups.has(row.group)) groups.set(row.group, { total: totals.get(row.group), rows: [] });
    groups.get(row.group).rows.push(row);
  }
  return [...groups.values()];
}

// --- what is listed ---------------------------------------------------------------------------------------------------------

function mark(verdict) { return make("span", { class: "dot", style: `--c: var(--${TONES[verdict] || "undetermined"})` }); }

function pairs(row) {
  const said = [];
  if (hasSteps) said.push(["step", row.step]);
  said.push(["problem", called(row)], ["source", row.source], ["verdict", words(row.verdict)]);
  if (row.answer !== null && row.answer !== undefined) said.push(["answer", row.answer]);
  if (row.reward !== null && row.reward !== undefined) said.push(["reward", number(row.reward, 5)]);
  if (row.tokens !== null && row.tokens !== undefined) said.push(["tokens", row.tokens]);
  for (const [name, value] of Object.entries(row.more)) said.push([name.replaceAll("_", " "), Number.isInteger(value) ? value : number(value, 5)]);
  return make("dl", { class: "pairs" }, ...said.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
}

function prompt(row) {
  if (row.prompt === null || row.prompt === undefined) return null;
  return make("div", { class: "completion", style: "--c: var(--line)" }, make("div", { class: "meta" }, "prompt"), make("pre", {}, data.prompts[row.prompt]));
}

function completion(row, withPairs) {
  const tone = `--c: var(--${TONES[row.verdict] || "undetermined"})`;
  const meta = [words(row.verdict), row.source, row.reward !== null && row.reward !== undefined ? `reward ${number(row.reward)}` : null,
    row.tokens !== null && row.tokens !== undefined ? `${row.tokens} tokens` : null].filter(Boolean).join(" · ");
  const text = row.text === null || row.text === undefined ? make("p", { class: "muted" }, "No text recorded.") : make("pre", {}, row.text);
  return make("div", { class: "completion", style: tone }, make("div", { class: "meta" }, meta), text, withPairs ? pairs(row) : null);
}

function folded(attributes, summary, inside) {
  const box = make("details", attributes, make("summary", {}, ...summary));
  box.addEventListener("toggle", () => {
    if (box.open && box.childElementCount === 1) box.append(make("div", { class: "inside" }, ...inside().filter(Boolean)));
  });
  return box;
}

const severalSources = sourcesHere.length > 1;
const valueName = hasReward ? "reward" : has("tokens") ? "tokens" : "";

function place(row) { return make("span", { class: "id" }, hasSteps ? make("span", { class: "muted" }, `step ${row.step} `) : null, called(row)); }

function heads() {
  const names = state.view === "groups" ? [hasSteps ? "step, problem" : "problem", "correct", hasReward ? "mean reward" : "", "completions"]
    : [hasSteps ? "step, problem" : "problem", severalSources ? "verdict, source" : "verdict", valueName, "text"];
  return make("div", { class: `entry-head ${state.view === "groups" ? "group" : ""}` }, ...names.map((name) => make("span", {}, name)));
}

function rowBox(row) {
  const start = (row.text || "").slice(0, 240).replace(/\s+/g, " ");
  const source = severalSources ? make("span", { class: "muted" }, ` · ${row.source}`) : null;
  return folded({ class: "problem entry", "data-index": row.index },
    [place(row), make("span", { class: "judged" }, mark(row.verdict), words(row.verdict), source),
      make("span", { class: "value", "data-name": valueName }, valueName ? number(row[valueName]) : ""), make("span", { class: "start" }, start)],
    () => [prompt(row), completion(row, true)]);
}

function groupBox(group) {
  const { rows: own, total } = group;
  const first = own[0];
  const share = total.judged ? (100 * total.correct) / total.judged : 0;
  const bar = make("div", { class: "rate", title: `${total.correct} of ${total.judged} judged completions are correct` },
    make("div", { class: "bar" }, make("i", { style: `width: ${share}%; --c: var(--good)` })), `${total.correct}/${total.judged}`);
  const part = own.length < total.n ? `${own.length} of ${total.n} shown` : `${total.n} completions`;
  return folded({ class: "problem entry group", "data-group": total.group },
    [place(first), bar, make("span", { class: "value", "data-name": "mean reward" }, hasReward ? number(total.reward) : ""), make("span", { class: "start" }, part)],
    () => [prompt(first), ...own.map((row) => completion(row, false))]);
}

// --- steps: share correct and mean reward over the run, to click on ----------------------------------------------------------

function stepChart() {
  const width = 1120, height = 130, left = 4, bottom = 4, top = 8;
  const ns = "http://www.w3.org/2000/svg";
  const draw = (tag, attributes) => {
    const element = document.createElementNS(ns, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const steps = data.steps;
  const wide = (width - 2 * left) / steps.length;
  const shares = steps.map((step) => (step.judged ? step.correct / step.judged : null));
  const high = Math.max(...shares.filter((share) => share !== null), 0.01);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "steps", role: "img", "aria-label": "share of correct completions at each step" });
  svg.append(draw("line", { x1: left, x2: width - left, y1: height - bottom, y2: height - bottom, class: "axis" }));
  steps.forEach((step, i) => {
    const tall = shares[i] === null ? 0 : ((height - bottom - top) * shares[i]) / high;
    const group = draw("g", { class: "step", "data-step": step.step, tabindex: "0" });
    group.append(draw("rect", { x: left + i * wide, y: 0, width: wide, height: height - bottom, class: "hit" }));
    group.append(draw("rect", { x: left + i * wide + wide * 0.1, y: height - bottom - tall, width: Math.max(wide * 0.8, 0.5), height: tall, class: "column" }));
    const title = draw("title", {});
    title.textContent = `step ${step.step}: ${step.correct} of ${step.judged} correct` + (hasReward ? `, mean reward ${number(step.reward)}` : "")
      + `, ${step.n} completions in ${step.groups} groups`;
    group.append(title);
    const only = () => {
      const same = state.from === step.step && state.to === step.step;
      state.from = state.to = same ? null : step.step;
      state.shown = PAGE;
      fill();
    };
    group.addEventListener("click", only);
    group.addEventListener("keydown", (event) => { if (event.key === "Enter") only(); });
    svg.append(group);
  });
  const caption = `Share of correct completions at each step, from step ${steps[0].step} to ${steps[steps.length - 1].step}; the highest column is `
    + `${(100 * high).toFixed(1)} %. All completions count, those left out of this page too. Click on a step to see it alone.`;
  return make("figure", { id: "steps" }, svg, make("figcaption", {}, caption));
}

// --- controls ---------------------------------------------------------------------------------------------------------------

const list = make("div", { id: "list" });
const status = make("span", { class: "muted", id: "count", role: "status" });
const more = make("button", { type: "button", id: "more" }, "show more");
more.addEventListener("click", () => { state.shown += PAGE; fill(); });

function select(id, label, choices, set) {
  const element = make("select", { id }, ...choices.map(([value, text]) => make("option", { value }, text)));
  element.addEventListener("change", () => { set(element.value); state.shown = PAGE; fill(); });
  return make("label", { for: id }, `${label} `, element);
}

function bound(id, label, key) {
  const element = make("input", { id, type: "number", step: "1", min: data.steps[0].step, max: data.steps[data.steps.length - 1].step });
  element.addEventListener("input", () => { state[key] = element.value === "" ? null : Number(element.value); state.shown = PAGE; fill(); });
  return make("label", { for: id }, `${label} `, element);
}

const views = ["completions", "groups"].map((view) => {
  const button = make("button", { type: "button", "data-view": view }, view);
  button.addEventListener("click", () => { state.view = view; state.shown = PAGE; sorts(); fill(); });
  return button;
});
const sortChoice = make("select", { id: "sort" });
sortChoice.addEventListener("change", () => { state.sort = sortChoice.value; fill(); });
const direction = make("button", { type: "button", id: "direction" });
direction.addEventListener("click", () => { state.down = !state.down; fill(); });

function sorts() {
  const known = { step: hasSteps, reward: hasReward, tokens: has("tokens"), advantage: rows.some((row) => row.more.advantage !== undefined) };
  const choices = Object.entries(state.view === "groups" ? GROUP_SORTS : SORTS).filter(([name]) => known[name] !== false);
  sortChoice.replaceChildren(...choices.map(([name, [label]]) => make("option", { value: name }, label)));
  if (!choices.some(([name]) => name === state.sort)) state.sort = choices[0][0];
  sortChoice.value = state.sort;
}

const search = make("input", { type: "search", id: "search", placeholder: "text, answer or problem", "aria-label": "search in texts, answers and problems" });
search.addEventListener("input", () => { state.text = search.value.toLowerCase(); state.shown = PAGE; fill(); });
const count = (key, value) => rows.filter((row) => row[key] === value).length;
const filters = [
  select("verdict", "verdict", [["", "all"], ...verdictsHere.map((v) => [v, `${words(v)} (${count("verdict", v)})`])], (value) => { state.verdict = value; }),
  severalSources ? select("source", "source", [["", "all"], ...sourcesHere.map((s) => [s, `${s} (${count("source", s)})`])], (value) => { state.source = value; }) : null,
  hasSteps ? bound("from", "from step", "from") : null,
  hasSteps ? bound("to", "to step", "to") : null,
];

function fill() {
  const matching = found();
  const groups = state.view === "groups";
  const key = (groups ? GROUP_SORTS : SORTS)[state.sort][1];
  const all = sorted(groups ? grouped(matching) : matching, key);
  list.replaceChildren(heads(), ...all.slice(0, state.shown).map(groups ? groupBox : rowBox));
  status.textContent = `${Math.min(state.shown, all.length)} of ${all.length} ${state.view} listed` + (matching.length < rows.length ? `, of ${rows.length} in this page` : "");
  more.style.display = all.length > state.shown ? "" : "none";
  direction.textContent = state.down ? "↓ falling" : "↑ rising";
  for (const button of views) button.setAttribute("aria-pressed", String(button.dataset.view === state.view));
  for (const [id, value] of [["from", state.from], ["to", state.to]]) {
    const element = document.getElementById(id);
    if (element && document.activeElement !== element) element.value = value ?? "";
  }
  for (const step of document.querySelectorAll("#steps .step")) {
    const at = Number(step.dataset.step);
    step.classList.toggle("off", (state.from !== null && at < state.from) || (state.to !== null && at > state.to));
  }
}

sorts();
document.getElementById("main").append(...[
  data.steps.length > 1 ? stepChart() : null,
  make("div", { class: "filters" }, ...views, ...filters.filter(Boolean), search,
    make("label", { for: "sort" }, "sort by ", sortChoice), direction, status),
  list, more].filter(Boolean));
fill();
