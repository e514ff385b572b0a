"""Tail miss: how often a training group of G draws holds nothing of what the base can do.

RL on groups sees only what its G draws hold. A problem that the base solves at rate p is missed with probability
(1 - p)^G, and then gives no gradient towards what is right; the loss of rare successes is put down to such groups
(the finite-group explanation of the pass@k inversion, arXiv 2607.20543). Here it is estimated without bias from the
base's own draws: C(n - c, G) / C(n, G), averaged over the problems that it solves at all in n draws, and over
those that it solves in fewer than a tenth of them. Source of the estimator: Chen et al. 2021 (arXiv 2107.03374), eq. 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.counts import Counts
from analysis.estimates import mean_of
from analysis.intervals import PSEUDO_BASE
from analysis.pair import BenchmarkPair
from analysis.pass_at_k import log_miss

RARE = 0.1  # success rate below which a problem belongs to the tail


def missed(base: Counts, group: int) -> np.ndarray:
    """Chance that `group` of the n draws hold no correct one: float64 [M]; NaN where the base solved nothing.

    >>> missed(Counts(np.array([4, 4]), np.array([1, 0])), 2).tolist()
    [0.5, nan]
    """
    n, c = (np.asarray(x) for x in base)
    return np.where(c > 0, np.exp(log_miss(n, c, k=group)), np.nan)


def tail_miss(pair: BenchmarkPair) -> list[dict[str, Any]]:
    """One row a group size (the audit's values of k, up to the base's draws): `missed` over problems that the base
    solves, and `missed_rare` over those of them with a rate below .1; null where there are none."""
    n, c = pair.b
    rare = c / n < RARE
    rows = []
    for group in pair.k.tolist():
        values = missed(pair.b, group)
        tail = np.where(rare, values, np.nan)
        rows.append(
            {
                "group": group,
                "missed": mean_of(pair, values, pseudo=PSEUDO_BASE),
                "missed_rare": mean_of(pair, tail, pseudo=PSEUDO_BASE),
            }
        )
    return rows
