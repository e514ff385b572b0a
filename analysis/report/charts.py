"""Charts of the report, as Plotly specifications. Colours are names ("--base", "--base/0.15") that the page replaces by
its theme's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

CATEGORIES = {
    "shrunk": {"label": "shrunk (base only)", "colour": "--shrunk"},
    "expanded": {"label": "expanded (tuned only)", "colour": "--expanded"},
    "preserved": {"label": "preserved (both)", "colour": "--preserved"},
    "out": {"label": "out (neither)", "colour": "--out"},
}
UNDETERMINED = {"label": "undetermined", "colour": "--undetermined"}
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.999)


def figure(
    id: str, title: str, *, caption: str, data: list[dict], layout: dict, width: int = 12, height: int = 380
) -> dict[str, Any]:
    """A chart of the page, as page.js draws it.

    id: unique on the page.
    title, caption: above and below it.
    data, layout: Plotly's; colours are names of the page's own ("--base").
    width: columns of 12.
    height: pixels.
    """
    return {
        "id": id,
        "title": title,
        "caption": caption,
        "width": width,
        "height": height,
        "spec": {"data": data, "layout": layout},
    }


def null(block: dict) -> dict[str, Any]:
    n = block["null"]
    p = {"shrunk": block["verdict_detail"]["p_loss"], "expanded": block["verdict_detail"]["p_gain"]}
    again = block.get("redraw")
    rows = [("lost (base only)", "shrunk"), ("gained (tuned only)", "expanded")]
    labels = [label for label, _ in rows]
    bar = {"type": "bar", "orientation": "h", "y": labels, "textposition": "outside", "cliponaxis": False}
    expected = [n[f"expected_{key}"] for _, key in rows]
    observed = [n[f"observed_{key}"] for _, key in rows]
    data = [
        {
            **bar,
            "x": observed,
            "name": "observed",
            "marker": {"color": ["--shrunk", "--expanded"]},
            "text": [f"{x:,}  (p = {p[key]:.2g})" for x, (_, key) in zip(observed, rows, strict=True)],
        },
        {
            **bar,
            "x": expected,
            "name": "one model drawn twice",
            "marker": {"color": "--neutral/0.55"},
            "text": [f"{x:.3g} expected" for x in expected],
        },
    ]
    if again:
        drawn = [again[f"observed_{key}"] for _, key in rows]
        data.append(
            {
                **bar,
                "x": drawn,
                "name": "base drawn again",
                "marker": {"color": "--base/0.6"},
                "text": [f"{x:,} on the redraw" for x in drawn],
            }
        )
    # Room for the text behind the longest bar.
    top = max([*observed, *expected, 1])
    layout = {
        "barmode": "group",
        "xaxis": {"title": {"text": "problems"}, "range": [0, top * 2.3]},
        "yaxis": {"autorange": "reversed"},
        "bargap": 0.35,
        "margin": {"l": 130, "r": 12, "t": 14, "b": 46},
    }
    caption = (
        "What relabelling the draws within each problem would give, exactly: some problems seem lost or "
        "gained though nothing changed."
    )
    return figure(
        "null", "Lost and gained, against the null", caption=caption, data=data, layout=layout, width=7, height=300
    )


def logit(correct: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Empirical logit ln((c + 1/2) / (n - c + 1/2)): 0 of n and n of n have a place on the axis."""
    return np.log((correct + 0.5) / (n - correct + 0.5))


def scatter(rows: list[dict], eps: float | None, *, names: tuple[str, str]) -> dict[str, Any]:
    sides = [
        (np.array([r[s]["n"] for r in rows]), np.array([r[s]["correct"] for r in rows])) for s in ("base", "tuned")
    ]
    # Counts coincide, and dots on each other look like one; the same seed gives the same picture.
    rng = np.random.default_rng(0)
    x, y = (logit(c, n) + rng.uniform(-0.07, 0.07, len(rows)) for n, c in sides)
    ends = -min(_least_logit(n) for n, _ in sides) + 0.4
    data: list[dict[str, Any]] = [
        {
            "x": [-ends, ends],
            "y": [-ends, ends],
            "mode": "lines",
            "line": {"color": "--line", "width": 1.2},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]
    for name in ("preserved", "out", "shrunk", "expanded"):
        at = [i for i, r in enumerate(rows) if r["category"] == name]
        if at:
            data.append(_category_dots(name, [rows[i] for i in at], x=x[at], y=y[at]))
    layout: dict[str, Any] = {
        "xaxis": _rate_axis(sides[0][0], f"success rate of {names[0]}", ends=ends) | {"tickangle": 0},
        "yaxis": _rate_axis(sides[1][0], f"success rate of {names[1]}", ends=ends),
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    }
    if eps is not None:
        layout |= _eps_lines(eps, ends)
    caption = (
        "One dot a problem, on a logit scale, slightly shaken apart; diamonds are suspicious flips. "
        "Dashed: eps of certified support."
    )
    return figure(
        "scatter", "Success rate of each problem", caption=caption, data=data, layout=layout, width=7, height=560
    )


def _least_logit(n: np.ndarray) -> float:
    """The place of 0 correct on the axis of a side whose problems have n draws, [M]."""
    return float(logit(np.zeros(1), np.array([n.max()]))[0])


def _category_dots(name: str, rows: list[dict], *, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The dots of one category. rows: its problems; x, y: their places, [M]."""
    text = [
        f"{row['problem_id']}: " + " → ".join(f"{row[side]['correct']}/{row[side]['n']}" for side in ("base", "tuned"))
        for row in rows
    ]
    flips = [bool(row.get("suspicious_flip")) for row in rows]
    return {
        "x": x.round(3).tolist(),
        "y": y.round(3).tolist(),
        "mode": "markers",
        "name": f"{CATEGORIES[name]['label']}: {len(rows)}",
        "marker": {
            "color": CATEGORIES[name]["colour"],
            "size": [11 if f else 7 for f in flips],
            "symbol": ["diamond" if f else "circle" for f in flips],
            "opacity": 0.72,
            "line": {"width": 0.6, "color": "--bg"},
        },
        "text": text,
        "hovertemplate": "%{text}<extra></extra>",
    }


def _rate_axis(n: np.ndarray, title: str, *, ends: float) -> dict[str, Any]:
    """A logit axis from -ends to ends with success rates as ticks. n: draws of its side's problems, [M]."""
    ticks = [p for p in RATES if abs(math.log(p / (1 - p))) < ends - 0.9]
    zero = _least_logit(n)
    return {
        "tickvals": [zero, *(math.log(p / (1 - p)) for p in ticks), -zero],
        "ticktext": ["0", *(f"{p:g}" for p in ticks), "1"],
        "title": {"text": title},
        "range": [-ends, ends],
        "zeroline": False,
    }


def _eps_lines(eps: float, ends: float) -> dict[str, Any]:
    """The part of a layout that marks eps on both axes."""
    at = math.log(eps / (1 - eps))
    line = {"color": "--neutral", "width": 1.2, "dash": "dash"}
    return {
        "shapes": [
            {"type": "line", "x0": at, "x1": at, "y0": -ends, "y1": ends, "line": line},
            {"type": "line", "x0": -ends, "x1": ends, "y0": at, "y1": at, "line": line},
        ],
        "annotations": [
            {
                "x": ends,
                "y": at,
                "xanchor": "right",
                "yanchor": "bottom",
                "showarrow": False,
                "text": f"eps = {eps:.3g}",
                "font": {"color": "--muted"},
            }
        ],
    }


def ladder(certified: dict) -> dict[str, Any]:
    steps = certified["ladder"]
    own = certified["eps"]  # the one that the card and the counts above go by
    labels = [f"<b>{s['eps']:.2g}</b>" if s["eps"] == own else f"{s['eps']:.2g}" for s in steps]
    looks = CATEGORIES | {"undetermined": UNDETERMINED}
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "y": labels,
            "x": [step[name] for step in steps],
            "name": looks[name]["label"],
            "marker": {"color": looks[name]["colour"]},
            "hovertemplate": f"eps = %{{y}}: %{{x}} {looks[name]['label']}<extra></extra>",
        }
        for name in ("preserved", "shrunk", "expanded", "out", "undetermined")
    ]
    layout = {
        "barmode": "stack",
        "xaxis": {"title": {"text": "problems"}},
        "yaxis": {"type": "category", "title": {"text": "eps"}, "autorange": "reversed"},
        "bargap": 0.25,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
    }
    caption = (
        f"What can be said with {certified['confidence']:.0%} confidence: is the success probability above "
        "eps or below it,"
    )
    caption += " on each side? The rest would need more draws. Bold: the eps of the card."
    return figure(
        "ladder",
        "Certified support, for a ladder of eps",
        caption=caption,
        data=data,
        layout=layout,
        width=5,
        height=560,
    )


def dot_words(entry: dict) -> str:
    return f"{entry['value']:.3g}" + ("" if entry["low"] is None else f" ({entry['low']:.3g} to {entry['high']:.3g})")


def dots(
    id: str,
    title: str,
    *,
    caption: str,
    rows: list[tuple[str, dict | None, dict | None]],
    names: tuple[str, str],
    unit: str,
    width: int = 6,
    from_zero: bool = True,
) -> dict[str, Any]:
    """Base and tuned values with intervals, one row a quantity.

    id: the figure's, in the page.
    title, caption: what stands above and below it.
    rows: of each quantity its label and the entries {"value", "low", "high"} of base and tuned; None: not there.
    names: what base and tuned are called.
    unit: of the axis.
    width: columns of the page's twelve.
    from_zero: whether the axis begins at 0.
    """
    data = []
    # The two sides of a quantity stand a little apart, so that neither interval hides the other.
    sides = (("base", names[0], [row[1] for row in rows], -0.11), ("tuned", names[1], [row[2] for row in rows], 0.11))
    for side, name, entries, shift in sides:
        there = [(i, rows[i][0], entry) for i, entry in enumerate(entries) if entry]
        values = [v["value"] for *_, v in there]
        data.append(
            {
                "x": values,
                "y": [i + shift for i, *_ in there],
                "name": name,
                "mode": "markers",
                "marker": {"color": f"--{side}", "size": 9},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [0 if v["high"] is None else v["high"] - v["value"] for *_, v in there],
                    "arrayminus": [0 if v["low"] is None else v["value"] - v["low"] for *_, v in there],
                    "color": f"--{side}",
                    "thickness": 1.6,
                    "width": 4,
                },
                "text": [f"{label}: {dot_words(v)}" for _, label, v in there],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    # The first row on top.
    yaxis = {
        "tickvals": list(range(len(rows))),
        "ticktext": [row[0] for row in rows],
        "zeroline": False,
        "range": [len(rows) - 0.5, -0.5],
    }
    layout = {
        "xaxis": {"title": {"text": unit}, "rangemode": "tozero" if from_zero else "normal"},
        "yaxis": yaxis,
        "margin": {"l": 150, "r": 16, "t": 14, "b": 46},
    }
    return figure(id, title, caption=caption, data=data, layout=layout, width=width, height=130 + 48 * len(rows))
