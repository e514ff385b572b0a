"""The page of a comparison: methods and seeds against one base; where the laboratory gives them, exact figures beside
the sampled ones."""

from __future__ import annotations

from typing import Any

import numpy as np

import analysis.report.charts as charts
import analysis.report.curves as curves
from analysis.report.exact import exact_sections, is_control, ranged
from analysis.report.glossary import explain, for_page
from analysis.report.methods import PAIRS_LEAD, method_sections, method_tiles, pairs_table
from analysis.report.parts import section
from analysis.report.training import settings_section, training_section
from analysis.report.words import cell

COLOURS = 20  # --m0 to --m19
FEW_METHODS = 8  # with more, one legend is enough for charts side by side


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
    # one page a benchmark, each with its methods best first
    for name in shown:
        document = document | {"methods": best_first(document["methods"], name)}
        sections = exact_sections(exact, colours) if exact and name == "all" else []
        sections += sampled_sections(document, name, colours=colours)
        if training := training_section(document, colours):
            sections.append(training)
        settings, more = settings_section(document)
        if settings:
            sections.insert(0 if more else len(sections), settings)
        pages.append(
            {
                "label": "all benchmarks" if name == "all" else name,
                "benchmark": None,
                "verdict": None,
                "tiles": method_tiles(document, name, colours=colours),
                "glance": None,
                "sections": explain(sections),
            }
        )
    return {
        "names": {"base": document["base"]["name"], "tuned": ""},
        "labels": {"base": "base", "tuned": ""},
        "warnings": document.get("warnings") or [],
        "categories": charts.CATEGORIES,
        "glossary": for_page(),
        "pages": pages,
        "problems": None,
        "problems_lead": "",
        "completions": {},
        "provenance": provenance(document),
    }


def best_first(methods: dict[str, dict], benchmark: str) -> dict[str, dict]:
    """Methods in the order of their difference to the base at the largest k."""

    def gain(name: str) -> float:
        return list(methods[name]["against_base"][benchmark].values())[-1]["value"]

    return {name: methods[name] for name in sorted(methods, key=gain, reverse=True)}


def sampled_sections(document: dict, benchmark: str, *, colours: dict[str, str]) -> list[dict]:
    audits = {name: [one["benchmarks"][benchmark] for one in document["audits"][name]] for name in document["methods"]}
    out = method_sections(document, benchmark)
    lead = (
        "The audit of each run alone: its word is about this checkpoint, and is not corrected for how many runs are "
        "read here. S counts problems that only the base solved, E those that only the run solved."
    )
    out.append(
        section("verdicts", "Runs, each alone", lead=lead, parts=[verdict_table(document, audits, benchmark=benchmark)])
    )
    lead = "Curves are means over the runs of a method; their shade is the range of its runs, not an interval."
    out.append(
        section(
            "curves",
            "What the samples show",
            lead=lead,
            parts=[curves_chart(document, audits, colours=colours), support_chart(audits, colours)],
        )
    )
    if document["pairs"]:
        out.append(
            section("pairs", "Methods against each other", lead=PAIRS_LEAD, parts=[pairs_table(document, benchmark)])
        )
    return out


def verdict_table(document: dict, audits: dict[str, list[dict]], *, benchmark: str) -> dict[str, Any]:
    first = next(iter(audits.values()))[0]
    k = list(first["pass_at_k"]["base"])[-1]
    shown_k = first["support"]["k"]
    rows = [_base_row(first["pass_at_k"]["base"])]
    if redraw := first.get("redraw"):
        rows.append(_redraw_row(redraw))
    for name, blocks in audits.items():
        rows += [_run_row(run["name"], b) for run, b in zip(document["methods"][name]["runs"], blocks, strict=True)]
    columns = [
        "run",
        "word, alone",
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
        "note": f"Support at k = {shown_k:,}. “Null”: what one model drawn twice would show on the same draws.",
    }


def _base_row(p: dict) -> list[Any]:
    """p: the base's pass@k, by k."""
    nothing = [None] * 7
    return [{"text": "the base itself"}, *nothing, cell(p.get("1")), cell(p[list(p)[-1]]), None]


def _redraw_row(redraw: dict) -> list[Any]:
    rates = redraw["intervals"]
    nothing = [None] * 3
    return ["base drawn again", None, *_against_null(redraw), cell(rates["srr"]), cell(rates["ndr"]), *nothing]


def _run_row(name: str, block: dict) -> list[Any]:
    rates = block["support"]["intervals"]
    p = block["pass_at_k"]["tuned"]
    cross = block.get("crossing_k")
    return [
        name,
        block["verdict"],
        *_against_null(block["null"]),
        cell(rates["srr"]),
        cell(rates["ndr"]),
        cell(p.get("1")),
        cell(p[list(p)[-1]]),
        f"{cross['value']:,.0f}" if cross else None,
    ]


def _against_null(found: dict) -> list[str]:
    """Lost and gained, each beside what the null expects and with its p-value."""
    return [
        f"{found['observed_shrunk']} / {found['expected_shrunk']:.3g}",
        f"{found['p_shrunk']:.2g}",
        f"{found['observed_expanded']} / {found['expected_expanded']:.3g}",
        f"{found['p_expanded']:.2g}",
    ]


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
                "showlegend": len(audits) <= FEW_METHODS,
                "marker": {"size": 12, "color": colours[name], "opacity": 0.85},
                "hovertemplate": f"{name}: %{{x}} lost, %{{y}} gained<extra></extra>",
            }
        )
    # Chance alone, over all runs: what is near this cross says little.
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
            "showlegend": True,
            "marker": {"size": 12, "symbol": "x", "color": "--neutral"},
            "hovertemplate": "null: %{x:.2f}, %{y:.2f}<extra></extra>",
        }
    )
    # The diagonal, on which as much is gained as lost.
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
        caption="One dot a run, in the colours of the curves. Above the line more was gained than lost.",
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
        height=420 + 12 * max(len(audits) - FEW_METHODS, 0),  # a legend of many methods takes its part
    )


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
