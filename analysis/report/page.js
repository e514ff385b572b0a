"use strict";
// Draws what the page's data describe; every number and sentence was made before, in Python.
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
let themeChoice = "auto";
let current = 0;
let plots = [];

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "style") element.style.cssText = value;
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

// --- colours: a chart names them as "--name" or "--name/alpha", so that light, dark and print have their own -------------

function colour(token) {
  const [name, alpha] = token.split("/");
  const value = getComputedStyle(root).getPropertyValue(name).trim();
  if (!alpha) return value;
  const n = parseInt(value.slice(1), 16);
  return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${alpha})`;
}

function coloured(spec) {
  if (typeof spec === "string") return /^--[a-z0-9-]+(\/[0-9.]+)?$/.test(spec) ? colour(spec) : spec;
  if (Array.isArray(spec)) return typeof spec[0] === "number" ? spec : spec.map(coloured);
  if (spec && typeof spec === "object") return Object.fromEntries(Object.entries(spec).map(([k, v]) => [k, coloured(v)]));
  return spec;
}

function draw(plot) {
  const spec = coloured(plot.spec);
  const axis = { gridcolor: colour("--grid"), linecolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true };
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 56, r: 16, t: 14, b: 46 },
    height: plot.height, hovermode: "closest",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("--text") },
    hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--line"), font: { color: colour("--text") } },
    modebar: { bgcolor: colour("--surface"), color: colour("--muted"), activecolor: colour("--text") },
    legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", font: { color: colour("--text") } },
    ...spec.layout,
  };
  for (const name of Object.keys(layout)) if (/^[xy]axis/.test(name)) layout[name] = { ...axis, ...layout[name] };
  const config = {
    displaylogo: false, displayModeBar: "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", filename: plot.id },
  };
  return Plotly.react(plot.element, spec.data, layout, config);
}

function drawAll() {  // anew, since a resized chart keeps the room that its legend took before
  const width = window.innerWidth;
  plots.forEach((plot) => Plotly.purge(plot.element));
  Promise.all(plots.map(draw)).then(() => { root.dataset.drawn = width; });
}

let resizing = 0;
let drawnWidth = window.innerWidth;
window.addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    if (window.innerWidth !== drawnWidth) drawAll();
    drawnWidth = window.innerWidth;
  }, 120);
});

function setTheme(dark) {
  root.dataset.theme = dark ? "dark" : "light";
  plots.forEach(draw);
}

function chosenDark() { return themeChoice === "auto" ? systemDark.matches : themeChoice === "dark"; }
document.getElementById("theme").addEventListener("click", () => {
  themeChoice = chosenDark() ? "light" : "dark";
  setTheme(chosenDark());
});
systemDark.addEventListener("change", () => setTheme(chosenDark()));
window.addEventListener("beforeprint", () => { root.classList.add("printing"); root.dataset.theme = "light"; drawAll(); });
window.addEventListener("afterprint", () => { root.classList.remove("printing"); setTheme(chosenDark()); drawAll(); });

// --- parts of the page ----------------------------------------------------------------------------------------------------

const glossary = new RegExp(data.glossary.pattern, "g");

function explained(text) {  // the text, with abbreviations that say under the pointer what they mean
  const parts = [];
  let from = 0;
  for (const match of String(text).matchAll(glossary)) {
    const term = match.slice(2).findIndex((group) => group !== undefined);
    const start = match.index + match[1].length;
    const end = match.index + match[0].length;
    parts.push(text.slice(from, start), make("abbr", { title: data.glossary.meanings[term] }, text.slice(start, end)));
    from = end;
  }
  return [...parts, text.slice(from)];
}

function cell(value, tag, { text = false, label = false } = {}) {
  const element = make(tag, text ? { class: "text" } : {});
  const shown = (words) => (label ? explained(String(words)) : [String(words)]);
  if (value !== null && typeof value === "object") {
    if (value.dot) element.append(make("span", { class: "dot", style: `--c: var(${value.dot})` }));
    element.append(...shown(value.text));
    if (value.sub) element.append(" ", make("span", { class: "sub" }, value.sub));
  } else element.append(...(value === null ? ["–"] : shown(value)));
  return element;
}

function table(spec) {
  const text = new Set(spec.text_columns || []);
  const head = make("tr", {}, ...spec.columns.map((name, i) => cell(name, "th", { text: text.has(i), label: true })));
  const rows = spec.rows.map((row) => make("tr", {}, ...row.map((value, i) => cell(value, "td", { text: text.has(i), label: i === 0 }))));
  const caption = spec.caption ? make("caption", {}, ...explained(spec.caption)) : null;
  const body = make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...rows));
  const wrap = make("div", { class: `w${spec.width || 12}` }, make("div", { class: "scroll" }, body));
  if (spec.note) wrap.append(make("p", { class: "muted" }, ...explained(spec.note)));
  return wrap;
}

function figure(spec) {
  const attributes = { class: "plot", id: `figure-${spec.id}`, style: `height: ${spec.height}px`, role: "img", "aria-label": spec.title };
  const element = make("div", attributes);
  plots.push({ element, spec: spec.spec, height: spec.height, id: spec.id });
  const caption = spec.caption ? make("figcaption", {}, ...explained(spec.caption)) : null;
  return make("figure", { class: `w${spec.width || 12}` }, make("h3", {}, ...explained(spec.title)), element, caption);
}

function glance(spec) {
  const half = (side) => {
    const share = (count) => `${(100 * count) / spec.top}%`;
    return make("div", { class: `half ${side.key}`, style: `--c: var(--${side.key})` },
      make("div", { class: "count" }, side.title), make("div", { class: "muted" }, side.meaning),
      make("div", { class: "track", role: "img", "aria-label": `${side.title}; ${side.facts.join("; ")}` },
        make("i", { class: "pale", style: `width: ${share(side.observed)}` }), make("i", { class: "full", style: `width: ${share(side.clear)}` }),
        make("i", { class: "chance", style: `width: ${share(side.expected)}` })),
      make("div", { class: side.beyond ? "sure" : "sure muted" }, side.sure),
      ...side.facts.map((fact) => make("div", { class: "muted" }, fact)));
  };
  return make("figure", { id: "glance" }, make("div", { class: "halves" }, ...spec.sides.map(half)), make("figcaption", {}, spec.legend));
}

function verdictCard(page) {
  const card = make("div", { class: `verdict tone-${page.verdict.tone}`, id: "verdict" },
    make("div", { class: "word" }, page.verdict.word), make("p", { class: "meaning" }, page.verdict.meaning),
    page.glance ? glance(page.glance) : null,
    make("p", { class: "evidence" }, ...explained(page.verdict.evidence)),
    make("dl", { class: "terms" }, ...page.verdict.terms.flatMap(([term, words]) => [make("dt", {}, term), make("dd", {}, words)])));
  return card;
}

function tiles(list) {
  return make("div", { class: "tiles" }, ...list.map((tile) => make("div", { class: "tile" },
    make("div", { class: "label" }, tile.colour ? make("span", { class: "dot", style: `--c: var(${tile.colour})` }) : null, ...explained(tile.label)),
    make("div", { class: "value" }, tile.value), make("div", { class: "note" }, tile.note || ""))));
}

function picture(part) {
  const link = make("a", { href: part.picture, download: "tree.svg" }, make("img", { src: part.picture, alt: part.caption, style: "width: 100%; background: white" }));
  return make("figure", { class: "w12" }, link, make("figcaption", {}, part.caption));
}

function warnings(lines) {
  const list = (some) => make("ul", {}, ...some.map((line) => make("li", {}, line)));
  const box = make("div", { class: "warnings", role: "note" }, make("strong", {}, "Before you read on"), list(lines.slice(0, 6)));
  if (lines.length > 6) box.append(make("details", {}, make("summary", {}, `${lines.length - 6} more`), list(lines.slice(6))));
  return box;
}

function show(index) {
  current = index;
  const page = data.pages[index];
  for (const button of document.querySelectorAll("#benchmarks button")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.index) === index));
  }
  plots.forEach((plot) => Plotly.purge(plot.element));
  plots = [];
  const main = document.getElementById("main");
  main.replaceChildren();
  if (page.verdict) main.append(verdictCard(page));
  if (page.tiles.length) main.append(tiles(page.tiles));
  if (data.warnings.length) main.append(warnings(data.warnings));
  for (const section of page.sections) {
    const grid = make("div", { class: "grid" });
    for (const part of section.parts) grid.append(part.spec ? figure(part) : part.picture ? picture(part) : table(part));
    const lead = section.lead ? make("p", { class: "lead" }, ...explained(section.lead)) : null;
    const terms = section.terms.length ? make("p", { class: "glossary" },
      ...section.terms.flatMap(([term, meaning], i) => [i ? "; " : "", make("b", {}, term), ` ${meaning}`]), ".") : null;
    main.append(make("section", { id: section.id }, make("h2", {}, section.title), lead, terms, grid));
  }
  if (data.problems) main.append(problemSection(page.benchmark));
  drawAll();
}

// --- the problems, to read ------------------------------------------------------------------------------------------------

function rate(side, count, n) {
  return make("div", { class: "rate", title: `${side}: ${count} of ${n} correct` },
    make("div", { class: "bar" }, make("i", { style: `width: ${(100 * count) / n}%; --c: var(--${side})` })), `${count}/${n}`);
}

function completions(list, name, side) {
  const column = make("div", {}, make("h3", {}, name));
  if (!list.length) column.append(make("p", { class: "muted" }, "No completion recorded."));
  for (const one of list) {
    const answer = one.answer !== null ? ` · answer: ${one.answer}` : "";
    column.append(make("div", { class: "completion", style: `--c: var(--${one.correct ? "good" : "bad"})` },
      make("div", { class: "meta" }, `${one.correct ? "correct" : "wrong"}${answer}${one.meta ? ` · ${one.meta}` : ""}`),
      make("pre", {}, one.text)));
  }
  return column;
}

function problemRow(problem) {
  const look = data.categories[problem.category];
  const flag = { class: "flag", title: "from none to nearly all, or back: read it before believing it" };
  const row = make("details", { class: "problem", "data-category": problem.category, "data-id": problem.id },
    make("summary", {},
      make("span", { class: "id" }, problem.id, problem.benchmark ? make("span", { class: "muted" }, ` ${problem.benchmark}`) : null),
      rate("base", problem.base[0], problem.base[1]), rate("tuned", problem.tuned[0], problem.tuned[1]),
      make("span", {}, make("span", { class: "dot", style: `--c: var(${look.colour})` }), look.label),
      make("span", { class: "muted" }, problem.flip ? make("span", flag, "suspicious flip") : problem.certified || "")));
  row.addEventListener("toggle", () => {
    if (row.open && !row.querySelector(".reading")) {
      const texts = data.completions[problem.key] || { base: [], tuned: [] };
      const sides = [completions(texts.base, data.labels.base, "base"), completions(texts.tuned, data.labels.tuned, "tuned")];
      row.append(make("div", { class: "reading" }, ...sides));
      if (problem.note) row.append(make("p", { class: "muted", style: "padding: 0 12px" }, problem.note));
    }
  });
  return row;
}

function problemSection(benchmark) {
  const own = data.problems.filter((problem) => benchmark === null || problem.group === benchmark);
  const state = { category: "all", text: "", shown: 40 };
  const list = make("div", { id: "problem-list" });
  const status = make("span", { class: "muted", id: "problem-count", role: "status" });
  const more = make("button", { type: "button", id: "more" }, "show more");
  const kinds = ["all", ...Object.keys(data.categories), "flip"];
  const fits = (problem, kind) => kind === "all" || (kind === "flip" ? problem.flip : problem.category === kind);
  const buttons = kinds.map((kind) => {
    const count = own.filter((problem) => fits(problem, kind)).length;
    const label = kind === "all" ? "all" : kind === "flip" ? "suspicious flips" : data.categories[kind].label;
    const dot = data.categories[kind] ? make("span", { class: "dot", style: `--c: var(${data.categories[kind].colour})` }) : null;
    const attributes = { type: "button", "data-filter": kind, "aria-pressed": String(kind === "all"), disabled: count === 0 };
    const button = make("button", attributes, dot, `${label} (${count})`);
    button.addEventListener("click", () => { state.category = kind; state.shown = 40; fill(); });
    return button;
  });
  const search = make("input", { type: "search", placeholder: "find a problem by its id", "aria-label": "find a problem by its id" });
  search.addEventListener("input", () => { state.text = search.value.toLowerCase(); state.shown = 40; fill(); });
  more.addEventListener("click", () => { state.shown += 100; fill(); });
  function fill() {
    const found = own.filter((problem) => fits(problem, state.category) && (!state.text || problem.id.toLowerCase().includes(state.text)));
    list.replaceChildren(...found.slice(0, state.shown).map(problemRow));
    status.textContent = `${Math.min(state.shown, found.length)} of ${found.length} shown`;
    more.style.display = found.length > state.shown ? "" : "none";
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.filter === state.category));
  }
  fill();
  const heads = ["problem", data.labels.base, data.labels.tuned, "category", "certified"].map((text) => make("span", {}, text));
  return make("section", { id: "problems", class: "problems-section" },
    make("h2", {}, "Problems to read"), make("p", { class: "lead" }, data.problems_lead),
    make("div", { class: "filters" }, ...buttons, search, status),
    make("div", { class: "problem-head" }, ...heads), list, more);
}

// --- start ------------------------------------------------------------------------------------------------------------------

if (data.pages.length > 1) {
  document.getElementById("benchmarks").append(...data.pages.map((page, index) => {
    const button = make("button", { type: "button", "data-index": index }, page.label);
    button.addEventListener("click", () => show(index));
    return button;
  }));
}
document.querySelector("#provenance div").append(...data.provenance.map((part) => part.columns ? table(part) : make("pre", {}, part)));
root.dataset.theme = chosenDark() ? "dark" : "light";
show(0);
