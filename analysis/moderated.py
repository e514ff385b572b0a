"""How much the runs of a method differ: variances of few runs each, moderated by those of the other methods on the
board.

Two or three runs say little of their own variance. Runs of methods on one board are trained and sampled alike, so each
variance is drawn towards a common one; how far is read from how much the variances themselves differ (empirical Bayes).
Where they differ no more than chance explains, the prior has infinitely many degrees of freedom and all methods share
one pooled variance; where they differ a lot, each keeps its own.

Source: Smyth 2004 (doi 10.2202/1544-6115.1027, sec. 6.2): s_i^2 ~ s_0^2 F(d_i, d_0), moments of log s_i^2. The cap of
the degrees of freedom at those of the pooled variance is that of limma (ebayes: df.total = min(d_0 + d_i, sum d_i)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special


@dataclass(frozen=True)
class Moderated:
    """Variances of G methods after moderation.

    variance: float64 [G], s~^2 = (d_0 s_0^2 + d_i s_i^2) / (d_0 + d_i).
    df: float64 [G], degrees of freedom of each, min(d_0 + d_i, sum of d_i).
    prior_variance: s_0^2, what the methods have in common.
    prior_df: d_0; inf where all methods share one pooled variance.
    pooled_df: sum of d_i.
    methods: how many had a variance of their own (at least two runs).
    """

    variance: np.ndarray
    df: np.ndarray
    prior_variance: float
    prior_df: float
    pooled_df: float
    methods: int


def moderate(variance: np.ndarray, df: np.ndarray) -> Moderated | None:
    """Moderates variances [G] with their own degrees of freedom [G] (runs - 1; 0 for one run, whose variance is not
    read). None where no method has a degree of freedom.

    A method with one run gets the variance that the others have in common.

    >>> found = moderate(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    >>> found.variance.tolist(), found.df.tolist(), found.prior_df
    ([2.0, 2.0], [4.0, 4.0], inf)
    """
    own = df > 0
    total = float(df.sum())
    if not own.any():
        return None
    prior, prior_df = _prior(variance[own], df[own])
    if np.isinf(prior_df):
        moderated = np.full(len(df), prior)
    else:
        known = np.where(own, variance, 0.0)
        moderated = (prior_df * prior + df * known) / (prior_df + df)
    return Moderated(moderated, np.minimum(prior_df + df, total), prior, prior_df, total, int(own.sum()))


def _prior(variance: np.ndarray, df: np.ndarray) -> tuple[float, float]:
    """s_0^2 and d_0 from the mean and the variance of log s_i^2 (eq. 6 to 8 of the source)."""
    pooled = float((df * variance).sum() / df.sum())
    middle = float(np.median(variance))
    if len(variance) < 2 or middle == 0:  # one method, or runs that hardly differ at all: nothing to tell apart
        return pooled, np.inf
    floored = np.maximum(variance, 1e-5 * middle)  # the logarithm of a variance of 0, as limma does
    half = df / 2
    e = np.log(floored) - special.digamma(half) + np.log(half)
    beyond_chance = float(e.var(ddof=1) - special.polygamma(1, half).mean())
    if beyond_chance <= 0:
        return pooled, np.inf
    prior_half = inverse_trigamma(beyond_chance)
    return float(np.exp(e.mean() + special.digamma(prior_half) - np.log(prior_half))), 2 * prior_half


def inverse_trigamma(y: float) -> float:
    """x > 0 with trigamma(x) = y > 0, by Newton's method on 1 / trigamma (appendix of the source).

    >>> round(inverse_trigamma(float(special.polygamma(1, 3.0))), 6)
    3.0
    """
    x = 0.5 + 1 / y
    for _ in range(50):  # converges monotonically, in a handful of steps
        value = float(special.polygamma(1, x))
        step = value * (1 - value / y) / float(special.polygamma(2, x))
        x += step
        if abs(step) < 1e-8 * x:
            break
    return x
