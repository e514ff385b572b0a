"""Curves over k and over tokens: pass@k, its difference, the advice. Colours as in `analysis.report.charts`."""

from __future__ import annotations

import math
from typing import Any

from analysis.report.charts import figure
from analysis.report.words import signed


def power_ticks(low: float, high: float) -> dict[str, Any]:
    """Axis in ln k with powers of two (of ten where the range is long) as ticks."""
    powers = [2**i for i in range(max(0, math.ceil(math.log2(max(low, 1)))), math.floor(math.log2(high)) + 1)]
    powers = powers[:: max(1, math.ceil(len(powers) / 12))]
    return {
        "type": "log",
        "range": [math.log10(low) - 0.02, math.log10(high) + 0.02],
        "tickvals": powers,
        "ticktext": [short(p) for p in powers],
    }


def signed_ticks(values: list[float | None], *, scale: float = 1.0) -> dict[str, Any]:
    """Axis of differences: ticks with a sign and as many digits as they differ by, and a plain 0.

    values: what has to fit, in the axis's own unit.
    scale: what labels are multiplied by (100: shares in points).

    >>> signed_ticks([-0.004, 0.011], scale=100)["ticktext"]
    ['0', '+0.5', '+1']
    """
    known = [0.0, *(scale * x for x in values if x is not None and math.isfinite(x))]
    step = nice_step((max(known) - min(known)) / 6 or 1.0)
    ticks = [step * i for i in range(math.ceil(min(known) / step - 1e-9), math.floor(max(known) / step + 1e-9) + 1)]
    words = ["0" if not tick else signed(f"{tick:+.6g}") for tick in ticks]
    return {"tickvals": [tick / scale for tick in ticks], "ticktext": words}


def nice_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is at least this large.

    >>> [nice_step(x) for x in (0.3, 2.0, 7.0)]
    [0.5, 2.0, 10.0]
    """
    power = 10.0 ** math.floor(math.log10(least))
    return next(size * power for size in (1, 2, 5, 10) if size * power >= least * (1 - 1e-9))


def short(number: float) -> str:
    """1024 as 1k, 16384 as 16k, 1048576 as 1M; others in plain digits."""
    for size, letter in ((1 << 20, "M"), (1 << 10, "k")):
        if number >= size and number % size == 0:
            return f"{number // size:.0f}{letter}"
    return f"{number:g}"


def banded(
    x: list, entry: dict[str, list], *, name: str, colour: str, unit: str = "k", dash: str = "solid"
) -> list[dict[str, Any]]:
    """A line with its interval as a band; one legend entry.

    x: [K].
    entry: of a curve in the document: "value", "low", "high", [K] each.
    name: in the legend.
    colour: of the page's own.
    unit: what x counts, for the hover.
    dash: Plotly's.
    """
    hover = (
        f"{name}<br>{unit} = %{{x:,.0f}}: %{{y:.1%}} (%{{customdata[0]:.1%}} to %{{customdata[1]:.1%}})<extra></extra>"
    )
    shared = {
        "x": x,
        "legendgroup": name,
        "hoverinfo": "skip",
        "showlegend": False,
        "mode": "lines",
        "line": {"width": 0},
    }
    return [
        {**shared, "y": entry["low"]},
        {**shared, "y": entry["high"], "fill": "tonexty", "fillcolor": f"{colour}/0.16"},
        {
            "x": x,
            "y": entry["value"],
            "name": name,
            "legendgroup": name,
            "mode": "lines",
            "line": {"color": colour, "width": 2.4, "dash": dash},
            "customdata": list(zip(entry["low"], entry["high"], strict=True)),
            "hovertemplate": hover,
        },
    ]


def crossing_marks(crossing: dict | None, *, limit: float, label: str) -> dict[str, Any]:
    """A line at the crossing, its interval shaded (to the end of the axis where it is censored).

    label: name of the axis, written with the crossing's place beside the line; the section's lead has the interval."""
    if not crossing or crossing["value"] is None:
        return {}
    high = limit if crossing["high"] is None else crossing["high"]
    # The axis is logarithmic: rectangles and lines are given in its values, notes in their logarithms.
    rect = {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": max(crossing["low"], 1),
        "x1": high,
        "y0": 0,
        "y1": 1,
        "fillcolor": "--neutral/0.10",
        "line": {"width": 0},
        "layer": "below",
    }
    line = {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": crossing["value"],
        "x1": crossing["value"],
        "y0": 0,
        "y1": 1,
        "line": {"color": "--neutral", "width": 1.4, "dash": "dot"},
    }
    # Written to the side on which there is room.
    note = {
        "x": math.log10(crossing["value"]),
        "y": 0.02,
        "yref": "paper",
        "xanchor": "left" if math.log(crossing["value"]) < 0.4 * math.log(max(limit, 2)) else "right",
        "yanchor": "bottom",
        "showarrow": False,
        "text": f" {label} = {crossing['value']:,.0f} " if label else "",
        "font": {"color": "--muted"},
    }
    return {"shapes": [rect, line], "annotations": [note]}


def crossing_words(crossing: dict | None, unit: str = "k") -> str:
    if not crossing or crossing["value"] is None:
        return "the curves do not cross"
    high = "beyond" if crossing["high"] is None else f"{crossing['high']:,.0f}"
    return f"cross at {unit} = {crossing['value']:,.0f} ({crossing['low']:,.0f} to {high})"


def pass_at_k(block: dict, names: tuple[str, str], *, level: str) -> dict[str, Any]:
    curves = block["curves"]
    k = curves["k"]
    data = [
        trace
        for side, name in zip(("base", "tuned"), names, strict=True)
        for trace in banded(k, curves[side], name=name, colour=f"--{side}")
    ]
    layout = {
        "xaxis": power_ticks(1, k[-1]) | {"title": {"text": "k (samples a problem)"}},
        "yaxis": {"title": {"text": "pass@k"}, "tickformat": ".0%"},
    }
    layout["xaxis"].pop("range") if len(k) == 1 else None
    layout |= crossing_marks(block.get("crossing_k"), limit=k[-1], label="k")
    caption = f"Unbiased estimates with {level} intervals over problems."
    return figure("pass-at-k", "pass@k", caption=caption, data=data, layout=layout, width=7, height=400)


def difference(block: dict, level: str) -> dict[str, Any]:
    curves = block["curves"]
    k = curves["k"]
    entry = curves["difference"]
    data = banded(k, entry, name="tuned − base", colour="--neutral")
    # Intervals hold at one k each; the band is what may be read off as a curve.
    if "band_low" in entry:
        for key in ("band_low", "band_high"):
            data.append(
                {
                    "x": k,
                    "y": entry[key],
                    "mode": "lines",
                    "line": {"color": "--neutral", "width": 1, "dash": "dot"},
                    "hoverinfo": "skip",
                    "showlegend": key == "band_low",
                    "name": "simultaneous band",
                    "legendgroup": "band",
                }
            )
    layout = {
        "xaxis": power_ticks(1, k[-1]) | {"title": {"text": "k (samples a problem)"}},
        "yaxis": signed_ticks(
            [x for key in ("low", "high", "band_low", "band_high") for x in entry.get(key, [])], scale=100
        )
        | {"title": {"text": "difference in pass@k (points)"}, "zeroline": True, "zerolinewidth": 1.5},
        **crossing_marks(block.get("crossing_k"), limit=k[-1], label=""),
    }
    caption = (
        f"Above zero the tuned model is ahead. Paired {level} intervals at each k, and a band that holds "
        "at all k together."
    )
    return figure("difference", "Tuned minus base", caption=caption, data=data, layout=layout, width=5, height=400)


def tokens(block: dict, names: tuple[str, str]) -> dict[str, Any] | None:
    if not (entry := block.get("pass_at_tokens")):
        return None
    data = [
        t
        for side, name in zip(("base", "tuned"), names, strict=True)
        for t in banded(entry["tokens"], entry[side], name=name, colour=f"--{side}", unit="tokens")
    ]
    layout = {
        "xaxis": power_ticks(entry["tokens"][0], entry["tokens"][-1]) | {"title": {"text": "tokens spent a problem"}},
        "yaxis": {"title": {"text": "pass@tokens"}, "tickformat": ".0%"},
    }
    crossing = block.get("crossing_tokens")
    layout |= crossing_marks(crossing, limit=entry["tokens"][-1], label="tokens")
    lengths = [tokens_words(block["num_tokens"][side]) for side in ("base", "tuned")]
    caption = (
        f"The same curves by cost: on average a completion of {names[0]} has {lengths[0]} and one of "
        f"{names[1]} {lengths[1]}."
    )
    caption += " The intervals know that these lengths are estimates too."
    return figure("tokens", "pass@k by tokens spent", caption=caption, data=data, layout=layout, width=12, height=340)


def tokens_words(entry: dict) -> str:
    return f"{entry['value']:,.0f} tokens" + (
        "" if entry["low"] is None else f" ({entry['low']:,.0f} to {entry['high']:,.0f})"
    )


def mixing(advice: list[dict], names: tuple[str, str]) -> dict[str, Any]:
    k = [row["budget"] for row in advice]
    data = []
    for key, name, colour, dash in (
        ("base", names[0], "--base", "solid"),
        ("tuned", names[1], "--tuned", "solid"),
        ("best_split", "best split", "--expanded", "dash"),
    ):
        data.append(
            {
                "x": k,
                "y": [row[key]["value"] for row in advice],
                "name": name,
                "mode": "lines+markers",
                "line": {"color": colour, "width": 2, "dash": dash},
                "marker": {"size": 6},
                # The hover names the split, which changes along the curve.
                "text": [
                    f"{row['best_split']['k_base']} of {names[0]} + {row['best_split']['k_tuned']} of {names[1]}"
                    if key == "best_split"
                    else name
                    for row in advice
                ],
                "hovertemplate": "K = %{x}: %{y:.1%} (%{text})<extra></extra>",
            }
        )
    layout = {
        "xaxis": power_ticks(1, k[-1]) | {"title": {"text": "budget K (samples a problem)"}},
        "yaxis": {"title": {"text": "solved within the budget"}, "tickformat": ".0%"},
    }
    return figure(
        "advice",
        "How to spend a budget of K samples",
        caption="All on one model, or the split between both that solves most.",
        data=data,
        layout=layout,
        width=6,
        height=340,
    )
