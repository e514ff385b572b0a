"""Exact figures of the laboratory on the page of a comparison: docs/analysis.md, section compare.json, describes the
data."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

import analysis.report.charts as charts
import analysis.report.curves as curves
from analysis.report.parts import section

BIG_UNITS = {"mode": "solution modes", "problem": "problems"}


def is_control(name: str) -> bool:
    return " at T=" in name or "matched" in name


def ranged(
    x: list, runs: np.ndarray, *, name: str, colour: str, hover: str, dash: str = "solid", **more: Any
) -> list[dict]:
    """Mean of runs [R, K] as a line, their range as a band.

    x: [K].
    runs: [R, K].
    name: in the legend.
    colour: of the page's own.
    hover: Plotly's template of a point.
    dash: Plotly's.
    more: further keys of the line.
    """
    out = []
    if len(runs) > 1:
        # Plotly fills between a line and the one before it, so the two invisible ones come in this order.
        shared = {
            "x": x,
            "legendgroup": name,
            "hoverinfo": "skip",
            "showlegend": False,
            "mode": "lines",
            "line": {"width": 0},
        }
        out += [
            {**shared, "y": runs.min(axis=0).tolist()},
            {**shared, "y": runs.max(axis=0).tolist(), "fill": "tonexty", "fillcolor": f"{colour}/0.15"},
        ]
    line = {"color": colour, "width": 2.2, "dash": dash}
    return [
        *out,
        {
            "x": x,
            "y": runs.mean(axis=0).tolist(),
            "name": name,
            "legendgroup": name,
            "mode": "lines",
            "line": line,
            "hovertemplate": f"{name}<br>{hover}<extra></extra>",
            **more,
        },
    ]


def exact_sections(exact: dict, colours: dict[str, str]) -> list[dict]:
    eps = (exact.get("settings") or {}).get("eps")
    lead = (
        "Where all correct answers can be listed, their probabilities are computed, not sampled: the "
        "range shown is over runs. "
    )
    lead += f"Support at eps = {eps:.3g}." if eps else ""
    # Modes are the finer unit; a problem with one of a hundred lost is still solved.
    unit = "mode" if any("mode" in run.get("support", {}) for run in exact["runs"]) else "problem"
    out = [
        section(
            "exact",
            "Exact figures",
            lead=lead,
            parts=[
                exact_table(exact, "figures"),
                exact_curves(exact, colours),
                exact_masses(exact, colours),
                exact_table(exact, "masses"),
            ],
        )
    ]
    if exact.get("tree"):
        out.append(
            section(
                "exact-tree",
                "The search tree of one problem",
                lead="What each model would write, branch by branch: every correct answer, the likeliest wrong ones, "
                "and what is left over. Of the audit problems with few answers, the one that training changed most.",
                parts=[exact_tree(exact["tree"])],
            )
        )
    parts = [
        exact_ladder(exact, colours, unit=unit, key="shrunk", word="lost"),
        exact_ladder(exact, colours, unit=unit, key="expanded", word="gained"),
    ]
    out.append(
        section(
            "exact-ladder",
            "Lost and gained at every threshold",
            lead=f"Counts of {BIG_UNITS[unit]} whose probability is above eps under one side only.",
            parts=parts,
        )
    )
    steps = [
        exact_steps(exact, colours, unit=unit, eps=eps, key="shrunk", word="lost"),
        exact_steps(exact, colours, unit=unit, eps=eps, key="expanded", word="gained"),
    ]
    out.append(
        section(
            "exact-training",
            "Support over training",
            lead=f"{BIG_UNITS[unit].capitalize()} lost and gained against the base at each audited step.",
            parts=steps,
        )
    )
    # What was not measured leaves sections without figures.
    return [s for s in out if s["parts"]]


def exact_tree(tree: dict) -> dict[str, Any]:
    """A picture, as the page shows it without reading it: an SVG in an image runs nothing."""
    data = base64.b64encode(tree["svg"].encode()).decode()
    return {"picture": f"data:image/svg+xml;base64,{data}", "caption": f"Search tree of {tree['problem']}"}


def exact_table(exact: dict, which: str) -> dict[str, Any] | None:
    """which: "figures" (pass@k and support) or "masses" (of regions)."""
    if which == "figures":
        wanted = [(f"pass@{k}", f"pass@{k}", ".3f") for k in (1, 16, 1024)]
        for unit in ("mode", "problem"):
            wanted += [(f"{key.upper()} {unit}", f"{unit}_{key}", ".3f") for key in ("srr", "ndr")]
            wanted += [
                (f"{letter} {unit}", f"{unit}_{key}", ".4g") for letter, key in (("S", "shrunk"), ("E", "expanded"))
            ]
        note = "Mean over runs, and their range. S, E: lost and gained."
    else:
        wanted = [
            (name.removeprefix("mass_").replace("_", " "), name, ".2e")
            for name in exact["rows"][0]
            if name.startswith("mass_")
        ]
        note = "Probability that one draw is a correct answer of the region. Mean over runs, and their range."
    # A column that no method has is left out.
    wanted = [w for w in wanted if any(row.get(w[1]) for row in exact["rows"])]
    if not wanted:
        return None
    rows = []
    for row in exact["rows"]:
        cells: list[Any] = [{"text": row["method"], "sub": f"{row['runs']} runs" if row["runs"] > 1 else ""}]
        for _, key, form in wanted:
            v = row.get(key)
            several = bool(v) and row["runs"] > 1 and v["low"] != v["high"]
            cells.append(
                None
                if not v
                else {
                    "text": format(v["mean"], form),
                    "sub": f"{format(v['low'], form)} to {format(v['high'], form)}" if several else "",
                }
            )
        rows.append(cells)
    caption = "Exact pass@k and support" if which == "figures" else "Mass of each region"
    columns = ["method", *(heading for heading, *_ in wanted)]
    return {"caption": caption, "columns": columns, "rows": rows, "note": note}


def by_method(exact: dict) -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = {}
    for run in exact["runs"]:
        groups.setdefault(run["method"], []).append(run)
    return groups


def exact_curves(exact: dict, colours: dict[str, str]) -> dict[str, Any] | None:
    data = []
    for name, runs in by_method(exact).items():
        if is_control(name) and "matched" in name:
            continue  # the base's own curve, shifted
        k = sorted(int(step) for step in runs[0]["pass_at_k"])
        by_k = [{int(step): value for step, value in run["pass_at_k"].items()} for run in runs]
        values = np.array([[values[step] for step in k] for values in by_k])
        control = is_control(name)
        parent = name.split(" at T=")[0]
        colour = "--text" if parent == "base" else colours.get(parent, "--neutral")
        data += ranged(
            k,
            values,
            name=name,
            colour=colour,
            hover="k = %{x:,}: %{y:.2%}",
            dash="dot" if control else "dash" if name == "base" else "solid",
            **({"visible": "legendonly"} if control else {}),
        )
    if not data:
        return None
    layout = {
        "xaxis": curves.power_ticks(1, max(data[-1]["x"])) | {"title": {"text": "k (samples a problem)"}},
        "yaxis": {"title": {"text": "exact pass@k"}, "tickformat": ".0%"},
    }
    return charts.figure(
        "exact-pass-at-k",
        "Exact pass@k",
        caption="Dashed: the base. Raised temperatures are in the legend, to be clicked.",
        data=data,
        layout=layout,
        width=7,
        height=440,
    )


def exact_masses(exact: dict, colours: dict[str, str]) -> dict[str, Any] | None:
    regions = [name for name in exact["rows"][0] if name.startswith("mass_")]
    if not regions:
        return None
    data = []
    for row in exact["rows"]:
        if is_control(row["method"]):
            continue
        values = [row[r]["mean"] if row.get(r) else None for r in regions]
        # The error bars are the range over runs, which a single run has not.
        error = {
            "type": "data",
            "symmetric": False,
            "array": [row[r]["high"] - row[r]["mean"] if row.get(r) else 0 for r in regions],
            "arrayminus": [row[r]["mean"] - row[r]["low"] if row.get(r) else 0 for r in regions],
            "thickness": 1.4,
            "width": 3,
        }
        colour = "--text" if row["method"] == "base" else colours[row["method"]]
        data.append(
            {
                "y": [r.removeprefix("mass_").replace("_", " ") for r in regions],
                # A mass of 0 has no place on a logarithmic axis.
                "x": [v if v and v > 0 else None for v in values],
                "name": row["method"],
                "mode": "markers",
                "marker": {"size": 10, "color": colour, "symbol": "diamond" if row["method"] == "base" else "circle"},
                "error_x": error if row["runs"] > 1 else {"visible": False},
                "hovertemplate": f"{row['method']}, %{{y}}: %{{x:.3g}}<extra></extra>",
            }
        )
    layout = {
        "xaxis": {
            "type": "log",
            "dtick": 1,
            "title": {"text": "probability of the region"},
            "exponentformat": "power",
        },
        "yaxis": {"type": "category"},
        "margin": {"l": 110, "r": 12, "t": 14, "b": 46},
    }
    return charts.figure(
        "exact-masses",
        "Mass of each region",
        caption="Mean over runs and their range; the scale is logarithmic.",
        data=data,
        layout=layout,
        width=5,
        height=440,
    )


def exact_ladder(exact: dict, colours: dict[str, str], *, unit: str, key: str, word: str) -> dict[str, Any] | None:
    """A figure of exact support by eps, methods as lines; None where no method has it.

    exact: the document's section.
    colours: method -> colour.
    unit: what is counted, a key of BIG_UNITS.
    key: of the counts, "shrunk" or another.
    word: the same in words.
    """
    data = []
    for name, runs in by_method(exact).items():
        if name == "base" or is_control(name) or not all(unit in run.get("support", {}) for run in runs):
            continue
        eps = [row["eps"] for row in runs[0]["support"][unit]]
        data += ranged(
            eps,
            np.array([[row[key] for row in run["support"][unit]] for run in runs], dtype=float),
            name=name,
            colour=colours[name],
            hover=f"eps = %{{x:.2g}}: %{{y:.4g}} {word}",
        )
    if not data:
        return None
    layout = {
        "xaxis": {
            "type": "log",
            "title": {"text": "eps"},
            "autorange": "reversed",
            "dtick": 1,
            "exponentformat": "power",
        },
        "yaxis": {"title": {"text": f"{BIG_UNITS[unit]} {word}"}, "rangemode": "tozero"},
    }
    return charts.figure(
        f"exact-{key}",
        f"{word.capitalize()}, by eps",
        caption="Further right, rarer answers count as support.",
        data=data,
        layout=layout,
        width=6,
        height=340,
    )


def exact_steps(
    exact: dict, colours: dict[str, str], *, unit: str, eps: float | None, key: str, word: str
) -> dict[str, Any] | None:
    """The same over training steps, at one eps; None where no run was audited while it trained.

    exact, colours, unit, key, word: as in `exact_ladder`.
    eps: of the ladder's steps the nearest one is shown; None: the middle one.
    """
    groups: dict[str, list[list[tuple[int, float]]]] = {}
    for run in exact.get("training") or []:
        points = []
        for record in run["steps"]:
            ladder = (record.get("support") or {}).get(unit)
            if ladder:
                near = eps or ladder[len(ladder) // 2]["eps"]
                row = min(ladder, key=lambda r, near=near: abs(r["eps"] - near))
                points.append((record["step"], row[key]))
        if points:
            groups.setdefault(run["method"], []).append(points)
    # A mean over runs needs steps that all of them audited.
    data = []
    for name, runs in groups.items():
        steps = sorted(set.intersection(*({step for step, _ in points} for points in runs)))
        if steps:
            values = np.array([[dict(points)[step] for step in steps] for points in runs], dtype=float)
            data += ranged(
                steps, values, name=name, colour=colours.get(name, "--neutral"), hover=f"step %{{x}}: %{{y:.4g}} {word}"
            )
    if not data:
        return None
    layout = {
        "xaxis": {"title": {"text": "training step"}},
        "yaxis": {"title": {"text": f"{BIG_UNITS[unit]} {word}"}, "rangemode": "tozero"},
    }
    return charts.figure(
        f"steps-{key}",
        f"{word.capitalize()}, over training",
        caption="Mean over runs; the shade is their range.",
        data=data,
        layout=layout,
        width=6,
        height=340,
    )
