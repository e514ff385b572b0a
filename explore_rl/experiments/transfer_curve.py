"""The transfer curve: what probability each correct mode has after training, against what it had before.

Shrinkage and expansion at a threshold are two areas of it: below the threshold after and above it before, and the other
way round. So one picture shows both at every threshold, and how far below the base's reach a method lifts.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from analysis.figures import METHODS, STYLE
from explore_rl.lab.exact import ExactAudit

LOWEST = -14  # decades of base probability: the first holds all that is below
LEAST_MODES = 5  # of a decade that is shown


def transfer(base: ExactAudit, tuned: Sequence[ExactAudit]) -> list[dict[str, float]]:
    """One row a decade of base probability: decade (its upper end's log10), modes, low, median, high.

    low, median, high: 5, 50 and 95 % of log10 of the probability after, over the decade's modes and the runs.

    base: the model before training.
    tuned: one audit a run, of the same problems.
    """
    before = _log10(base.mode_probabilities)
    after = np.array([_log10(audit.mode_probabilities) for audit in tuned])
    decades = np.clip(np.ceil(before), LOWEST, 0)
    rows = []
    for decade in np.unique(decades).astype(int).tolist():
        inside = decades == decade
        low, median, high = np.percentile(after[:, inside], (5, 50, 95))
        rows.append(
            {
                "decade": decade,
                "modes": int(inside.sum()),
                "low": float(low),
                "median": float(median),
                "high": float(high),
            }
        )
    return rows


def _log10(probabilities: np.ndarray) -> np.ndarray:
    """-300 where a probability is 0: below all that float32 log-probabilities of a few tokens reach."""
    return np.log10(np.maximum(probabilities, 1e-300))


def figure(curves: dict[str, list[dict[str, float]]], *, eps: float) -> Figure:
    """One line a method with its 5 to 95 %; dashed: nothing has changed; dotted: the threshold.

    curves: method -> rows of `transfer`.
    eps: where the dotted lines are.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.9), layout="constrained")
        axes = figure.subplots()
        for colour, (method, rows) in zip(METHODS, curves.items(), strict=False):
            shown = {row["decade"]: row for row in rows if row["modes"] >= LEAST_MODES}
            steps = range(LOWEST, 1)  # a decade without modes is a gap, not a line across
            low, median, high = (
                [shown[decade][name] if decade in shown else np.nan for decade in steps]
                for name in ("low", "median", "high")
            )
            x = np.array(steps) - 0.5  # the middle of the decade
            axes.fill_between(x, low, high, color=colour, alpha=0.1, linewidth=0)
            axes.plot(x, median, "o-", markersize=2.5, color=colour, label=method)
        axes.plot([LOWEST - 1, 0], [LOWEST - 1, 0], color="#1a1e24", linestyle="--", linewidth=0.9, label="unchanged")
        axes.axhline(np.log10(eps), color="#4b5563", linestyle=":", linewidth=0.9)
        axes.axvline(np.log10(eps), color="#4b5563", linestyle=":", linewidth=0.9)
        axes.set(
            xlim=(LOWEST - 1, 0),
            ylim=(LOWEST - 2, 0),
            xlabel="log10 of a correct mode's probability under the base",
            ylabel="after training (median, 5 to 95 %)",
        )
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, handlelength=1.6)
    return figure
