"""From an audit document to what the page shows: verdict, tiles, sections of charts and tables, problems to read."""

from __future__ import annotations

from typing import Any

from analysis.records import ModelSamples
from analysis.report import charts, curves
from analysis.report.reading import completions, problems
from analysis.tables import blocks, metric_rows

MEANING = {
    "expanded": "It solves problems that a second draw of the base would not explain, and lost none beyond chance.",
    "shrank": "It lost problems that the base can solve, more than chance explains, and gained none beyond chance.",
    "traded": "It both lost and gained problems, each more than chance explains.",
    "held": "No more was lost or gained than one model drawn twice would show, and both are bounded below the margin.",
    "inconclusive": "Neither a loss nor a gain stands out from chance, and the data are too few to rule them out.",
}


def audit_page(document: dict, base: ModelSamples | None, tuned: ModelSamples | None) -> dict[str, Any]:
    """The page's data. base, tuned: the aligned samples, for completions to read; None leaves them out."""
    models = document.get("models") or {}
    names = tuple(str((models.get(side) or {}).get("name") or side) for side in ("base", "tuned"))
    names = tuple(names) if names[0] != names[1] else (f"{names[0]} (base)", f"{names[1]} (tuned)")
    short = tuple(name if len(name) <= 34 else "…" + name[-33:] for name in names)
    by = blocks(document)
    pooled_first = dict(sorted(by.items(), key=lambda item: item[0] != "all"))
    rows = document["problems_detail"]
    several = len(by) > 1
    keyed = problems(rows, several, document)
    return {
        "names": dict(zip(("base", "tuned"), short, strict=True)),
        "warnings": document.get("warnings") or [],
        "categories": charts.CATEGORIES,
        "pages": [
            {
                "label": "all benchmarks" if name == "all" else name,
                "benchmark": None if name == "all" else name,
                "verdict": verdict(block),
                "tiles": tiles(block),
                "sections": sections(name, block, by, [r for r in rows if name in ("all", r["benchmark"])], short),
            }
            for name, block in pooled_first.items()
        ],
        "problems": keyed,
        "problems_lead": "Look at the data: suspicious flips come first, then what changed most. Open a problem to read completions"
        " of both models, where they were recorded.",
        "completions": {} if base is None or tuned is None else completions(rows, base, tuned),
        "provenance": provenance(document),
    }


def verdict(block: dict) -> dict[str, Any]:
    word = block["verdict"]
    notes = [f"Read {label}: {other}." for label, other in ((block.get("verdict_detail") or {}).get("other_readings") or {}).items()]
    evidence = block["evidence"]
    return {
        "word": word.capitalize(),
        "meaning": MEANING.get(word, ""),
        "evidence": evidence,
        "notes": [] if any(n.split(": ")[0][5:12].lower() in evidence.lower() for n in notes) else notes,
    }


def tiles(block: dict) -> list[dict[str, str | None]]:
    s, n, p = block["support"], block["null"], block["pass_at_k"]
    last = str(s["k"]) if str(s["k"]) in p["base"] else list(p["base"])[-1]
    first = "1" if "1" in p["base"] else list(p["base"])[0]
    draws = block.get("draws") or {}
    total = " + ".join(f"{draws[side]['total']:,}" for side in ("base", "tuned") if side in draws)
    crossing = block.get("crossing_k")
    out = [
        tile("problems", f"{block['problems']:,}", f"{total} samples" if total else ""),
        tile("preserved", number(s["preserved"]), "solved by both", "--preserved"),
        tile("shrunk", number(s["shrunk"]), f"chance alone: {n['expected_shrunk']:.3g}", "--shrunk"),
        tile("expanded", number(s["expanded"]), f"chance alone: {n['expected_expanded']:.3g}", "--expanded"),
        tile("out", number(s["out"]), "solved by neither", "--out"),
    ]
    for k in dict.fromkeys((first, last)):
        out.append(
            tile(
                f"pass@{int(k):,}",
                f"{p['base'][k]['value']:.1%} → {p['tuned'][k]['value']:.1%}",
                f"difference {interval(p['difference'][k], sign=True)}",
            )
        )
    words = (
        "none up to k = " + f"{int(last):,}"
        if not crossing
        else f"{crossing['low']:,.0f} to {'beyond ' + last if crossing['high'] is None else format(crossing['high'], ',.0f')}"
    )
    out.append(tile("curves cross at k", f"{crossing['value']:,.0f}" if crossing else "–", words))
    return out


def tile(label: str, value: str, note: str, colour: str | None = None) -> dict[str, str | None]:
    return {"label": label, "value": value, "note": note, "colour": colour}


def number(x: float) -> str:
    return f"{x:,.0f}" if abs(x - round(x)) < 0.05 else f"{x:,.1f}"


def interval(entry: dict | None, sign: bool = False, percent: bool = True) -> str:
    if not entry or entry["value"] is None:
        return "–"
    kind = ("+" if sign else "") + (".1%" if percent else ".3f")
    text = format(entry["value"], kind)
    return (
        text
        if entry.get("low") is None
        else f"{text} ({format(entry['low'], kind)} to {'beyond' if entry['high'] is None else format(entry['high'], kind)})"
    )


def sections(name: str, block: dict, by: dict[str, dict], rows: list[dict], names: tuple[str, str]) -> list[dict[str, Any]]:
    out = []
    if name == "all" and len(by) > 1:
        out.append(
            section(
                "verdicts",
                "By benchmark",
                "Levels are shared over the benchmarks by Holm; the pooled problems are a question of their own.",
                [verdicts_table(by)],
            )
        )
    detail = block.get("crossing_detail") or {}
    ahead = [
        f"{who} is ahead beyond its band {'at k = ' + str(r[0]) if r[0] == r[1] else f'from k = {r[0]:,.0f} to {r[1]:,.0f}'}"
        for who, key in zip(names, ("base_ahead_range", "tuned_ahead_range"), strict=True)
        if (r := detail.get(key))
    ]
    lead = f"The curves {curves.crossing_words(block.get('crossing_k')).removeprefix('the curves ')}"
    lead += f" ({share(detail['share'])} of bootstrap replicates cross). " if "share" in detail else ". "
    lead += ("; ".join(ahead) + "." if ahead else "Neither side is ahead beyond the band that holds at all k.") if detail else ""
    parts = [curves.pass_at_k(block, names), curves.difference(block)] if block.get("curves") else []
    out.append(
        section("curves", "How many problems within k samples", lead, [*parts, curves.tokens(block, names), pass_table(block, names)])
    )
    out.append(section("support", "Support", support_lead(block), [charts.flow(block, names), charts.null(block), support_table(block)]))
    certified = block.get("certified")
    parts = [charts.scatter(rows, certified and certified["eps"], names), charts.ladder(certified) if certified else None]
    out.append(section("per-problem", "Problem by problem, and what can be certified", certified_lead(certified), parts))
    out.append(answer_section(block, names))
    out.append(section("entropy", "Entropy and perplexity", None, [*entropy_parts(block, names), *perplexity_parts(block, names)]))
    out.append(
        section(
            "metrics",
            "Relatives of pass@k",
            "Means over problems with 95 % intervals (Bayes@N holds the problems fixed).",
            [metrics_part(block, names)],
        )
    )
    if advice := block.get("advice"):
        out.append(section("use", "If you have K samples to spend", None, [curves.mixing(advice, names), advice_table(advice, names)]))
    if halves := block.get("split_halves"):
        out.append(section("selection", "What selection is worth", halves_words(halves), []))
    return [s for s in out if s and (s["parts"] or (s["id"] == "selection"))]


def share(x: float) -> str:
    """A share that is not quite 0 or 1 does not read as if it were."""
    return ("more than 99.9%" if x > 0.999 else "fewer than 0.1%" if x < 0.001 else f"{x:.1%}") if 0 < x < 1 else ("all" if x else "none")


def section(id: str, title: str, lead: str | None, parts: list) -> dict[str, Any]:
    return {"id": id, "title": title, "lead": lead, "parts": [part for part in parts if part]}


def verdicts_table(by: dict[str, dict]) -> dict[str, Any]:
    rows = []
    for name, b in sorted(by.items(), key=lambda item: item[0] == "all"):
        s, n, p = b["support"], b["null"], b["pass_at_k"]
        k = list(p["base"])[-1]
        rows.append(
            [
                "all, pooled" if name == "all" else name,
                b["verdict"],
                b["problems"],
                s["k"],
                *(number(s[c]) for c in ("preserved", "shrunk", "expanded", "out")),
                f"{n['p_shrunk']:.2g}",
                f"{n['p_expanded']:.2g}",
                interval(p["difference"]["1"], sign=True) if "1" in p["difference"] else None,
                interval(p["difference"][k], sign=True),
            ]
        )
    columns = [
        "benchmark",
        "verdict",
        "problems",
        "k",
        "P",
        "S",
        "E",
        "O",
        "p(S)",
        "p(E)",
        "difference at k = 1",
        "difference at largest k",
    ]
    return {"columns": columns, "rows": rows, "text_columns": [1]}


def support_lead(block: dict) -> str:
    s, p = block["support"], block.get("mcnemar_p")
    exact = (
        f"Exact McNemar test of expanded against shrunk: p = {p:.2g}."
        if p is not None
        else f"No McNemar test: {block.get('mcnemar_why_null') or 'not given'}."
    )
    kept = f"Of the problems the base solves in {s['k']:,} samples, {percent(s['srr'])} are kept (SRR)"
    return f"{kept}; of those the tuned model solves, {percent(s['ndr'])} are new (NDR). {exact}"


def percent(x: float | None) -> str:
    return "–" if x is None else f"{x:.1%}"


def support_table(block: dict) -> dict[str, Any]:
    """The metrics beside the null."""
    s, n, i = block["support"], block["null"], block["support"].get("intervals") or {}
    again = block.get("redraw")
    rows = [
        [{"text": "preserved P", "dot": "--preserved"}, number(s["preserved"]), None, None, again and number(again["preserved"])],
        [
            {"text": "shrunk S", "dot": "--shrunk"},
            number(s["shrunk"]),
            f"{n['expected_shrunk']:.3g}",
            f"{n['p_shrunk']:.2g}",
            again and number(again["shrunk"]),
        ],
        [
            {"text": "expanded E", "dot": "--expanded"},
            number(s["expanded"]),
            f"{n['expected_expanded']:.3g}",
            f"{n['p_expanded']:.2g}",
            again and number(again["expanded"]),
        ],
        [{"text": "out O", "dot": "--out"}, number(s["out"]), None, None, again and number(again["out"])],
    ]
    labels = {
        "srr": "SRR = P / (P + S)",
        "ndr": "NDR = E / (P + E)",
        "sds": "SDS, their harmonic mean",
        "nscr": "NSCR = (E − S) / (P + E + S)",
    }
    rows += [[label, interval(i.get(key) or {"value": s[key]}, percent=False), None, None, None] for key, label in labels.items()]
    columns = ["", f"observed at k = {s['k']:,}", "one model drawn twice", "one-sided p", "base drawn again"]
    if not again:
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return {"caption": "The published metrics beside the null", "columns": columns, "rows": rows, "width": 12}


def pass_table(block: dict, names: tuple[str, str]) -> dict[str, Any]:
    p, fixed, first = block["pass_at_k"], block.get("pass_at_k_fixed_problems"), block.get("pass_at_first_k")
    columns = ["k", names[0], names[1], "difference"]
    rows = []
    for k in p["base"]:
        row = [f"{int(k):,}", *(interval(p[side][k]) for side in ("base", "tuned")), interval(p["difference"][k], sign=True)]
        if fixed:
            row += [
                f"{fixed[side][k]['low']:.1%} to {fixed[side][k]['high']:.1%}" if k in fixed.get(side, {}) else None
                for side in ("base", "tuned")
            ]
        if first:
            row += [percent(first[side].get(k)) for side in ("base", "tuned")]
        rows.append(row)
    columns += [f"{name}, these problems" for name in names] if fixed else []
    columns += [f"{name}, first k of n" for name in names] if first else []
    return {
        "caption": "pass@k",
        "columns": columns,
        "rows": rows,
        "note": "Intervals are over problems; “these problems” holds the problem set fixed and asks only about the draws."
        if fixed
        else None,
    }


def certified_lead(certified: dict | None) -> str:
    if not certified:
        return "Too few draws for anything to be certified."
    plan = certified.get("plan") or {}
    text = (
        f"At eps = {certified['eps']:.3g} and {certified['confidence']:.0%} confidence: {certified['preserved']} preserved,"
        f" {certified['shrunk']} shrunk, {certified['expanded']} expanded,"
        f" {certified['out']} out of support, {certified['undetermined']} undetermined."
    )
    if plan:
        text += f" About {plan['total_base']:,} further draws of the base and {plan['total_tuned']:,} of the tuned model would settle them"
        text += f", but for {plan['beyond']} whose rate is too near eps." if plan.get("beyond") else "."
    return text


def answer_section(block: dict, names: tuple[str, str]) -> dict[str, Any] | None:
    rows = []
    for key, label in (("answers", "distinct correct answers"), ("modes", "solution modes")):
        if entry := block.get(key):
            c = entry.get("certified") or {}
            rows.append(
                [
                    label,
                    *(number(entry[x]) for x in ("preserved", "shrunk", "expanded")),
                    percent(entry["srr"]),
                    percent(entry["ndr"]),
                    *(c.get(x) for x in ("preserved", "shrunk", "expanded", "undetermined")),
                ]
            )
    columns = ["unit", "P", "S", "E", "SRR", "NDR", "certified P", "certified S", "certified E", "undetermined"]
    return (
        section(
            "answers",
            "Support by answer",
            "The same question of each distinct correct answer or way of solving, rather than of each problem.",
            [{"columns": columns, "rows": rows}],
        )
        if rows
        else None
    )


def entropy_parts(block: dict, names: tuple[str, str]) -> list[dict]:
    entries = block.get("entropy") or {}
    labels = {
        "token": "tokens",
        "answer": "answers",
        "answer_corrected": "answers, corrected",
        "mode": "modes",
        "mode_corrected": "modes, corrected",
    }
    rows = [(label, entries[key]["base"], entries[key]["tuned"]) for key, label in labels.items() if entries.get(key)]
    counts = {"answer_distinct": "distinct answers", "mode_distinct": "distinct modes"}
    more = [(label, entries[key]["base"], entries[key]["tuned"]) for key, label in counts.items() if entries.get(key)]
    caption = "Means over problems. Tokens: of the next-token distribution. Answers: of the distribution of final answers"
    caption += " (no answer is a class), and corrected for answers not yet seen."
    out = [charts.dots("entropy", "Entropy", caption, rows, names, "nats", 7)] if rows else []
    return out + ([charts.dots("distinct", "Distinct answers seen", "Means over problems.", more, names, "a problem", 5)] if more else [])


def perplexity_parts(block: dict, names: tuple[str, str]) -> list[dict]:
    if not (entry := block.get("perplexity")):
        return []
    order = ("preserved", "shrunk", "expanded", "out")
    groups: dict[tuple, dict[str, dict]] = {}
    for r in entry["rows"]:
        groups.setdefault((order.index(r["category"]), r["category"], r["written_by"]), {})[r["under"]] = r
    rows = [
        (f"{category}, by {author}", by.get("base"), by.get("tuned"))
        for (_, category, author), by in sorted(groups.items(), key=lambda item: (item[0][0], str(item[0][2])))
    ]
    caption = (
        f"{entry['formula']}. Rows: what became of the problem, and who wrote the traces; colour: the model under which they are measured."
    )
    chart = charts.dots("perplexity", "Perplexity of traces", caption, rows, names, "perplexity", 12, from_zero=False)
    chart["spec"]["layout"]["margin"]["l"] = 240
    return [chart]


def metrics_part(block: dict, names: tuple[str, str]) -> dict[str, Any] | None:
    rows = [[name, interval(b), interval(t), interval(d, sign=True)] for name, b, t, d in metric_rows(block)]
    if se := block.get("delta_se") or block.get("delta_se_at_largest_k"):
        rows.append([f"sampling-efficiency gap: base's pass@{se['k']} less tuned pass@1", None, None, interval(se, sign=True)])
    return {"columns": ["metric", names[0], names[1], "difference"], "rows": rows} if rows else None


def advice_table(advice: list[dict], names: tuple[str, str]) -> dict[str, Any]:
    words = {"base": f"all on {names[0]}", "tuned": f"all on {names[1]}"}
    rows = [
        [
            f"{r['budget']:,}",
            words.get(r["use"], f"{r['best_split']['k_base']:,} + {r['best_split']['k_tuned']:,}"),
            percent(r["best_split"]["value"]),
            interval(r["gain_over_best_alone"], sign=True),
        ]
        for r in advice
    ]
    return {
        "columns": ["K", "best split (base + tuned)", "solved", "more than the better model alone"],
        "rows": rows,
        "text_columns": [1],
        "width": 6,
    }


def halves_words(h: dict) -> str:
    return (
        f"Choosing problems because the base missed them in one half of its draws ({h['draws_per_half']['base']:,}) makes any model look"
        f" better on them: of {h['base_unsolved']:.1f} such problems the tuned model then solves {h['tuned_then_solves']:.1f}, but the base"
        f" itself {h['base_then_solves']:.1f} on its other half. Corrected gain: {h['corrected_gain']:+.1f} problems. The other way round,"
        f" of {h['tuned_unsolved']:.1f} missed by the tuned model the base solves {h['base_then_solves_lost']:.1f} and the tuned model"
        f" itself {h['tuned_then_solves_lost']:.1f}: corrected loss {h['corrected_loss']:+.1f}. About {h['expanded_again']:.1f} expanded"
        f" and {h['shrunk_again']:.1f} shrunk problems show the same on both halves."
    )


def provenance(document: dict) -> list[Any]:
    files = [
        [side, f["path"], f.get("select") or "", f["rows"], f["sha256"]]
        for side, list_ in document["inputs"].items()
        for f in (list_ if isinstance(list_, list) else list_.get("files", []))
    ]
    out: list[Any] = [
        {"caption": "Files", "columns": ["side", "path", "model", "rows", "sha256"], "rows": files, "text_columns": [1, 2, 4]}
    ]
    for key in ("models", "settings", "versions"):
        if document.get(key):
            flat = [[k, plainly(v)] for k, v in document[key].items() if v is not None]
            out.append({"caption": key.capitalize(), "columns": ["", ""], "rows": flat, "text_columns": [0, 1]})
    return [*out, f"seed {document.get('seed')}"]


def plainly(value: Any) -> str:
    """A setting as people write it."""
    if isinstance(value, dict):
        return "; ".join(
            f"{key} {plainly(v)}" if not isinstance(v, dict) else plainly(v) for key, v in value.items() if v not in (None, {}, [])
        )
    return ", ".join(map(plainly, value)) if isinstance(value, list) else str(value)
