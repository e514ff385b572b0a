"""The page's sections of what happened before the samples: settings that differ, and curves of the training."""

from __future__ import annotations

from typing import Any

import numpy as np

import analysis.report.charts as charts
from analysis.report.exact import ranged
from analysis.report.parts import section

CURVES = {
    "reward/mean": "Reward",
    "pass@group": "Groups with a correct sample",
    "entropy/token": "Token entropy, nats",
    "length/mean": "Length in tokens",
}


def settings_section(document: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    """The table of differing settings, and whether more than the method differs (then it belongs first)."""
    found = document.get("differing") or {"rows": []}
    if not found["rows"]:
        return None, False
    rows = sorted(found["rows"], key=lambda row: row["of_method"])
    more = [row["setting"] for row in rows if not row["of_method"]]
    if more:
        title = "More than the method differs"
        lead = f"{', '.join(more)}: what is seen below may be due to {'this' if len(more) == 1 else 'these'} as well."
    else:
        title = "What makes the methods"
        lead = "The methods differ in these settings, and in no other."
    table = {
        "columns": ["setting", *found["names"]],
        "rows": [[row["setting"], *row["values"]] for row in rows],
        "text_columns": list(range(1, len(found["names"]) + 1)),
    }
    return section("settings", title, lead=lead, parts=[table]), bool(more)


def training_section(document: dict[str, Any], colours: dict[str, str]) -> dict[str, Any] | None:
    """A chart a metric of the training that any run recorded: mean over the runs of a method, and their range."""
    runs = document.get("training") or []
    parts = [_chart(runs, metric, title=title, colours=colours) for metric, title in CURVES.items()]
    if not any(parts):
        return None
    lead = "As recorded while training, on the training problems; means over runs, the shade is their range."
    return section("training", "Over training", lead=lead, parts=parts)


def _chart(runs: list[dict[str, Any]], metric: str, *, title: str, colours: dict[str, str]) -> dict[str, Any] | None:
    data = []
    by: dict[str, list[dict[int, float]]] = {}
    for run in runs:
        points = {s: v for s, v in zip(run["step"], run["metrics"].get(metric, []), strict=False) if v is not None}
        if points:
            by.setdefault(run["method"], []).append(points)
    for name, curves in by.items():
        steps = sorted(set.intersection(*(set(points) for points in curves)))
        if steps:
            values = np.array([[points[step] for step in steps] for points in curves], dtype=float)
            hover = f"step %{{x}}: %{{y:.4g}} ({title.lower()})"
            data += ranged(steps, values, name=name, colour=colours.get(name, "--neutral"), hover=hover)
    if not data:
        return None
    layout = {"xaxis": {"title": {"text": "training step"}}, "yaxis": {"title": {"text": title.lower()}}}
    id = "training-" + metric.replace("/", "-").replace("@", "-")
    return charts.figure(id, title, caption="", data=data, layout=layout, width=6, height=320)
