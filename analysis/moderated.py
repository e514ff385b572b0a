"""How much the runs of a method differ: variances of few runs each, moderated by those of the other methods on the
board.

Two or three runs say little of their own variance. Runs of methods on one board are trained and sampled alike, so each
variance is drawn towards a common one. How far is an empirical-Bayes estimate:

- Methods whose variances differ no more than chance explains (Bartlett's test, p > .1) share one pooled variance: the
  prior has infinitely many degrees of freedom. With the few methods of a board the moment estimate alone would often
  find a difference in luck, and pay for it with degrees of freedom.
- Otherwise the prior's variance s_0^2 and degrees of freedom d_0 are found from the moments of log s_i^2, and each
  method keeps part of its own variance.
- A method of three runs or more that differ far more than those of the others (F test against them, p < .01) keeps its
  own variance and degrees of freedom, and the others are pooled without it.

Source: Smyth 2004 (doi 10.2202/1544-6115.1027, sec. 6.2), s_i^2 ~ s_0^2 F(d_i, d_0). The cap of the degrees of freedom
at those of the pooled variance is limma's (ebayes: df.total = min(d_0 + d_i, sum d_i)); that an outlier is not drawn to
the others is the idea of Phipson et al. 2016 (doi 10.1214/16-AOAS920).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

DIFFER = 0.1  # p of Bartlett's test above which all methods share one variance
APART = 0.01  # p of the F test below which a method keeps its own


@dataclass(frozen=True)
class Moderated:
    """Variances of G methods after moderation.

    variance: float64 [G], s~^2 = (d_0 s_0^2 + d_i s_i^2) / (d_0 + d_i).
    df: float64 [G], degrees of freedom of each, min(d_0 + d_i, sum of d_i).
    prior_variance: s_0^2, what the methods have in common.
    prior_df: d_0; inf where they share one pooled variance.
    pooled_df: sum of d_i over the methods that were pooled.
    methods: how many were pooled (at least two runs, and not apart).
    apart: bool [G], methods that keep their own variance.
    """

    variance: np.ndarray
    df: np.ndarray
    prior_variance: float
    prior_df: float
    pooled_df: float
    methods: int
    apart: np.ndarray


def moderate(variance: np.ndarray, df: np.ndarray) -> Moderated | None:
    """Moderates variances [G] with their own degrees of freedom [G] (runs - 1; 0 for one run, whose variance is not
    read). None where no method has a degree of freedom.

    A method with one run gets the variance that the others have in common.

    >>> found = moderate(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    >>> found.variance.tolist(), found.df.tolist(), found.prior_df
    ([2.0, 2.0], [4.0, 4.0], inf)
    """
    several = df > 0
    if not several.any():
        return None
    known = np.where(several, variance, 0.0)
    apart = _apart(known, df)
    pooled = several & ~apart
    total = float(df[pooled].sum())
    prior, prior_df = _prior(known[pooled], df[pooled])
    shared = np.full(len(df), prior) if np.isinf(prior_df) else (prior_df * prior + df * known) / (prior_df + df)
    return Moderated(
        np.where(apart, known, shared),
        np.where(apart, df, np.minimum(prior_df + df, total)),
        prior,
        prior_df,
        total,
        int(pooled.sum()),
        apart,
    )


def _apart(variance: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Which methods differ between runs far more than all the others together.

    None with fewer than three methods, where it takes two to say which is the odd one. None with two runs: one degree
    of freedom gives no interval to speak of, and to take the largest of such variances away makes the others too small.
    """
    if (df > 0).sum() < 3:
        return np.zeros(len(df), dtype=bool)
    total = (df * variance).sum()
    others = (total - df * variance) / np.maximum(df.sum() - df, 1)
    ratio = np.divide(variance, others, out=np.zeros(len(df)), where=others > 0)
    p = stats.f.sf(ratio, np.maximum(df, 1), np.maximum(df.sum() - df, 1))
    return (df > 1) & (p < APART)


def _prior(variance: np.ndarray, df: np.ndarray) -> tuple[float, float]:
    """s_0^2 and d_0 from the mean and the variance of log s_i^2 (sec. 6.2 of the source)."""
    pooled = float((df * variance).sum() / df.sum())
    middle = float(np.median(variance))
    if len(variance) < 2 or middle == 0:  # one method, or runs that hardly differ at all: nothing to tell apart
        return pooled, np.inf
    floored = np.maximum(variance, 1e-5 * middle)  # the logarithm of a variance of 0, as limma does
    if bartlett_p(floored, df) > DIFFER:
        return pooled, np.inf
    half = df / 2
    e = np.log(floored) - special.digamma(half) + np.log(half)
    beyond_chance = float(e.var(ddof=1) - special.polygamma(1, half).mean())
    if beyond_chance <= 0:
        return pooled, np.inf
    prior_half = inverse_trigamma(beyond_chance)
    return float(np.exp(e.mean() + special.digamma(prior_half) - np.log(prior_half))), 2 * prior_half


def bartlett_p(variance: np.ndarray, df: np.ndarray) -> float:
    """p-value of equal variances [G] (all above 0) with degrees of freedom [G], G at least 2. Source: Bartlett 1937
    (doi 10.1098/rspa.1937.0109).

    >>> round(bartlett_p(np.array([1.0, 9.0]), np.array([4.0, 4.0])), 3)
    0.057
    """
    groups = len(variance)
    total = df.sum()
    pooled = (df * variance).sum() / total
    statistic = total * np.log(pooled) - (df * np.log(variance)).sum()
    correction = 1 + ((1 / df).sum() - 1 / total) / (3 * (groups - 1))
    return float(stats.chi2.sf(statistic / correction, groups - 1))


def inverse_trigamma(y: float) -> float:
    """x > 0 with trigamma(x) = y > 0, by Newton's method on 1 / trigamma (appendix of Smyth 2004).

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
