"""What a comparison says of the runs' trainings: curves of their metrics, and settings in which they differ."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from analysis.differing import differing
from explore_rl.config.schema import Config
from explore_rl.experiments.run_folder import RunFolder

METRICS = ("reward/mean", "pass@group", "entropy/token", "length/mean")
POINTS = 150  # of a curve, at most: longer ones are means over neighbouring steps
OF_THE_METHOD = ("algorithm", "strategies")
OWN = ("name", "seed", "run.output", "tracking")  # settings that differ between any two runs


def training_curves(folders: dict[Path, Config]) -> list[dict[str, Any]]:
    """One a run: {"method", "seed", "step": [...], "metrics": {name: [...]}}, null where a step lacks the metric."""
    curves = []
    for folder, config in folders.items():
        records = RunFolder(folder).records("metrics.jsonl")
        if not records:
            continue
        width = -(-len(records) // POINTS)
        parts = [records[i : i + width] for i in range(0, len(records), width)]
        metrics = {name: [_mean(part, name) for part in parts] for name in METRICS}
        curves.append(
            {
                "method": config.name,
                "seed": config.seed,
                "step": [part[-1]["step"] for part in parts],
                "metrics": {name: values for name, values in metrics.items() if any(v is not None for v in values)},
            }
        )
    return curves


def _mean(records: list[dict[str, Any]], name: str) -> float | None:
    known = [record[name] for record in records if record.get(name) is not None]
    return float(np.mean(known)) if known else None


def differing_settings(folders: dict[Path, Config]) -> dict[str, Any]:
    """The table of `analysis.differing` over the runs' whole configurations."""
    by: dict[str, list[dict[str, Any]]] = {}
    for config in folders.values():
        settings = {name: value for name, value in _flat(asdict(config)).items() if not name.startswith(OWN)}
        by.setdefault(config.name, []).append(settings)
    return differing(by, OF_THE_METHOD)


def _flat(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) and value else {f"{above}{name}": value}
    return flat
