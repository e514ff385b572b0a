"""What a comparison says of its methods: the word of each, differences to the base and to each other, and how much runs
differ."""

from __future__ import annotations

from typing import Any

import analysis.report.charts as charts
from analysis.report.curves import signed_ticks
from analysis.report.page import tile
from analysis.report.parts import section
from analysis.report.words import cell, interval, shortened

PAIRS_LEAD = (
    "Difference of the means over runs. The interval is over problems and runs, at its level for each difference "
    "alone. p over runs: a t test with the problems held fixed. Words of run against run are after Holm over all of "
    "them."
)


def method_tiles(document: dict, benchmark: str, *, colours: dict[str, str]) -> list[dict]:
    """A tile a method: its word, and what its runs say alone."""
    out = []
    for name, method in document["methods"].items():
        rows = method["per_run"][benchmark]
        alone = [row["verdict"] for row in rows]
        counted = ", ".join(f"{alone.count(v)} {v}" if len(rows) > 1 else v for v in dict.fromkeys(alone))
        found = method["verdict"][benchmark]
        note = f"{found['within']}{reach(found, document['settings']['level'])}; "
        note += f"{len(rows)} run{'s' * (len(rows) > 1)}, alone: {counted}"
        note += f"; S {spread([r['shrunk'] for r in rows])}, E {spread([r['expanded'] for r in rows])}"
        word = found["verdict"].capitalize()
        out.append(tile(name, word, note=note, colour=colours[name]))
    return out


def reach(found: dict, level: float) -> str:
    """Whether the changes of a word are more than a speed-up; empty where the word names none."""
    said = [
        f"the {name} {'' if found['beyond'][f'p_{name}'] <= level else 'not shown to be '}beyond a {change} of "
        f"{found['beyond']['fold']:g}"
        for name, change in (("gain", "speed-up"), ("loss", "slow-down"))
        if found[f"p_{name}"] <= level
    ]
    return f"; {', '.join(said)}" if said else ""


def spread(values: list[float | None], form: str = "{:g}") -> str:
    """The range of the values that there are, or the one value."""
    known = [v for v in values if v is not None]
    if not known:
        return "–"
    low = form.format(min(known))
    high = form.format(max(known))
    return low if low == high else f"{low} to {high}"


def method_sections(document: dict, benchmark: str) -> list[dict]:
    """The words of the methods, and the spread between their runs where any method has two."""
    error = 2 * document["settings"]["level"]  # of gain and of loss
    lead = (
        "The word of a method is made from all of its runs: more than half of them have to show the change, and their "
        "mean has to stand out from the spread between runs. p-values are after Holm over the methods, so that "
        f"of boards of methods that change nothing at most {100 * error:.3g} % hold a false word. Differences are of "
        "mean pass@k; their intervals are over problems and runs."
    )
    parts = [forest(document, benchmark), word_table(document, benchmark), reasons(document, benchmark)]
    out = [section("methods", "Methods", lead=lead, parts=parts)]
    if table := spread_table(document, benchmark):
        out.append(
            section("between-runs", "How much runs differ", lead=spread_lead(document, benchmark), parts=[table])
        )
    return out


def forest(document: dict, benchmark: str) -> dict[str, Any]:
    """Every method's difference to the base at the smallest and the largest k, best first."""
    rows = []
    ks: dict[str, None] = {}
    for name, method in document["methods"].items():
        steps = method["against_base"][benchmark]
        ends = (next(iter(steps)), list(steps)[-1])
        ks |= dict.fromkeys(ends)
        rows.append((shortened(name, most=22), in_points(steps[ends[0]]), in_points(steps[ends[1]])))
    several = len(ks) > 2  # methods with fewer draws end at a smaller k
    names = (f"pass@{int(next(iter(ks))):,}", "at the largest k" if several else f"pass@{int(list(ks)[-1]):,}")
    chart = charts.dots(
        "forest",
        "Methods against their base",
        caption="Method minus base with intervals over problems and runs, the best at the largest k first.",
        rows=rows,
        names=names,
        unit="difference in pass@k (points)",
        width=12,
    )
    chart["height"] = 150 + 30 * len(rows)
    layout = chart["spec"]["layout"]
    limits = [one[key] for _, *ends in rows for one in ends for key in ("value", "low", "high")]
    layout["xaxis"] |= signed_ticks(limits) | {"zeroline": True, "zerolinewidth": 1.5}
    for trace, colour in zip(chart["spec"]["data"], ("--neutral", "--expanded"), strict=True):
        trace["marker"]["color"] = trace["error_x"]["color"] = colour
    return chart


def in_points(entry: dict) -> dict[str, float | None]:
    """A difference of shares in percentage points."""
    return {key: None if entry[key] is None else 100 * entry[key] for key in ("value", "low", "high")}


def word_table(document: dict, benchmark: str) -> dict[str, Any]:
    rows = []
    for name, method in document["methods"].items():
        found = method["verdict"][benchmark]
        steps = method["against_base"][benchmark]
        first = list(steps)[0]
        last = list(steps)[-1]
        rows.append(
            [
                name,
                found["runs"],
                found["verdict"],
                f"{found['p_loss']:.2g}",
                f"{found['p_gain']:.2g}",
                cell(steps[first], sign=True),
                cell(steps[last], sign=True),
                last,
                degrees(steps[first]["df"]),
            ]
        )
    columns = ["method", "runs", "word", "p(loss)", "p(gain)", "pass@1 − base", "at largest k", "largest k", "df"]
    if (first := next(iter(next(iter(document["methods"].values()))["against_base"][benchmark]))) != "1":
        columns[5] = f"pass@{int(first):,} − base"
    asked = next(iter(document["methods"].values()))["verdict"][benchmark]["questions"]
    note = (
        f"p-values after Holm over {asked} questions. Words are about the draws there are, and say nothing of more. "
        "df: degrees of freedom of the spread between runs."
    )
    return {"columns": columns, "rows": rows, "text_columns": [2], "note": note}


def reasons(document: dict, benchmark: str) -> dict[str, Any]:
    """The sentences behind the words."""
    rows = [[name, method["verdict"][benchmark]["evidence"]] for name, method in document["methods"].items()]
    return {"caption": "Why", "columns": ["method", "evidence"], "rows": rows, "text_columns": [1]}


def spread_lead(document: dict, benchmark: str) -> str:
    """How the spread at the smallest k was found, in words."""
    k, found = next((k, f) for k, f in document["between_runs"][benchmark].items() if f)
    said = spread_in_words(found, int(k))
    if found["methods"] == 1:
        said += " It is that method's own."
    elif found["all_pooled"]:
        said += " These differ in spread no more than chance explains, so they share one variance."
    else:
        said += (
            " They differ in spread by more than chance explains: each keeps part of its own (prior with "
            f"{found['prior_df']:.2g} degrees of freedom)."
        )
    if apart := [name for name, e in found["of"].items() if e["apart"]]:
        keep = "keeps its" if len(apart) == 1 else "keep their"
        said += f" Runs of {', '.join(apart)} differ far more than those of the others: {keep} own variance."
    return said


def spread_in_words(found: dict, k: int) -> str:
    """One sentence: the common standard deviation, methods and degrees of freedom."""
    methods = f"{found['methods']} method{'s' * (found['methods'] > 1)} of two or more runs"
    return (
        f"Standard deviation of pass@{k:,} between runs: {100 * found['common_sd']:.2g} points, from {methods}, "
        f"{found['pooled_df']:g} degree{'s' * (found['pooled_df'] != 1)} of freedom."
    )


def spread_table(document: dict, benchmark: str) -> dict[str, Any] | None:
    """Standard deviations between runs at the smallest and the largest k of each method, own and moderated."""
    steps = {k: found for k, found in document["between_runs"][benchmark].items() if found}
    if not steps:
        return None
    rows = []
    for name in document["methods"]:
        mine = [k for k, found in steps.items() if name in found["of"]]
        for k in dict.fromkeys((mine[0], mine[-1])) if mine else ():
            e = steps[k]["of"][name]
            own = None if e["sd"] is None else f"{100 * e['sd']:.2g}"
            rows.append([name, int(k), e["runs"], own, f"{100 * e['moderated_sd']:.2g}", degrees(e["df"])])
    columns = ["method", "k", "runs", "sd of its runs", "moderated sd", "df"]
    note = "In points of pass@k. The moderated one makes the intervals; a method with one run takes that of the others."
    return {"columns": columns, "rows": rows, "text_columns": [], "note": note}


def degrees(df: float | None) -> str | None:
    return None if df is None else f"{df:.3g}"


def pairs_table(document: dict, benchmark: str) -> dict[str, Any]:
    rows = []
    for pair in document["pairs"]:
        found = pair["benchmarks"][benchmark]
        steps = found["pass_at_k_difference"]
        last = list(steps)[-1]
        # Every run of the one against every run of the other: how often each word came out.
        flat = [v for line in found["verdicts_run_by_run"] for v in line]
        counted = ", ".join(f"{flat.count(v)} {v}" for v in dict.fromkeys(flat))
        row: list[str | None] = [f"{pair['second']} − {pair['first']}"]
        for k in (list(steps)[0], last):
            row.append(interval(steps[k], sign=True))
            row.append(None if steps[k]["p_over_runs"] is None else f"{steps[k]['p_over_runs']:.2g}")
        rows.append([*row, last, degrees(steps[last]["df"]), counted])
    columns = [
        "second − first",
        "difference at k = 1",
        "p over runs",
        "difference at largest k",
        "p over runs",
        "largest k",
        "df",
        "words, run against run",
    ]
    # Without several runs there is no p over runs, and no column for it.
    empty = {i for i in (2, 4, 6) if all(row[i] is None for row in rows)}
    keep = [i for i in range(len(columns)) if i not in empty]
    return {
        "columns": [columns[i] for i in keep],
        "rows": [[row[i] for i in keep] for row in rows],
        "text_columns": [len(keep) - 1],
    }
