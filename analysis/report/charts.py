"""Charts of the report, as Plotly specifications. Colours are names ("--base", "--base/0.15") that the page replaces by those of its theme."""

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


def figure(id: str, title: str, caption: str, data: list[dict], layout: dict, width: int = 12, height: int = 380) -> dict[str, Any]:
    return {"id": id, "title": title, "caption": caption, "width": width, "height": height, "spec": {"data": data, "layout": layout}}


def power_ticks(low: float, high: float) -> dict[str, Any]:
    """Axis in ln k with powers of two (of ten where the range is long) as ticks."""
    powers = [2**i for i in range(max(0, math.ceil(math.log2(max(low, 1)))), math.floor(math.log2(high)) + 1)]
    powers = powers[:: max(1, math.ceil(len(powers) / 12))]
    return {"type": "log", "range": [math.log10(low) - 0.02, math.log10(high) + 0.02], "tickvals": powers, "ticktext": [short(p) for p in powers]}


def short(number: float) -> str:
    """1024 as 1k, 16384 as 16k, 1048576 as 1M; others in plain digits."""
    for size, letter in ((1 << 20, "M"), (1 << 10, "k")):
        if number >= size and number % size == 0:
            return f"{number // size:.0f}{letter}"
    return f"{number:g}"


def banded(x: list, entry: dict[str, list], name: str, colour: str, unit: str = "k", dash: str = "solid") -> list[dict[str, Any]]:
    """A line with its interval as a band; one legend entry."""
    hover = f"{name}<br>{unit} = %{{x:,.0f}}: %{{y:.1%}} (%{{customdata[0]:.1%}} to %{{customdata[1]:.1%}})<extra></extra>"
    shared = {"x": x, "legendgroup": name, "hoverinfo": "skip", "showlegend": False, "mode": "lines", "line": {"width": 0}}
    return [
        {**shared, "y": entry["low"]},
        {**shared, "y": entry["high"], "fill": "tonexty", "fillcolor": f"{colour}/0.16"},
        {
            "x": x, "y": entry["value"], "name": name, "legendgroup": name, "mode": "lines", "line": {"color": colour, "width": 2.4, "dash": dash},
            "customdata": list(zip(entry["low"], entry["high"], strict=True)), "hovertemplate": hover,
        },
    ]  # fmt: skip


def crossing_marks(crossing: dict | None, limit: float, label: str) -> dict[str, Any]:
    """A line at the crossing, its interval shaded (to the end of the axis where it is censored)."""
    if not crossing or crossing["value"] is None:
        return {}
    high = limit if crossing["high"] is None else crossing["high"]
    rect = {"type": "rect", "xref": "x", "yref": "paper", "x0": max(crossing["low"], 1), "x1": high, "y0": 0, "y1": 1, "fillcolor": "--neutral/0.10", "line": {"width": 0}, "layer": "below"}
    line = {"type": "line", "xref": "x", "yref": "paper", "x0": crossing["value"], "x1": crossing["value"], "y0": 0, "y1": 1, "line": {"color": "--neutral", "width": 1.4, "dash": "dot"}}
    note = {"x": math.log10(crossing["value"]), "y": 0.02, "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False, "text": f" {label}", "font": {"color": "--muted"}}
    return {"shapes": [rect, line], "annotations": [note]}


def crossing_words(crossing: dict | None, unit: str = "k") -> str:
    if not crossing or crossing["value"] is None:
        return "the curves do not cross"
    return f"cross at {unit} = {crossing['value']:,.0f} ({crossing['low']:,.0f} to {'beyond' if crossing['high'] is None else format(crossing['high'], ',.0f')})"


def pass_at_k(block: dict, names: tuple[str, str]) -> dict[str, Any]:
    curves = block["curves"]
    k = curves["k"]
    data = [trace for side, name in zip(("base", "tuned"), names, strict=True) for trace in banded(k, curves[side], name, f"--{side}")]
    for side, name in zip(("base", "tuned"), names, strict=True):
        if extra := (block.get("extrapolation") or {}).get(side):
            beyond = extra["pass_at_k"]
            x, y = [k[-1], *(int(step) for step in beyond)], [curves[side]["value"][-1], *(v["value"] for v in beyond.values())]
            data.append({"x": x, "y": y, "name": f"{name}, extrapolated", "mode": "lines", "line": {"color": f"--{side}", "width": 1.6, "dash": "dash"},
                         "visible": "legendonly", "hovertemplate": "extrapolated, k = %{x:,.0f}: %{y:.1%}<extra></extra>"})  # fmt: skip
    layout = {"xaxis": power_ticks(1, k[-1]) | {"title": {"text": "k (samples a problem)"}}, "yaxis": {"title": {"text": "pass@k"}, "tickformat": ".0%"}}
    layout["xaxis"].pop("range") if len(k) == 1 else None
    layout |= crossing_marks(block.get("crossing_k"), k[-1], crossing_words(block.get("crossing_k")))
    caption = "Unbiased estimates with 95 % intervals over problems. Dashed: beyond n, an extrapolation by a fitted model (click it in the legend)."
    return figure("pass-at-k", "pass@k", caption, data, layout, 7, 400)


def difference(block: dict) -> dict[str, Any]:
    curves = block["curves"]
    k, entry = curves["k"], curves["difference"]
    data = banded(k, entry, "tuned − base", "--neutral")
    if "band_low" in entry:
        for key in ("band_low", "band_high"):
            data.append({"x": k, "y": entry[key], "mode": "lines", "line": {"color": "--neutral", "width": 1, "dash": "dot"}, "hoverinfo": "skip", "showlegend": key == "band_low",
                         "name": "simultaneous band", "legendgroup": "band"})  # fmt: skip
    layout = {
        "xaxis": power_ticks(1, k[-1]) | {"title": {"text": "k (samples a problem)"}},
        "yaxis": {"title": {"text": "difference in pass@k"}, "tickformat": "+.0%", "zeroline": True, "zerolinewidth": 1.5},
        **crossing_marks(block.get("crossing_k"), k[-1], ""),
    }
    caption = "Above zero the tuned model is ahead. Paired intervals at each k, and a band that holds at all k together."
    return figure("difference", "Tuned minus base", caption, data, layout, 5, 400)


def tokens(block: dict, names: tuple[str, str]) -> dict[str, Any] | None:
    if not (entry := block.get("pass_at_tokens")):
        return None
    data = [t for side, name in zip(("base", "tuned"), names, strict=True) for t in banded(entry["tokens"], entry[side], name, f"--{side}", "tokens")]
    layout = {"xaxis": power_ticks(entry["tokens"][0], entry["tokens"][-1]) | {"title": {"text": "tokens spent a problem"}}, "yaxis": {"title": {"text": "pass@tokens"}, "tickformat": ".0%"}}
    crossing = block.get("crossing_tokens")
    layout |= crossing_marks(crossing, entry["tokens"][-1], crossing_words(crossing, "tokens"))
    lengths = entry["mean_tokens"]
    caption = f"The same curves by cost: a completion of {names[0]} has {lengths['base']:,.0f} tokens on average, one of {names[1]} {lengths['tuned']:,.0f}."
    return figure("tokens", "pass@k by tokens spent", caption, data, layout, 12, 340)


def flow(block: dict, names: tuple[str, str]) -> dict[str, Any]:
    s = block["support"]
    links = [(0, 2, "preserved"), (0, 3, "shrunk"), (1, 2, "expanded"), (1, 3, "out")]
    links = [(a, b, name) for a, b, name in links if s[name] > 0]
    solved = [s["preserved"] + s["shrunk"], s["expanded"] + s["out"], s["preserved"] + s["expanded"], s["shrunk"] + s["out"]]
    labels = [f"{names[0]}: solved", f"{names[0]}: not solved", f"{names[1]}: solved", f"{names[1]}: not solved"]
    data = {
        "type": "sankey", "arrangement": "snap", "textfont": {"size": 12.5},
        "node": {"label": [f"{label} ({round(count, 1):,g})" for label, count in zip(labels, solved, strict=True)], "color": ["--base", "--out", "--tuned", "--out"], "pad": 34, "thickness": 14,
                 "line": {"width": 0}, "x": [0.001, 0.001, 0.999, 0.999], "y": [0.2, 0.85, 0.2, 0.85]},
        "link": {"source": [a for a, _, _ in links], "target": [b for _, b, _ in links], "value": [s[name] for *_, name in links],
                 "color": [f"{CATEGORIES[name]['colour']}/0.55" for *_, name in links], "label": [CATEGORIES[name]["label"] for *_, name in links],
                 "hovertemplate": "%{label}: %{value:,.3g} problems<extra></extra>"},
    }  # fmt: skip
    for key in ("x", "y"):  # nodes without a link are not drawn, and their places would shift the others'
        used = sorted({n for a, b, _ in links for n in (a, b)})
        if len(used) < 4:
            data["node"].pop(key)
    caption = f"Solved: at least one of {s['k']:,} samples is correct. Read the thin streams against the null beside them."
    return figure("flow", "Support, from base to tuned", caption, [data], {"margin": {"l": 8, "r": 8, "t": 18, "b": 18}}, 7, 330)


def null(block: dict) -> dict[str, Any]:
    n, again = block["null"], block.get("redraw")
    rows = [("lost (base only)", "shrunk"), ("gained (tuned only)", "expanded")]
    labels = [label for label, _ in rows]
    bar = {"type": "bar", "orientation": "h", "y": labels, "textposition": "outside", "cliponaxis": False}
    expected = [n[f"expected_{key}"] for _, key in rows]
    observed = [n[f"observed_{key}"] for _, key in rows]
    data = [
        {**bar, "x": observed, "name": "observed", "marker": {"color": ["--shrunk", "--expanded"]}, "text": [f"{x:,}  (p = {n['p_' + key]:.2g})" for x, (_, key) in zip(observed, rows, strict=True)]},
        {**bar, "x": expected, "name": "one model drawn twice", "marker": {"color": "--neutral/0.55"}, "text": [f"{x:.3g} expected" for x in expected]},
    ]
    if again:
        drawn = [again[f"observed_{key}"] for _, key in rows]
        data.append({**bar, "x": drawn, "name": "base drawn again", "marker": {"color": "--base/0.6"}, "text": [f"{x:,} on the redraw" for x in drawn]})
    top = max([*observed, *expected, 1])
    layout = {"barmode": "group", "xaxis": {"title": {"text": "problems"}, "range": [0, top * 1.8]}, "yaxis": {"autorange": "reversed"}, "bargap": 0.35, "margin": {"l": 130, "r": 12, "t": 14, "b": 46}}
    caption = "What relabelling the draws within each problem would give, exactly: some problems seem lost or gained though nothing changed."
    return figure("null", "Lost and gained, against the null", caption, data, layout, 5, 330)


def logit(correct: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Empirical logit ln((c + 1/2) / (n - c + 1/2)): 0 of n and n of n have a place on the axis."""
    return np.log((correct + 0.5) / (n - correct + 0.5))


def scatter(rows: list[dict], eps: float | None, names: tuple[str, str]) -> dict[str, Any]:
    sides = [(np.array([r[s]["n"] for r in rows]), np.array([r[s]["correct"] for r in rows])) for s in ("base", "tuned")]
    rng = np.random.default_rng(0)
    x, y = (logit(c, n) + rng.uniform(-0.07, 0.07, len(rows)) for n, c in sides)
    ends = float(max(np.abs(logit(np.zeros(1), np.array([n.max()])))[0] for n, _ in sides)) + 0.4
    data = [{"x": [-ends, ends], "y": [-ends, ends], "mode": "lines", "line": {"color": "--line", "width": 1.2}, "hoverinfo": "skip", "showlegend": False}]
    for name in ("preserved", "out", "shrunk", "expanded"):
        at = [i for i, r in enumerate(rows) if r["category"] == name]
        if not at:
            continue
        text = [f"{rows[i]['problem_id']}: {rows[i]['base']['correct']}/{rows[i]['base']['n']} → {rows[i]['tuned']['correct']}/{rows[i]['tuned']['n']}" for i in at]
        flips = [bool(rows[i].get("suspicious_flip")) for i in at]
        marker = {"color": CATEGORIES[name]["colour"], "size": [11 if f else 7 for f in flips], "symbol": ["diamond" if f else "circle" for f in flips], "opacity": 0.72,
                  "line": {"width": 0.6, "color": "--bg"}}  # fmt: skip
        data.append({"x": x[at].round(3).tolist(), "y": y[at].round(3).tolist(), "mode": "markers", "name": f"{CATEGORIES[name]['label']}: {len(at)}", "marker": marker, "text": text,
                     "hovertemplate": "%{text}<extra></extra>"})  # fmt: skip
    ticks = [p for p in RATES if abs(math.log(p / (1 - p))) < ends - 0.9]

    def axis(n: np.ndarray, title: str) -> dict[str, Any]:
        zero = float(logit(np.zeros(1), np.array([n.max()]))[0])
        return {"tickvals": [zero, *(math.log(p / (1 - p)) for p in ticks), -zero], "ticktext": ["0", *(f"{p:g}" for p in ticks), "1"], "title": {"text": title}, "range": [-ends, ends], "zeroline": False}

    layout: dict[str, Any] = {"xaxis": axis(sides[0][0], f"success rate of {names[0]}"), "yaxis": axis(sides[1][0], f"success rate of {names[1]}"), "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"}}
    layout["xaxis"]["tickangle"] = 0
    if eps is not None:
        at, line = math.log(eps / (1 - eps)), {"color": "--neutral", "width": 1.2, "dash": "dash"}
        layout["shapes"] = [{"type": "line", "x0": at, "x1": at, "y0": -ends, "y1": ends, "line": line}, {"type": "line", "x0": -ends, "x1": ends, "y0": at, "y1": at, "line": line}]
        layout["annotations"] = [{"x": ends, "y": at, "xanchor": "right", "yanchor": "bottom", "showarrow": False, "text": f"eps = {eps:.3g}", "font": {"color": "--muted"}}]
    caption = "One dot a problem, on a logit scale, slightly shaken apart; diamonds are suspicious flips. Dashed: the threshold eps of certified support."
    return figure("scatter", "Success rate of each problem", caption, data, layout, 7, 560)


def ladder(certified: dict) -> dict[str, Any]:
    steps = certified["ladder"]
    labels = [f"{step['eps']:.2g}" for step in steps]
    looks = CATEGORIES | {"undetermined": UNDETERMINED}
    data = [
        {"type": "bar", "orientation": "h", "y": labels, "x": [step[name] for step in steps], "name": looks[name]["label"], "marker": {"color": looks[name]["colour"]},
         "hovertemplate": f"eps = %{{y}}: %{{x}} {looks[name]['label']}<extra></extra>"}
        for name in ("preserved", "shrunk", "expanded", "out", "undetermined")
    ]  # fmt: skip
    layout = {"barmode": "stack", "xaxis": {"title": {"text": "problems"}}, "yaxis": {"type": "category", "title": {"text": "eps"}, "autorange": "reversed"}, "bargap": 0.25, "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}}
    caption = f"What can be said with {certified['confidence']:.0%} confidence: is the success probability above eps or below it, on each side? The rest would need more draws."
    return figure("ladder", "Certified support, for a ladder of eps", caption, data, layout, 5, 560)


def dots(id: str, title: str, caption: str, rows: list[tuple[str, dict, dict]], names: tuple[str, str], unit: str, width: int = 6, from_zero: bool = True) -> dict[str, Any]:
    """Base and tuned values with intervals, one row a quantity."""
    data = []
    for side, name, column, shift in (("base", names[0], 1, -0.11), ("tuned", names[1], 2, 0.11)):
        there = [(i, row[0], row[column]) for i, row in enumerate(rows) if row[column]]
        values = [v["value"] for *_, v in there]
        data.append({
            "x": values, "y": [i + shift for i, *_ in there], "name": name, "mode": "markers", "marker": {"color": f"--{side}", "size": 9},
            "error_x": {"type": "data", "symmetric": False, "array": [v["high"] - v["value"] for *_, v in there], "arrayminus": [v["value"] - v["low"] for *_, v in there], "color": f"--{side}", "thickness": 1.6, "width": 4},
            "text": [f"{label}: {v['value']:.3g} ({v['low']:.3g} to {v['high']:.3g})" for _, label, v in there], "hovertemplate": "%{text}<extra></extra>",
        })  # fmt: skip
    yaxis = {"tickvals": list(range(len(rows))), "ticktext": [row[0] for row in rows], "zeroline": False, "range": [len(rows) - 0.5, -0.5]}
    layout = {"xaxis": {"title": {"text": unit}, "rangemode": "tozero" if from_zero else "normal"}, "yaxis": yaxis, "margin": {"l": 150, "r": 16, "t": 14, "b": 46}}
    return figure(id, title, caption, data, layout, width, 130 + 48 * len(rows))


def mixing(advice: list[dict], names: tuple[str, str]) -> dict[str, Any]:
    k = [row["budget"] for row in advice]
    data = []
    for key, name, colour, dash in (("base", names[0], "--base", "solid"), ("tuned", names[1], "--tuned", "solid"), ("best_split", "best split", "--expanded", "dash")):
        data.append({"x": k, "y": [row[key]["value"] for row in advice], "name": name, "mode": "lines+markers", "line": {"color": colour, "width": 2, "dash": dash}, "marker": {"size": 6},
                     "text": [f"{row['best_split']['k_base']} of {names[0]} + {row['best_split']['k_tuned']} of {names[1]}" if key == "best_split" else name for row in advice],
                     "hovertemplate": "K = %{x}: %{y:.1%} (%{text})<extra></extra>"})  # fmt: skip
    layout = {"xaxis": power_ticks(1, k[-1]) | {"title": {"text": "budget K (samples a problem)"}}, "yaxis": {"title": {"text": "solved within the budget"}, "tickformat": ".0%"}}
    return figure("advice", "How to spend a budget of K samples", "All on one model, or the split between both that solves most.", data, layout, 6, 340)
