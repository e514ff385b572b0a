"""The sections of the page, from one benchmark of the audit document: sentences, charts and tables."""

from __future__ import annotations

from typing import Any

import analysis.report.charts as charts
import analysis.report.curves as curves
from analysis.published import metric_rows
from analysis.report.measures import measures
from analysis.report.units import unit_parts
from analysis.report.words import cell, counted, interval, number, percent, share, signed


def sections(
    name: str, block: dict, *, by: dict[str, dict], rows: list[dict], names: tuple[str, str], level: str
) -> list[dict[str, Any]]:
    """name, block: the benchmark; by: all of them; rows: its problems; level: of the intervals, as written ("95%")."""
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
        f"{who} is ahead {'at k = ' + str(r[0]) if r[0] == r[1] else f'from k = {r[0]:,.0f} to {r[1]:,.0f}'}"
        for who, key in zip(names, ("base_ahead_range", "tuned_ahead_range"), strict=True)
        if (r := detail.get(key))
    ]
    lead = f"The curves {curves.crossing_words(block.get('crossing_k')).removeprefix('the curves ')}"
    lead += f" ({share(detail['share'])} of bootstrap replicates cross). " if "share" in detail else ". "
    if detail:
        lead += f"Beyond the band that holds at all k at once, {' and '.join(ahead) or 'neither side is ahead'}."
    parts = (
        [curves.pass_at_k(block, names, level=level), curves.difference(block, level)] if block.get("curves") else []
    )
    out.append(
        section(
            "curves",
            "How many problems within k samples",
            lead,
            [*parts, curves.tokens(block, names), pass_table(block, names)],
        )
    )
    out.append(
        section(
            "support",
            "Support",
            support_lead(block),
            [
                charts.flow(block),
                charts.null(block),
                support_table(block),
                fold_table(block),
                budget_table(block),
                lucky_table(block),
                dependence_table(block),
            ],
        )
    )
    certified = block.get("certified")
    parts = [
        charts.scatter(rows, certified and certified["eps"], names=names),
        charts.ladder(certified) if certified else None,
    ]
    out.append(
        section("per-problem", "Problem by problem, and what can be certified", certified_lead(certified), parts)
    )
    out.append(section("answers", *unit_parts(block)))
    out.append(
        section(
            "entropy", "Entropy and perplexity", None, [*entropy_parts(block, names), *perplexity_parts(block, names)]
        )
    )
    out.append(
        section(
            "metrics",
            "Relatives of pass@k",
            f"Means over problems with {level} intervals (Bayes@N holds the problems fixed).",
            [metrics_part(block, names)],
        )
    )
    out.append(section("measures", "Further measures", None, measures(block)))
    if advice := block.get("advice"):
        out.append(
            section(
                "use",
                "If you have K samples to spend",
                None,
                [curves.mixing(advice, names), advice_table(advice, names)],
            )
        )
    if halves := block.get("split_halves"):
        out.append(section("selection", "What selection is worth", halves_words(halves), []))
    return [s for s in out if s and (s["parts"] or (s["id"] == "selection"))]


def section(id: str, title: str, lead: str | None, parts: list) -> dict[str, Any]:
    return {"id": id, "title": title, "lead": lead, "parts": [part for part in parts if part]}


def verdicts_table(by: dict[str, dict]) -> dict[str, Any]:
    rows = []
    for name, b in sorted(by.items(), key=lambda item: item[0] == "all"):
        s = b["support"]
        n = b["null"]
        p = b["pass_at_k"]
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
    s = block["support"]
    p = block.get("mcnemar_p")
    exact = (
        f"Exact McNemar test of expanded against shrunk: p = {p:.2g}."
        if p is not None
        else f"No McNemar test: {block.get('mcnemar_why_null') or 'not given'}."
    )
    kept = f"Of the problems the base solves in {s['k']:,} samples, {percent(s['srr'])} are kept (SRR)"
    return f"{kept}; of those the tuned model solves, {percent(s['ndr'])} are new (NDR). {exact}"


def support_table(block: dict) -> dict[str, Any]:
    """The metrics beside the null."""
    s = block["support"]
    n = block["null"]
    i = block["support"]["intervals"]
    again = block.get("redraw")
    rows = [
        [
            {"text": f"{key} {letter}", "dot": f"--{key}"},
            counted(i[key]),
            f"{n['observed_' + key]}" if letter in "SE" else None,
            f"{n['expected_' + key]:.3g}" if letter in "SE" else None,
            f"{n['p_' + key]:.2g}" if letter in "SE" else None,
            again and counted(again["intervals"][key]),
        ]
        for key, letter in (("preserved", "P"), ("shrunk", "S"), ("expanded", "E"), ("out", "O"))
    ]
    labels = {
        "srr": "SRR = P / (P + S)",
        "ndr": "NDR = E / (P + E)",
        "sds": "SDS, their harmonic mean",
        "nscr": "NSCR = (E − S) / (P + E + S)",
    }
    rows += [
        [
            label,
            interval(i[key], percent=False),
            None,
            None,
            None,
            again and interval(again["intervals"][key], percent=False),
        ]
        for key, label in labels.items()
    ]
    columns = [
        "",
        f"at k = {s['k']:,}",
        "over all draws",
        "one model drawn twice, over all draws",
        "one-sided p",
        "base drawn again",
    ]
    if not again:
        columns = columns[:-1]
        rows = [row[:-1] for row in rows]
    return {"caption": "The published metrics beside the null", "columns": columns, "rows": rows, "width": 12}


def fold_table(block: dict) -> dict[str, Any] | None:
    """Is it more than a speed-up? One row a fold, with the words of the closed test."""
    tests = block["verdict_detail"].get("folds") or []
    if not tests:
        return None
    detail = block["verdict_detail"]
    rows = []
    for test in tests:
        row: list[str | None] = [f"{test['fold']:g}"]
        for p, reach in ((test["p_gain"], detail["gain_fold"]), (test["p_loss"], detail["loss_fold"])):
            row += [f"{p:.2g}", "refuted" if reach is not None and test["fold"] <= reach else "not refuted"]
        rows.append(row)
    note = (
        "Hypothesis: no problem's odds of a correct draw rose (fell) more than F-fold. Exact given "
        "the number of correct"
        " draws of each problem; the first F that is not refuted ends the line."
    )
    columns = ["F", "p, rose more than F-fold", "gain", "p, fell more than F-fold", "loss"]
    return {"caption": "More than a speed-up?", "columns": columns, "rows": rows, "note": note, "width": 6}


def budget_table(block: dict) -> dict[str, Any] | None:
    """Who solves what, when the sides get different budgets; and how many draws are worth how many."""
    found = block.get("support_at_budgets") or []
    if not found:
        return None
    rows = [
        [
            row["label"],
            f"{row['k_base']:,.0f}",
            f"{row['k_tuned']:,.0f}",
            number(row["shrunk"]),
            number(row["expanded"]),
        ]
        for row in found
    ]
    worth = block["efficiency"]
    note = (
        f"{worth['n']:,} draws of the tuned model reach what {equivalent(worth['base'])} draws of the base do;"
        f" {worth['n']:,} draws of the base, what {equivalent(worth['tuned'])} of the tuned model do."
    )
    columns = ["budget", "draws of the base", "draws of the tuned model", "S, expected", "E, expected"]
    return {"caption": "At other budgets", "columns": columns, "rows": rows, "note": note, "width": 6}


def lucky_table(block: dict) -> dict[str, Any] | None:
    """The verdict when more correct draws are asked of a solved problem."""
    found = block.get("lucky_guesses")
    if not found:
        return None
    rows = [
        [
            f"{r['at_least']}",
            r["verdict"],
            f"{r['shrunk']}",
            f"{r['p_loss']:.2g}",
            f"{r['expanded']}",
            f"{r['p_gain']:.2g}",
        ]
        for r in found["at_least"]
    ]
    note = (
        "A wrong draw that the verifier accepts looks like a rare success. A verdict that holds at several is no guess."
    )
    columns = ["solved with at least", "verdict", "S", "p(S)", "E", "p(E)"]
    return {"caption": "Lucky guesses", "columns": columns, "rows": rows, "text_columns": [1], "note": note, "width": 6}


def dependence_table(block: dict) -> dict[str, Any] | None:
    """Whether draws that share a seed or a file agree more than others."""
    found = block.get("dependence") or {}
    if not found.get("kind"):
        return None
    rows = []
    for side in ("base", "tuned"):
        if one := found[side]:
            p_shared = "–" if one["p_shared"] is None else f"{one['p_shared']:.2g}"
            correlation = "–" if one["correlation"] is None else signed(f"{one['correlation']:.3f}")
            rows.append(
                [side, f"{one['clusters']:,.0f}", f"{one['draws']:,.0f}", correlation, f"{one['p']:.2g}", p_shared]
            )
    relabelled = "single draws" if found["unit"] == "draws" else f"whole {found['kind']}s"
    where = {
        "clusters in each problem": ", in each problem",
        "clusters over all problems": ", over all problems at once",
    }
    note = (
        f"The exact test takes draws for exchangeable; draws of one {found['kind']} may not be. The verdict relabels "
        f"{relabelled}{where.get(found['unit'], '')}."
    )
    columns = [
        "side",
        f"{found['kind']}s a problem",
        "draws in each",
        "correlation",
        "p, alike",
        "p, none better throughout",
    ]
    return {"caption": "Are draws independent?", "columns": columns, "rows": rows, "note": note, "width": 6}


def equivalent(worth: dict) -> str:
    """Draws with their interval; beyond the draws there are, it says so."""
    value, low, high = (
        f"more than {worth['beyond']:,}" if worth[key] is None else f"{worth[key]:,.1f}"
        for key in ("value", "low", "high")
    )
    return f"{value} ({low} to {high})"


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
    if plan:
        text += (
            f" About {plan['total_base']:,} further draws of the base and {plan['total_tuned']:,} of the "
            "tuned model would settle them"
        )
        text += f", but for {plan['beyond']} whose rate is too near eps." if plan.get("beyond") else "."
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
    counts = {"answer_distinct": "distinct answers", "mode_distinct": "distinct modes"}
    more = [(label, entries[key]["base"], entries[key]["tuned"]) for key, label in counts.items() if entries.get(key)]
    caption = (
        "Means over problems. Tokens: of the next-token distribution. Answers: of the distribution of final answers"
    )
    caption += " (no answer is a class), and corrected for answers not yet seen."
    out = (
        [charts.dots("entropy", "Entropy", caption=caption, rows=rows, names=names, unit="nats", width=7)]
        if rows
        else []
    )
    return out + (
        [
            charts.dots(
                "distinct",
                "Distinct answers seen",
                caption="Means over problems.",
                rows=more,
                names=names,
                unit="a problem",
                width=5,
            )
        ]
        if more
        else []
    )


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
        f"{entry['formula']}. Rows: what became of the problem, and who wrote the traces; colour: the "
        "model under which they are measured."
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
    chart["spec"]["layout"]["margin"]["l"] = 240
    return [chart]


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
