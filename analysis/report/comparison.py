"""The page of a comparison: methods and seeds against one base; where the laboratory gives them, exact figures beside
the sampled ones."""

from __future__ import annotations

from typing import Any

import numpy as np

import analysis.report.charts as charts
import analysis.report.curves as curves
from analysis.report.exact import exact_sections, is_control, ranged
from analysis.report.page import tile
from analysis.report.parts import section
from analysis.report.words import cell, interval
from analysis.tables import Table, trio

COLOURS = 8  # --m0 to --m7


def comparison_page(document: dict) -> dict[str, Any]:
    """The page's data, from the document of `analysis.compare.compare` (docs/analysis.md), with "exact" where it is
    there."""
    names = [name for name in document["benchmarks"] if name != "all"]
    shown = ["all", *names] if len(names) > 1 else ["all"]
    exact = document.get("exact")
    every = [*document["methods"], *(row["method"] for row in (exact or {}).get("rows", []))]
    colours = {
        name: f"--m{i % COLOURS}"
        for i, name in enumerate(name for name in dict.fromkeys(every) if name != "base" and not is_control(name))
    }
    pages = []
    for name in shown:
        sections = exact_sections(exact, colours) if exact and name == "all" else []
        sections += sampled_sections(document, name, colours)
        pages.append(
            {
                "label": "all benchmarks" if name == "all" else name,
                "benchmark": None,
                "verdict": None,
                "tiles": method_tiles(document, name, colours),
                "sections": sections,
            }
        )
    return {
        "names": {"base": document["base"]["name"], "tuned": ""},
        "warnings": document.get("warnings") or [],
        "categories": charts.CATEGORIES,
        "pages": pages,
        "problems": None,
        "problems_lead": "",
        "completions": {},
        "provenance": provenance(document),
    }


def method_tiles(document: dict, benchmark: str, colours: dict[str, str]) -> list[dict]:
    out = []
    for name, method in document["methods"].items():
        rows = method["per_run"][benchmark]
        verdicts = [row["verdict"] for row in rows]
        counted = [f"{verdicts.count(v)} {v}" if len(rows) > 1 else v for v in dict.fromkeys(verdicts)]
        value = verdicts[0].capitalize() if len(set(verdicts)) == 1 else "Mixed"
        note = (f"{len(rows)} runs: " if len(rows) > 1 else "1 run: ") + ", ".join(counted)
        note += f"; S {spread([r['shrunk'] for r in rows])}, E {spread([r['expanded'] for r in rows])}"
        out.append(tile(name, value, note, colour=colours[name]))
    return out


def spread(values: list[float | None], form: str = "{:g}") -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "–"
    low = form.format(min(known))
    high = form.format(max(known))
    return low if low == high else f"{low} to {high}"


def sampled_sections(document: dict, benchmark: str, colours: dict[str, str]) -> list[dict]:
    audits = {name: [one["benchmarks"][benchmark] for one in runs] for name, runs in document["audits"].items()}
    lead = (
        "Each run has its own verdict against the base; S counts problems that only the base solved, E "
        "those that only the run solved."
    )
    out = [section("verdicts", "Verdicts", lead, [verdict_table(document, audits, benchmark=benchmark)])]
    lead = "Curves are means over the runs of a method; their shade is the range of its runs, not an interval."
    out.append(
        section(
            "curves",
            "What the samples show",
            lead,
            [curves_chart(document, audits, colours=colours), support_chart(audits, colours)],
        )
    )
    if document["pairs"]:
        lead = "Difference of the means over runs, with an interval over problems for the runs at hand."
        lead += " A p-value over runs appears only with five or more runs a side."
        out.append(section("pairs", "Methods against each other", lead, [pairs_table(document, benchmark)]))
    return out


def verdict_table(document: dict, audits: dict[str, list[dict]], *, benchmark: str) -> dict[str, Any]:
    rows = []
    for name, blocks in audits.items():
        for run, b in zip(document["methods"][name]["runs"], blocks, strict=True):
            s = b["support"]
            n = b["null"]
            p = b["pass_at_k"]
            k = list(p["tuned"])[-1]
            cross = b.get("crossing_k")
            rows.append(
                [
                    run["name"],
                    b["verdict"],
                    f"{n['observed_shrunk']} / {n['expected_shrunk']:.3g}",
                    f"{n['p_shrunk']:.2g}",
                    f"{n['observed_expanded']} / {n['expected_expanded']:.3g}",
                    f"{n['p_expanded']:.2g}",
                    cell(s["intervals"]["srr"]),
                    cell(s["intervals"]["ndr"]),
                    cell(p["tuned"].get("1")),
                    cell(p["tuned"][k]),
                    f"{cross['value']:,.0f}" if cross else None,
                ]
            )
    first = next(iter(audits.values()))[0]
    p = first["pass_at_k"]["base"]
    s = first["support"]
    k = list(p)[-1]
    rows.insert(
        0,
        [
            {"text": "the base itself"},
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            cell(p.get("1")),
            cell(p[k]),
            None,
        ],
    )
    redraw = first.get("redraw")
    if redraw:
        rows.insert(
            1,
            [
                "base drawn again",
                None,
                f"{redraw['observed_shrunk']} / {redraw['expected_shrunk']:.3g}",
                f"{redraw['p_shrunk']:.2g}",
                f"{redraw['observed_expanded']} / {redraw['expected_expanded']:.3g}",
                f"{redraw['p_expanded']:.2g}",
                cell(redraw["intervals"]["srr"]),
                cell(redraw["intervals"]["ndr"]),
                None,
                None,
                None,
            ],
        )
    columns = [
        "run",
        "verdict",
        "S / null",
        "p(S)",
        "E / null",
        "p(E)",
        "SRR",
        "NDR",
        "pass@1",
        f"pass@{int(k):,}",
        "crossing k",
    ]
    return {
        "columns": columns,
        "rows": rows,
        "text_columns": [1],
        "note": f"Support at k = {s['k']:,}. “Null”: what one model drawn twice would show on the same draws.",
    }


def support_chart(audits: dict[str, list[dict]], colours: dict[str, str]) -> dict[str, Any]:
    data = []
    top = 1.0
    for name, blocks in audits.items():
        x, y = ([b["null"][f"observed_{key}"] for b in blocks] for key in ("shrunk", "expanded"))
        top = max([top, *x, *y])
        data.append(
            {
                "x": x,
                "y": y,
                "name": name,
                "mode": "markers",
                "marker": {"size": 12, "color": colours[name], "opacity": 0.85},
                "hovertemplate": f"{name}: %{{x}} lost, %{{y}} gained<extra></extra>",
            }
        )
    expected = [
        [b["null"][f"expected_{key}"] for blocks in audits.values() for b in blocks] for key in ("shrunk", "expanded")
    ]
    x, y = (float(np.mean(e)) for e in expected)
    data.append(
        {
            "x": [x],
            "y": [y],
            "name": "one model drawn twice (mean)",
            "mode": "markers",
            "marker": {"size": 12, "symbol": "x", "color": "--neutral"},
            "hovertemplate": "null: %{x:.2f}, %{y:.2f}<extra></extra>",
        }
    )
    line = {
        "type": "line",
        "x0": 0,
        "y0": 0,
        "x1": top * 1.1,
        "y1": top * 1.1,
        "line": {"color": "--line", "width": 1.2},
        "layer": "below",
    }
    layout = {
        "xaxis": {"title": {"text": "problems lost (S)"}, "range": [-0.06 * top, 1.12 * top]},
        "yaxis": {"title": {"text": "problems gained (E)"}, "range": [-0.06 * top, 1.12 * top]},
        "shapes": [line],
    }
    return charts.figure(
        "lost-gained",
        "Lost and gained by each run",
        caption="One dot a run. Above the line more was gained than lost.",
        data=data,
        layout=layout,
        width=5,
        height=420,
    )


def curves_chart(document: dict, audits: dict[str, list[dict]], *, colours: dict[str, str]) -> dict[str, Any]:
    blocks = [b for runs in audits.values() for b in runs]
    k = sorted(set.intersection(*(set(b["curves"]["k"]) for b in blocks)))

    def on(b: dict, side: str) -> list[float]:
        at = dict(zip(b["curves"]["k"], b["curves"][side]["value"], strict=True))
        return [at[step] for step in k]

    hover = "k = %{x:,}: %{y:.1%}"
    data = ranged(
        k, np.array([on(blocks[0], "base")]), name=document["base"]["name"], colour="--text", hover=hover, dash="dash"
    )
    for name, runs in audits.items():
        data += ranged(k, np.array([on(b, "tuned") for b in runs]), name=name, colour=colours[name], hover=hover)
    layout = {
        "xaxis": curves.power_ticks(1, k[-1]) | {"title": {"text": "k (samples a problem)"}},
        "yaxis": {"title": {"text": "pass@k"}, "tickformat": ".0%"},
    }
    return charts.figure(
        "pass-at-k",
        "pass@k of every method",
        caption="Unbiased estimates. Dashed: the base.",
        data=data,
        layout=layout,
        width=7,
        height=420,
    )


def pairs_table(document: dict, benchmark: str) -> dict[str, Any]:
    rows = []
    for pair in document["pairs"]:
        found = pair["benchmarks"][benchmark]
        steps = found["pass_at_k_difference"]
        last = list(steps)[-1]
        flat = [v for line in found["verdicts_run_by_run"] for v in line]
        counted = ", ".join(f"{flat.count(v)} {v}" for v in dict.fromkeys(flat))
        row: list[str | None] = [f"{pair['second']} − {pair['first']}"]
        for k in (list(steps)[0], last):
            row.append(interval(steps[k], sign=True))
            row.append(None if steps[k]["p_over_runs"] is None else f"{steps[k]['p_over_runs']:.2g}")
        rows.append([*row, last, counted])
    columns = [
        "second − first",
        "difference at k = 1",
        "p over runs",
        "difference at largest k",
        "p over runs",
        "largest k",
        "verdicts, run against run",
    ]
    if all(row[2] is None and row[4] is None for row in rows):
        columns = [c for i, c in enumerate(columns) if i not in (2, 4)]
        rows = [[c for i, c in enumerate(row) if i not in (2, 4)] for row in rows]
    return {"columns": columns, "rows": rows, "text_columns": [len(columns) - 1]}


def provenance(document: dict) -> list[Any]:
    shared = [(side, document.get(side)) for side in ("base", "redraw", "scores")]
    files = [[side, f["path"], f["rows"], f["sha256"]] for side, given in shared if given for f in given["files"]]
    for run in (run for method in document["methods"].values() for run in method["runs"]):
        files += [[run["name"], f["path"], f["rows"], f["sha256"]] for f in run["files"]]
    out: list[Any] = [
        {"caption": "Files", "columns": ["side", "path", "rows", "sha256"], "rows": files, "text_columns": [1, 3]}
    ]
    parts = {
        "settings": document.get("settings"),
        "versions": document.get("versions"),
        "exact figures": (document.get("exact") or {}).get("settings"),
    }
    return out + [
        {
            "caption": key.capitalize(),
            "columns": ["", ""],
            "rows": [[k, str(v)] for k, v in part.items() if v is not None],
            "text_columns": [0, 1],
        }
        for key, part in parts.items()
        if part
    ]


def comparison_tables(document: dict) -> list[Table]:
    """methods (mean and range over runs), runs (one row each), pairs, and exact where it is there."""
    names = document["benchmarks"] if len(document["benchmarks"]) > 2 else ["all"]
    ranges = [found for method in document["methods"].values() for found in method["range"].values()]
    keys = list(dict.fromkeys(key for found in ranges for key in found))
    columns = [column for key in keys for column in trio(key)]
    methods = []
    runs = []
    for name, method in document["methods"].items():
        for b in names:
            cells = [x for key in keys for x in _mean_and_range(method["range"][b].get(key))]
            methods.append([name, b, len(method["runs"]), *cells])
            for run, row in zip(method["runs"], method["per_run"][b], strict=True):
                runs.append([run["name"], b, row["verdict"], *(row.get(key) for key in keys)])
    out = [
        Table("methods", "Methods: mean over runs and their range", ["method", "benchmark", "runs", *columns], methods),
        Table("runs", "Runs", ["run", "benchmark", "verdict", *keys], runs),
    ]
    if pairs := _pair_rows(document, names):
        title = "Differences of mean pass@k, second minus first, with intervals over problems"
        columns = ["second", "first", "benchmark", "k", *trio("difference"), "p over runs"]
        out.append(Table("pairs", title, columns, pairs))
    if exact := document.get("exact"):
        out.append(_exact_table(exact))
    return out


def _mean_and_range(found: dict | None) -> list[float | None]:
    if not found:
        return [None, None, None]
    return [found["mean"], found["low"], found["high"]] if found["runs"] > 1 else [found["mean"], None, None]


def _pair_rows(document: dict, names: list[str]) -> list[list[Any]]:
    rows = []
    for pair in document["pairs"]:
        for b in names:
            for k, e in pair["benchmarks"][b]["pass_at_k_difference"].items():
                rows.append(
                    [pair["second"], pair["first"], b, int(k), e["value"], e["low"], e["high"], e["p_over_runs"]]
                )
    return rows


def _exact_table(exact: dict) -> Table:
    keys = [key for key, value in exact["rows"][0].items() if isinstance(value, dict)]
    rows = []
    for row in exact["rows"]:
        found = [row.get(key) or {"mean": None, "low": None, "high": None} for key in keys]
        rows.append([row["method"], row["runs"], *(e[c] for e in found for c in ("mean", "low", "high"))])
    columns = ["method", "runs", *(column for key in keys for column in trio(key))]
    return Table("exact", "Exact figures: mean over runs and their range", columns, rows)
