"""Figures at paper size (one column wide), as SVG and PNG, through matplotlib."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from analysis.comparison_files import safe
from analysis.tables import blocks

COLUMN = 3.35  # inches: one column of a two-column page
BASE = "#1f63b0"
TUNED = "#d2600c"
COLOURS = {
    "preserved": "#8b97a5",
    "shrunk": "#b03a97",
    "expanded": "#0f8a5f",
    "out": "#ced4dc",
    "undetermined": "#ecd9a2",
}
METHODS = ("#1f63b0", "#d2600c", "#0f8a5f", "#b03a97", "#8a6d00", "#4b4fb5", "#a83232", "#37808c")
STYLE: Any = {
    "font.size": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e8ec",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "lines.linewidth": 1.3,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "svg.fonttype": "none",
}


def write_figures(document: dict[str, Any], names: tuple[str, str], *, folder: Path) -> list[Path]:
    """pass_at_k, support, scatter, certified and, where recorded, entropy, pooled; and pass_at_k of each benchmark.
    Returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    by = blocks(document)
    # all are made in one style, and drawn when they are saved
    figures: dict[str, Figure] = {}
    with matplotlib.rc_context(STYLE):
        for name, block in by.items():
            if block.get("curves"):
                figures["pass_at_k" if name == "all" else f"pass_at_k_{safe(name)}"] = pass_at_k(block, names)
        figures["support"] = support(by)
        pooled = by["all"]
        certified = pooled.get("certified")
        figures["scatter"] = scatter(document["problems_detail"], certified and certified["eps"], names=names)
        if certified:
            figures["certified"] = ladder(certified)
        if entropy := pooled.get("entropy"):
            figures["entropy"] = entropies(entropy, names)
        return [path for name, figure in figures.items() for path in save(figure, folder / name)]


def write_comparison_figures(document: dict[str, Any], folder: Path) -> list[Path]:
    """pass_at_k of all methods, and exact_pass_at_k where the document has exact figures; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    audits = {name: [one["benchmarks"]["all"]["curves"] for one in runs] for name, runs in document["audits"].items()}
    curves = {document["base"]["name"]: [(c["k"], c["base"]["value"]) for c in next(iter(audits.values()))[:1]]}
    curves |= {name: [(c["k"], c["tuned"]["value"]) for c in runs] for name, runs in audits.items()}
    figures = {"pass_at_k": curves}
    if exact := document.get("exact"):
        found: dict[str, list] = {}
        for run in exact["runs"]:
            if run["method"] == "base" or run["method"] in document["methods"]:
                steps = sorted((int(k), v) for k, v in run["pass_at_k"].items())
                found.setdefault(run["method"], []).append(tuple(zip(*steps, strict=True)))
        figures["exact_pass_at_k"] = found
    with matplotlib.rc_context(STYLE):
        return [
            path
            for name, methods in figures.items()
            for path in save(
                methods_figure(methods, "exact pass@k" if name.startswith("exact") else "pass@k"), folder / name
            )
        ]


def methods_figure(methods: dict[str, list[tuple]], label: str) -> Figure:
    """Mean over runs and their range. methods: name -> runs of (k, values); the first one is the base, dashed."""
    figure, axes = panel(2.6)
    for i, (name, runs) in enumerate(methods.items()):
        k = sorted(set.intersection(*(set(steps) for steps, _ in runs)))
        values = np.array([[dict(zip(steps, curve, strict=True))[step] for step in k] for steps, curve in runs])
        colour = "#1a1e24" if i == 0 else METHODS[(i - 1) % len(METHODS)]
        if len(runs) > 1:
            axes.fill_between(k, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        axes.plot(k, values.mean(axis=0), color=colour, label=name, linestyle="--" if i == 0 else "-")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda k, _: f"{k / 1024:g}k" if k >= 1024 and k % 1024 == 0 else f"{k:g}")
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="k", ylabel=label)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, columnspacing=1, handlelength=1.4
    )
    return figure


def save(figure: Figure, path: Path) -> list[Path]:
    """path.svg and path.png (300 dpi), each written aside, then renamed.

    The figure is drawn twice and laid out in the first drawing alone; `Figure.savefig` would draw it six times.
    """
    written = []
    for ending, print_to in (("svg", _print_svg), ("png", _print_png)):
        final = path.with_name(f"{path.name}.{ending}")
        aside = final.with_name(f".{final.name}.{os.getpid()}.partial")
        try:
            print_to(figure, aside)
            os.replace(aside, final)
        finally:
            aside.unlink(missing_ok=True)
        written.append(final)
    return written


def _print_svg(figure: Figure, path: Path) -> None:
    figure.dpi = 72.0  # of an SVG, always
    with matplotlib.rc_context({"svg.hashsalt": "explore-rl"}):  # the same figure is the same file
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
    figure.set_layout_engine("none")  # places are as the first drawing laid them out


def _print_png(figure: Figure, path: Path) -> None:
    figure.dpi = 300.0
    FigureCanvasAgg(figure).print_png(path, pil_kwargs={"compress_level": 1})  # a third larger, in a third of the time


def panel(height: float = 2.3) -> tuple[Figure, Any]:
    figure = Figure(figsize=(COLUMN, height), layout="constrained")
    return figure, figure.add_subplot()


def percent_panel(height: float = 2.3) -> tuple[Figure, Any]:
    """A panel whose vertical axis is in whole per cent: its labels' places are known, and need not be measured."""
    figure = Figure(figsize=(COLUMN, height))
    return figure, figure.add_axes((0.175, 0.16, 0.805, 0.82))


def pass_at_k(block: dict, names: tuple[str, str]) -> Figure:
    figure, axes = percent_panel()
    curves = block["curves"]
    for side, name, colour in zip(("base", "tuned"), names, (BASE, TUNED), strict=True):
        axes.fill_between(curves["k"], curves[side]["low"], curves[side]["high"], color=colour, alpha=0.16, linewidth=0)
        axes.plot(curves["k"], curves[side]["value"], color=colour, label=name)
    if crossing := block.get("crossing_k"):
        high = curves["k"][-1] if crossing["high"] is None else crossing["high"]
        axes.axvspan(max(crossing["low"], 1), high, color="#4d5a68", alpha=0.1, linewidth=0)
        axes.axvline(crossing["value"], color="#4d5a68", linewidth=0.8, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda k, _: f"{k / 1024:g}k" if k >= 1024 and k % 1024 == 0 else f"{k:g}")
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="k", ylabel="pass@k")
    axes.legend(loc="lower right")
    return figure


def support(by: dict[str, dict]) -> Figure:
    """Shares of problems by category, one bar a benchmark, with what chance alone would show as ticks."""
    figure, axes = panel(0.75 + 0.32 * len(by))
    names = list(by)
    left = np.zeros(len(by))
    for category in ("preserved", "shrunk", "expanded", "out"):
        share = np.array([b["support"][category] / b["problems"] for b in by.values()])
        axes.barh(names, share, left=left, color=COLOURS[category], label=category, height=0.68)
        for i, (x, s) in enumerate(zip(left, share, strict=True)):
            if s > 0.035:
                axes.text(
                    x + s / 2,
                    i,
                    f"{list(by.values())[i]['support'][category]:.0f}",
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    color="white" if category not in ("out",) else "#1a1e24",
                )
        left += share
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlim=(0, 1), xlabel="problems")
    axes.invert_yaxis()
    axes.grid(False)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper center", ncols=4, handlelength=1, columnspacing=1
    )
    return figure


def scatter(rows: list[dict], eps: float | None, *, names: tuple[str, str]) -> Figure:
    figure, axes = panel(COLUMN)
    sides = {
        s: (np.array([r[s]["n"] for r in rows]), np.array([r[s]["correct"] for r in rows])) for s in ("base", "tuned")
    }
    # Half a success and half a failure more, so that 0 and 1 have a place on the logit scale.
    rates = {s: (c + 0.5) / (n + 1) for s, (n, c) in sides.items()}
    for category in ("preserved", "out", "shrunk", "expanded"):
        at = [i for i, r in enumerate(rows) if r["category"] == category]
        if at:
            axes.scatter(
                rates["base"][at],
                rates["tuned"][at],
                s=9,
                color=COLOURS[category],
                alpha=0.75,
                linewidths=0,
                label=f"{category} ({len(at)})",
                clip_on=False,
            )
    low = min(r.min() for r in rates.values()) * 0.8
    # Square: the diagonal is "no change".
    for set_scale, set_limits in ((axes.set_xscale, axes.set_xlim), (axes.set_yscale, axes.set_ylim)):
        set_scale("logit", one_half="0.5")
        set_limits(low, 1 - low)
    ticks = [p for p in (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999) if low < p < 1 - low]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{p:g}" for p in ticks])
        axis.set_ticks([], minor=True)
    axes.plot([low, 1 - low], [low, 1 - low], color="#b8c0c8", linewidth=0.7, zorder=0)
    if eps is not None:
        axes.axvline(eps, color="#4d5a68", linewidth=0.7, linestyle="--")
        axes.axhline(eps, color="#4d5a68", linewidth=0.7, linestyle="--")
    axes.set(xlabel=f"success rate, {names[0]}", ylabel=f"success rate, {names[1]}")
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, handletextpad=0.2, columnspacing=1
    )
    return figure


def ladder(certified: dict) -> Figure:
    steps = certified["ladder"]
    figure, axes = panel(0.75 + 0.22 * len(steps))
    left = np.zeros(len(steps))
    labels = [f"{step['eps']:.2g}" for step in steps]
    for category in ("preserved", "shrunk", "expanded", "out", "undetermined"):
        count = np.array([step[category] for step in steps])
        axes.barh(labels, count, left=left, color=COLOURS[category], label=category, height=0.74)
        left += count
    axes.invert_yaxis()
    axes.set(xlabel=f"problems, certified at {certified['confidence']:.0%}", ylabel="eps", xlim=(0, left.max()))
    axes.grid(False)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, handlelength=1, columnspacing=1
    )
    return figure


def entropies(entropy: dict, names: tuple[str, str]) -> Figure:
    labels = {
        "token": "tokens",
        "answer": "answers",
        "answer_corrected": "answers,\ncorrected",
        "mode": "modes",
        "mode_corrected": "modes,\ncorrected",
    }
    rows = [(label, entropy[key]) for key, label in labels.items() if entropy.get(key)]
    figure, axes = panel(0.8 + 0.36 * len(rows))
    for side, name, colour, shift in (("base", names[0], BASE, -0.12), ("tuned", names[1], TUNED, 0.12)):
        for i, (_, entry) in enumerate(rows):
            if one := entry[side]:
                error = None if one["low"] is None else [[one["value"] - one["low"]], [one["high"] - one["value"]]]
                axes.errorbar(
                    one["value"],
                    i + shift,
                    xerr=error,
                    fmt="o",
                    color=colour,
                    markersize=3.2,
                    elinewidth=0.9,
                    label=name if i == 0 else None,
                )
    axes.set_yticks(range(len(rows)), [label for label, _ in rows])
    axes.set(xlabel="entropy (nats)", ylim=(len(rows) - 0.5, -0.5))
    axes.set_xlim(left=0)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
