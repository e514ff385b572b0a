"""The sections of the page, from one benchmark of the audit document: sentences, charts and tables."""

from __future__ import annotations

from typing import Any

import analysis.report.charts as charts
import analysis.report.curves as curves
from analysis.published import metric_rows
from analysis.report.measures import measures
from analysis.report.support import (
    budget_table,
    dependence_table,
    fold_table,
    lucky_table,
    solved_table,
    support_lead,
    support_table,
)
from analysis.report.units import unit_parts
from analysis.report.words import cell, interval, number, percent, plainly, share, shortened, signed


def sections(
    name: str,
    block: dict,
    *,
    by: dict[str, dict],
    rows: list[dict],
    names: tuple[str, str],
    authors: dict[str, str],
    level: str,
) -> list[dict[str, Any]]:
    """The sections of a benchmark's page, from top to bottom; one without anything to show is left out.

    name: the benchmark; "all" for the pooled problems.
    block: what the audit document says of it.
    by: the blocks of all benchmarks.
    rows: its problems.
    names: what base and tuned are called in charts and tables.
    authors: the same of the models that wrote traces, by full name.
    level: of the intervals, as written ("95%").
    """
    out = [verdicts_section(by)] if name == "all" and len(by) > 1 else []
    out += [
        curves_section(block, names, level=level),
        support_section(block),
        problems_section(block, rows, names=names),
        answers_section(block),
        entropy_section(block, names, authors=authors),
        metrics_section(block, names, level=level),
        section("measures", "Further measures", lead=None, parts=measures(block)),
        *use_sections(block, names),
    ]
    return [s for s in out if s["parts"] or s["id"] == "selection"]


def verdicts_section(by: dict[str, dict]) -> dict[str, Any]:
    return section(
        "verdicts",
        "By benchmark",
        lead="p-values are after Holm over the benchmarks; the pooled problems are a question of their own.",
        parts=[verdicts_table(by)],
    )


def curves_section(block: dict, names: tuple[str, str], *, level: str) -> dict[str, Any]:
    """pass@k of both sides, and where the curves cross."""
    charts_of_k = (
        [curves.pass_at_k(block, names, level=level), curves.difference(block, level)] if block.get("curves") else []
    )
    return section(
        "curves",
        "How many problems within k samples",
        lead=curves_lead(block, names),
        parts=[*charts_of_k, curves.tokens(block, names), pass_table(block, names)],
    )


def curves_lead(block: dict, names: tuple[str, str]) -> str:
    detail = block.get("crossing_detail") or {}
    ahead = [
        f"{who} is ahead {'at k = ' + str(r[0]) if r[0] == r[1] else f'from k = {r[0]:,.0f} to {r[1]:,.0f}'}"
        for who, key in zip(names, ("base_ahead_range", "tuned_ahead_range"), strict=True)
        if (r := detail.get(key))
    ]
    lead = f"The curves {curves.crossing_words(block.get('crossing_k')).removeprefix('the curves ')}"
    lead += f" ({share(detail['share'])} of bootstrap replicates cross). " if "share" in detail else ". "
    if detail:
        lead += f"Beyond the band that holds at all k at once, {' and '.join(ahead) or 'neither side is ahead'}."
    return lead


def support_section(block: dict) -> dict[str, Any]:
    return section(
        "support",
        "Support",
        lead=support_lead(block),
        parts=[
            solved_table(block),
            charts.null(block),
            support_table(block),
            fold_table(block),
            budget_table(block),
            lucky_table(block),
            dependence_table(block),
        ],
    )


def problems_section(block: dict, rows: list[dict], *, names: tuple[str, str]) -> dict[str, Any]:
    certified = block.get("certified")
    return section(
        "per-problem",
        "Problem by problem, and what can be certified",
        lead=certified_lead(certified),
        parts=[
            charts.scatter(rows, certified and certified["eps"], names=names),
            charts.ladder(certified) if certified else None,
        ],
    )


def answers_section(block: dict) -> dict[str, Any]:
    title, lead, parts = unit_parts(block)
    return section("answers", title, lead=lead, parts=parts)


def entropy_section(block: dict, names: tuple[str, str], *, authors: dict[str, str]) -> dict[str, Any]:
    return section(
        "entropy",
        "Entropy and perplexity",
        lead=None,
        parts=[*entropy_parts(block, names), *perplexity_parts(block, names, authors=authors)],
    )


def metrics_section(block: dict, names: tuple[str, str], *, level: str) -> dict[str, Any]:
    return section(
        "metrics",
        "Relatives of pass@k",
        lead=f"Means over problems with {level} intervals (Bayes@N holds the problems fixed).",
        parts=[metrics_part(block, names)],
    )


def use_sections(block: dict, names: tuple[str, str]) -> list[dict[str, Any]]:
    """What to do with the two models: how to spend samples on them, and what choosing problems is worth."""
    out = []
    if advice := block.get("advice"):
        out.append(
            section(
                "use",
                "If you have K samples to spend",
                lead=None,
                parts=[curves.mixing(advice, names), advice_table(advice, names)],
            )
        )
    if halves := block.get("split_halves"):
        out.append(section("selection", "What selection is worth", lead=halves_words(halves), parts=[]))
    return out


def section(id: str, title: str, *, lead: str | None, parts: list) -> dict[str, Any]:
    """A section of the page.

    id: unique on the page.
    title: its heading.
    lead: the paragraph below; None: none.
    parts: its tables, figures and lists; empty ones are left out.
    """
    return {"id": id, "title": title, "lead": lead, "parts": [part for part in parts if part]}


def verdicts_table(by: dict[str, dict]) -> dict[str, Any]:
    rows = []
    # The pooled problems come last, as in a sum.
    for name, b in sorted(by.items(), key=lambda item: item[0] == "all"):
        s = b["support"]
        detail = b["verdict_detail"]
        p = b["pass_at_k"]
        k = list(p["base"])[-1]
        rows.append(
            [
                "all, pooled" if name == "all" else name,
                b["verdict"],
                b["problems"],
                s["k"],
                *(number(s[c]) for c in ("preserved", "shrunk", "expanded", "out")),
                f"{detail['p_loss']:.2g}",
                f"{detail['p_gain']:.2g}",
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


def pass_table(block: dict, names: tuple[str, str]) -> dict[str, Any]:
    p = block["pass_at_k"]
    fixed = block.get("pass_at_k_fixed_problems")
    first = block.get("pass_at_first_k")
    columns = ["k", names[0], names[1], "difference"]
    rows = []
    for k in p["base"]:
        row = [f"{int(k):,}", *(cell(p[side][k]) for side in ("base", "tuned")), cell(p["difference"][k], sign=True)]
        if fixed:
            row += [f"{fixed[side][k]['low']:.1%} to {fixed[side][k]['high']:.1%}" for side in ("base", "tuned")]
            row.append(" to ".join(signed(f"{fixed['difference'][k][limit]:+.1%}") for limit in ("low", "high")))
        if first:
            row += [cell(first[side][k]) for side in ("base", "tuned")]
        rows.append(row)
    columns += [f"{name}, these problems" for name in (*names, "difference")] if fixed else []
    columns += [f"{name}, first k of n" for name in names] if first else []
    note = "Intervals are over problems; “these problems” holds the problem set fixed, so only the draws are uncertain."
    return {
        "caption": "pass@k",
        "columns": columns,
        "rows": rows,
        "note": note if fixed else None,
    }


def certified_lead(certified: dict | None) -> str:
    if not certified:
        return "Too few draws for anything to be certified."
    plan = certified.get("plan") or {}
    text = (
        f"At eps = {certified['eps']:.3g} and {certified['confidence']:.0%} confidence: "
        f"{certified['preserved']} preserved,"
        f" {certified['shrunk']} shrunk, {certified['expanded']} expanded,"
        f" {certified['out']} out of support, {certified['undetermined']} undetermined."
    )
    if certified["undetermined"] and plan:
        settled = ", ".join(f"{r['problems']} with {r['times']} times the draws" for r in plan["settled_by"])
        text += f" Of the undetermined, these would be settled if rates stay as they are: {settled}"
        text += f"; {plan['beyond']} are too near eps for any number." if plan.get("beyond") else "."
    return text


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
    # Counts have another unit than nats, so a figure of their own.
    counts = {"answer_distinct": "distinct answers", "mode_distinct": "distinct modes"}
    more = [(label, entries[key]["base"], entries[key]["tuned"]) for key, label in counts.items() if entries.get(key)]
    caption = (
        "Means over problems. Tokens: of the next-token distribution. Answers: of the distribution of final answers"
    )
    caption += " (no answer is a class), and corrected for answers not yet seen."
    out = []
    if rows:
        out.append(charts.dots("entropy", "Entropy", caption=caption, rows=rows, names=names, unit="nats", width=7))
    if more:
        title = "Distinct answers seen"
        said = "Means over problems."
        out.append(charts.dots("distinct", title, caption=said, rows=more, names=names, unit="a problem", width=5))
    return out


def perplexity_parts(block: dict, names: tuple[str, str], *, authors: dict[str, str]) -> list[dict]:
    if not (entry := block.get("perplexity")):
        return []
    order = ("preserved", "shrunk", "expanded", "out")
    # one line a category, author and kind of traces; and a setting, where one model measured them at several
    settings: dict[tuple, dict[str, None]] = {}
    for r in entry["rows"]:
        settings.setdefault((r["written_by"], r["under"]), {})[_setting(r)] = None
    groups: dict[tuple, dict[str, dict]] = {}
    for r in entry["rows"]:
        author = authors.get(r["written_by"]) or shortened(str(r["written_by"]), most=16)
        label = f"{r['category']}, by {author}" + (", correct" if r["traces"] == "correct" else "")
        if len(settings[r["written_by"], r["under"]]) > 1:
            label += f", {_setting(r)}"
        groups.setdefault((order.index(r["category"]), label), {})[r["under"]] = r
    rows = [(label, by.get("base"), by.get("tuned")) for (_, label), by in sorted(groups.items(), key=lambda g: g[0])]
    caption = (
        f"{entry['formula']}. Rows: what became of the problem, and who wrote the traces; colour: the "
        "model under which they are measured. The category is read off the same draws: of a problem that the tuned "
        "model lost, all of its traces are wrong, so the correct traces stand apart."
    )
    chart = charts.dots(
        "perplexity",
        "Perplexity of traces",
        caption=caption,
        rows=rows,
        names=names,
        unit="perplexity",
        width=12,
        from_zero=False,
    )
    chart["spec"]["layout"]["xaxis"]["nticks"] = 5
    return [chart]


def _setting(row: dict) -> str:
    """Temperature and top-p as a label has them."""
    return f"T {plainly(row['temperature'])}, top-p {plainly(row['top_p'])}"


def metrics_part(block: dict, names: tuple[str, str]) -> dict[str, Any] | None:
    rows: list[list[str | None]] = []
    for name, base, tuned, difference in metric_rows(block):
        rows.append([name, interval(base), interval(tuned), interval(difference, sign=True)])
    if se := block.get("delta_se") or block.get("delta_se_at_largest_k"):
        rows.append(
            [f"sampling-efficiency gap: base's pass@{se['k']} less tuned pass@1", None, None, interval(se, sign=True)]
        )
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
    i = h["intervals"]
    gain, loss = (
        f"{i[key]['value']:+.1f} problems ({i[key]['low']:+.1f} to {i[key]['high']:+.1f})"
        for key in ("corrected_gain", "corrected_loss")
    )
    return (
        "Choosing problems because the base missed them in one half of its draws "
        f"({h['draws_per_half']['base']:,}) makes any model look"
        f" better on them: of {h['base_unsolved']:.1f} such problems the tuned model then solves "
        f"{h['tuned_then_solves']:.1f}, but the base"
        f" itself {h['base_then_solves']:.1f} on its other half. Corrected gain: {gain}. The other way round,"
        f" of {h['tuned_unsolved']:.1f} missed by the tuned model the base solves "
        f"{h['base_then_solves_lost']:.1f} and the tuned model"
        f" itself {h['tuned_then_solves_lost']:.1f}: corrected loss {loss}. About {h['expanded_again']:.1f} expanded"
        f" and {h['shrunk_again']:.1f} shrunk problems show the same on both halves."
    )
