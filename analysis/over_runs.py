"""Intervals and p-values when runs (seeds) are a sample too.

A difference of two methods has two sources of luck: which problems were asked, and which runs were trained. Luck of the
first kind has a paired bootstrap over problems; of the second there are a handful of values, so it has a t interval
with a moderated variance (analysis.moderated). The two half-widths add in quadrature,

    half^2 = t_df^2 V_runs + half_problems^2,

which covers at least what it says whatever the two variances are (Banerjee 1960, Sankhya 22, 357; for asymmetric
limits Zou and Donner 2008, doi 10.1002/sim.3095). A t with Satterthwaite's degrees of freedom does not: with two
methods of two runs it is false in 7 % of boards. The noise of the draws is in both sources, so where neither runs nor
problems differ the interval is up to sqrt(2) times too wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, special, stats

SMALLEST_P = 1e-100  # p-values below are this one: a run's z stays finite


@dataclass(frozen=True)
class RunLuck:
    """What the runs add to the uncertainty of a mean or a difference: its variance, with degrees of freedom."""

    variance: float
    df: float

    def half_width(self, confidence: float) -> float:
        return float(stats.t.ppf((1 + confidence) / 2, self.df) * np.sqrt(self.variance))

    def p(self, value: float) -> float | None:
        """Two-sided p-value of `value` against 0, the problems held fixed; None where no two runs differ."""
        if self.variance == 0:
            return None
        return float(2 * stats.t.sf(abs(value) / np.sqrt(self.variance), self.df))


def widened(
    value: float,
    over_problems: tuple[float, float],
    *,
    luck: RunLuck | None,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """An interval over problems of `value`, widened by the luck of the runs.

    value: the figure.
    over_problems: its (low, high) over problems.
    luck: of the runs; None leaves the interval as it is.
    confidence: the interval's.

    >>> low, high = widened(0.0, (-3.0, 3.0), luck=RunLuck((4 / stats.t.ppf(0.975, 2)) ** 2, 2))
    >>> round(low, 6), round(high, 6)
    (-5.0, 5.0)
    """
    low, high = over_problems
    if luck is None:
        return low, high
    reach = luck.half_width(confidence)
    return value - float(np.hypot(reach, max(value - low, 0.0))), value + float(np.hypot(reach, max(high - value, 0.0)))


def majority_p(p: np.ndarray) -> float:
    """That fewer than half of the runs (half of an even number included) have a true change: (R - u + 1) p_(u), u =
    floor(R / 2) + 1, from the p-values [R] of R runs. Valid however they depend on each other; runs share their base.

    Source: partial conjunction, Benjamini and Heller 2008 (doi 10.1111/j.1541-0420.2007.00984.x), eq. 5 (Bonferroni).

    >>> majority_p(np.array([0.001, 0.01, 0.9]))
    0.02
    """
    runs = len(p)
    needed = majority(runs)
    return float(min(1.0, (runs - needed + 1) * np.sort(p)[needed - 1]))


def majority(runs: int) -> int:
    """How many runs are more than half of them."""
    return runs // 2 + 1


def mean_z_p(mean: float, luck: RunLuck) -> float:
    """One-sided p-value of a mean of z over runs against 0: the p at which mean^2 = t_p^2 V_runs + z_p^2.

    z_p^2 is the luck of the draws. z has variance 1 under its null, and the runs share the draws of the base: a
    mean of them has variance 1 at most. Without a gap between runs it is the normal tail:

    >>> round(mean_z_p(1.959964, RunLuck(0.0, 4)), 4)
    0.025
    """
    if mean <= 0:
        return 1.0
    if luck.variance == 0:
        return max(float(stats.norm.sf(mean)), SMALLEST_P)

    def gap(log_p: float) -> float:
        p = 10**log_p
        reach = special.stdtrit(luck.df, p) * np.sqrt(luck.variance)
        return float(max(reach, -1e100) ** 2 + special.ndtri(p) ** 2 - mean**2)

    smallest = float(np.log10(SMALLEST_P))
    if gap(smallest) <= 0:
        return SMALLEST_P
    root: Any = optimize.brentq(gap, smallest, np.log10(0.5))
    return float(10**root)
