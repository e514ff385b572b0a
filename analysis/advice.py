"""What to do with a budget of K samples a problem: base, tuned, or a split between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.counts import Counts
from analysis.intervals import PSEUDO_BASE, PSEUDO_TUNED, Bootstrap
from analysis.pass_at_k import mixed_pass_at_k

PSEUDO_EITHER = np.maximum(PSEUDO_BASE, PSEUDO_TUNED)


def advise(base: Counts, tuned: Counts, *, budgets: np.ndarray, bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """For each budget K: pass@K of the base alone, of the tuned model alone, and of the best split (k1 of the base, K -
    k1 of the tuned model).

    Splits tried: all, or 33 evenly spaced ones. The split is chosen and measured on the same problems;
    `gain_over_best_alone` has its interval from choosing the split, and the better single model, anew in every
    bootstrap replicate.

    base, tuned: (n, c), int [M] each.
    budgets: int [J], each at most every n.
    bootstrap: of these problems.
    """
    result = []
    for budget in np.atleast_1d(budgets):
        k_base = np.unique(np.linspace(0, budget, min(int(budget) + 1, 33)).round().astype(np.int64))
        table = mixed_pass_at_k(base, tuned, k_base=k_base, k_tuned=budget - k_base)
        mean = table.mean(axis=0)
        best = int(np.flatnonzero(mean >= mean.max() - 1e-12)[0])
        # all on one model at either end of the table, and every split between them
        ends = [bootstrap.means(table[:, -1], PSEUDO_BASE), bootstrap.means(table[:, 0], PSEUDO_TUNED)]
        inner = bootstrap.means(table[:, 1:-1], PSEUDO_EITHER) if len(k_base) > 2 else np.empty((len(ends[0]), 0))
        replicates = np.column_stack([ends[1], inner, ends[0]])
        alone = np.maximum(*ends)
        low, high = bootstrap.interval(replicates[:, [0, best, -1]])  # of the three that are told
        gain_low, gain_high = bootstrap.interval(replicates.max(axis=1) - alone)

        def entry(told: int, low=low, *, high=high, values=mean[[0, best, -1]]) -> dict[str, float]:
            return {"value": float(values[told]), "low": float(low[told]), "high": float(high[told])}

        result.append(
            {
                "budget": int(budget),
                "base": entry(2),
                "tuned": entry(0),
                "best_split": {"k_base": int(k_base[best]), "k_tuned": int(budget - k_base[best]), **entry(1)},
                "gain_over_best_alone": {
                    "value": float(mean.max() - max(mean[0], mean[-1])),
                    "low": float(gain_low),
                    "high": float(gain_high),
                },
                "use": "base" if k_base[best] == budget else "tuned" if k_base[best] == 0 else "split",
            }
        )
    return result
