"""The second interval of pass@k: these very problems are what is asked about, and only the draws are uncertain.

The variance of the mean over problems is that of their draws, given an empirical-Bayes posterior of each success
probability; the interval is Clopper-Pearson's at the effective sample size that this variance implies (Korn and
Graubard 1998, Survey Methodology 24), which stays honest where the mean is near 0 or 1 and a normal one does not.
docs/calibration.md shows the coverage.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from analysis.beta_binomial import fit
from analysis.intervals import clopper_pearson
from analysis.pass_at_k import pass_at_k, unique_counts
from analysis.splits import log_factorials

FAR = 9.0  # standard deviations of the overlap beyond which its probability is nothing


def draw_moments(n: int, c: np.ndarray, *, k: int, a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """1 - mean, and variance, of the unbiased pass@k over n draws, given a success probability of posterior Beta(a + c,
    b + n - c): [U] -> two [U].

    The variance is that of the draws, at each probability, averaged over the posterior. Two sets of k out of the same n
    draws that share j are all wrong with probability (1 - p)^(2k - j), and j is hypergeometric; so it is sum_j P(j) (1
    - p)^(2k - j) - (1 - p)^(2k), whose powers have closed expectations under a beta.

    n: draws of a problem.
    c: correct ones, [U].
    k: of pass@k, at most n.
    a, b: of the prior, Beta(a, b).
    """
    middle = k * k / n
    spread = FAR * k * (n - k) / n / max(n - 1, 1) ** 0.5 + 1
    j = np.arange(max(0, 2 * k - n, int(middle - spread)), min(k, int(middle + spread) + 1) + 1)
    after_a = a + c
    after_b = b + n - c

    def power(m: np.ndarray) -> np.ndarray:  # E (1 - p)^m
        return np.exp(
            special.betaln(after_a[:, None], after_b[:, None] + m) - special.betaln(after_a, after_b)[:, None]
        )

    alone = power(np.array([k, 2.0 * k]))
    of = log_factorials(1 << int(n).bit_length())
    shared = of[k] - of[j] - of[k - j] + of[n - k] - of[k - j] - of[n - 2 * k + j] - of[n] + of[k] + of[n - k]
    return alone[:, 0], np.maximum(power(2.0 * k - j) @ np.exp(shared) - alone[:, 1], 0.0)


def draws_only_interval(
    n: np.ndarray, c: np.ndarray, *, k: np.ndarray, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of mean pass@k with the problems held fixed: (low [K], high [K]).

    Problems that were never (or always) solved leave room of their own: no success in all their draws still allows a
    rate of 1 - tail^(1 / draws).

    n, c: draws and correct ones, int [M].
    k: int [K], each at most every n.
    confidence: the interval's.
    """
    k = np.atleast_1d(k)
    tail = (1 - confidence) / 2
    prior = fit(n, c, inflated=False)
    unique_n, unique_c, where = unique_counts(n, c)
    weight = np.bincount(where, minlength=len(unique_n))
    value = pass_at_k(n, c, k=k).mean(axis=0)
    never = c == 0
    always = c == n
    rate_never, rate_always = (1 - tail ** (1 / max(int(n[rows].sum()), 1)) for rows in (never, always))
    low = np.empty(len(k))
    high = np.empty(len(k))
    for i, draws in enumerate(k.tolist()):
        miss = variance = 0.0
        for size in np.unique(unique_n).tolist():
            rows = unique_n == size
            misses, variances = draw_moments(size, unique_c[rows], k=draws, a=prior.a, b=prior.b)
            miss = miss + weight[rows] @ misses / len(n)
            variance = variance + weight[rows] @ variances / len(n) ** 2
        effective = max(
            miss * (1 - miss) / max(variance, 1e-300), len(n)
        )  # tosses of one coin that vary as much; no fewer than problems
        low[i], high[i] = clopper_pearson(value[i] * effective, effective, confidence=confidence)
        high[i] = max(high[i], min(value[i] - never.mean() * np.expm1(draws * np.log1p(-rate_never)), 1.0))
        low[i] = min(low[i], max(value[i] - always.mean() * rate_always, 0.0))
    return low, high


class Estimate(NamedTuple):
    """Mean pass@k of one side (or their difference) with its interval, [K] each."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def difference_interval(base: Estimate, tuned: Estimate) -> tuple[np.ndarray, np.ndarray]:
    """Interval of tuned minus base from the sides' own, which are independent: (low [K], high [K]).

    Source: Newcombe 1998 (method 10) and Zou and Donner 2008 ("MOVER"): each limit is as far from the difference as the
    sides' limits add up in squares.
    """
    difference = tuned.value - base.value
    below = np.hypot(tuned.value - tuned.low, base.high - base.value)
    above = np.hypot(tuned.high - tuned.value, base.value - base.low)
    return difference - below, difference + above
