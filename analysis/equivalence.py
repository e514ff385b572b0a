"""Equivalence of pass@k: is the difference small, rather than merely not proven?

Two one-sided tests (TOST; Schuirmann 1987, doi 10.1007/BF01068419): base and tuned model are equivalent at k within the
margin where both "tuned is worse by the margin or more" and "tuned is better by the margin or more" are refuted, that
is, where the 1 - 2 level interval of the paired difference lies within the margin.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.intervals import PSEUDO_DIFFERENCE
from analysis.pair import BenchmarkPair
from analysis.pass_at_k import pass_at_k


def equivalence(pair: BenchmarkPair) -> list[dict[str, Any]]:
    """One row for k = 1 and one for the largest k: the difference with its 1 - 2 level interval (bootstrap over
    problems), both one-sided p-values, their larger one, and whether that is an equivalence at the level.

    Margin and level are the verdict's; the level is 1 - bound, 5 % a side unless changed.
    """
    rules = pair.settings.rules
    level = 1 - rules.bound
    rows = []
    for k in dict.fromkeys((1, int(pair.k[-1]))):
        values = pass_at_k(*pair.t, k=k) - pass_at_k(*pair.b, k=k)
        replicates = pair.bootstrap.means(values, PSEUDO_DIFFERENCE)
        low, high = (float(x) for x in np.quantile(replicates, [level, 1 - level]))
        value = float(values.mean())
        p = [
            float((1 + hits.sum()) / (1 + len(replicates)))
            for hits in (replicates <= -rules.margin, replicates >= rules.margin)
        ]
        rows.append(
            {
                "k": k,
                "margin": rules.margin,
                "level": level,
                "difference": {"value": value, "low": min(low, value), "high": max(high, value)},
                "p_worse": p[0],
                "p_better": p[1],
                "p": max(p),
                "equivalent": max(p) <= level,
            }
        )
    return rows
