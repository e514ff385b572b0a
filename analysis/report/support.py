"""Tables of the section of support: who solved what, beside the null, at other budgets and under other readings."""

from __future__ import annotations

from typing import Any

from analysis.report.words import counted, interval, number, percent, signed


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


def solved_table(block: dict) -> dict[str, Any]:
    """The four categories as what they are: solved by the base or not, by the tuned model or not."""
    s = block["support"]

    def count(key: str, letter: str) -> dict[str, str]:
        return {"text": number(s[key]), "sub": f"{key} ({letter})", "dot": f"--{key}"}

    rows = [
        ["base: solved", count("preserved", "P"), count("shrunk", "S")],
        ["base: not solved", count("expanded", "E"), count("out", "O")],
    ]
    return {
        "caption": "Problems, solved by whom",
        "columns": ["", "tuned: solved", "tuned: not solved"],
        "rows": rows,
        "note": f"Solved: at least one of {s['k']:,} samples is correct.",
        "width": 5,
    }


def support_table(block: dict) -> dict[str, Any]:
    """The metrics beside the null."""
    s = block["support"]
    n = block["null"]
    p = {"shrunk": block["verdict_detail"]["p_loss"], "expanded": block["verdict_detail"]["p_gain"]}
    i = block["support"]["intervals"]
    again = block.get("redraw")
    rows = [
        [
            {"text": f"{key} {letter}", "dot": f"--{key}"},
            counted(i[key]),
            # The null is about S and E alone: what both or neither solve says nothing of a change.
            f"{n['observed_' + key]}" if letter in "SE" else None,
            f"{n['expected_' + key]:.3g}" if letter in "SE" else None,
            f"{p[key]:.2g}" if key in p else None,
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
    # The redraw is the last column, where there is one.
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
        "A wrong draw that the verifier accepts looks like a rare success. A verdict that holds at several is no "
        "guess. The rates in the evidence are those from which on this audit says another word, if told of them: lower "
        "limits, since it then allows for any number of lucky draws on problems that are seldom solved."
    )
    columns = ["solved with at least", "verdict", "S", "p(S)", "E", "p(E)"]
    return {"caption": "Lucky guesses", "columns": columns, "rows": rows, "text_columns": [1], "note": note, "width": 6}


def dependence_table(block: dict) -> dict[str, Any] | None:
    """Whether draws that share a seed or a file agree more than others."""
    found = block.get("dependence") or {}
    if not found.get("kind"):
        return None
    # the kinds that failed, or the one that was looked at and passed
    kinds = found.get("failed") or [found]
    rows = []
    for kind, side in ((kind, side) for kind in kinds for side in ("base", "tuned")):
        if one := kind[side]:
            p_shared = "–" if one["p_shared"] is None else f"{one['p_shared']:.2g}"
            correlation = "–" if one["correlation"] is None else signed(f"{one['correlation']:.3f}")
            counts = [f"{one['clusters']:,.0f}", f"{one['draws']:,.0f}"]
            rows.append([f"{kind['kind']}s of the {side}", *counts, correlation, f"{one['p']:.2g}", p_shared])
    relabelled = "single draws" if found["unit"] == "draws" else f"whole {found['kind']}s"
    where = {
        "clusters in each problem": ", in each problem",
        "clusters over all problems": ", over all problems at once",
    }
    # What was done about it stands below the figures that led to it.
    note = (
        f"The exact test takes draws for exchangeable; draws of one {found['kind']} may not be. The verdict relabels "
        f"{relabelled}{where.get(found['unit'], '')}."
    )
    columns = [
        "",
        "a problem",
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
