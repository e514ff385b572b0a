"""Posterior expected number of problems in each category: how many are truly beyond the base, given the counts?

A side's success probability has posterior Beta(a + c, b + n - c), with a share `zero` of impossible problems where the
prior has one (posterior odds by Bayes). Expanded: p_base <= eps and p_tuned > F eps; shrunk: the other way round. F is
the verdict's fold, so that a problem with about eps on both sides is neither; eps is 1 / n unless one is given. The
sides are independent given their counts, so a problem's chance is a product, the expected number a sum, and the number
itself a sum of independent trials, whose quantiles give the interval (the prior's own uncertainty is not in it). Since
the answer leans on the prior where few draws were correct, it is given for three: the zero-inflated beta and the plain
beta fitted to the side's own problems (empirical Bayes; Carlin and Louis 2000, ch. 3), and Jeffreys' Beta(1/2, 1/2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from analysis.beta_binomial import ZeroInflatedBeta, fit
from analysis.counts import Counts
from analysis.null import sum_of_bernoullis
from analysis.pair import BenchmarkPair

PRIORS = ("zero-inflated beta", "beta", "Jeffreys")


def above(side: Counts, prior: ZeroInflatedBeta, *, eps: float) -> np.ndarray:
    """P(p > eps | counts) of each problem: float64 [M]. side: (n, c), int [M] each.

    >>> half = above(Counts(np.array([0]), np.array([0])), ZeroInflatedBeta(0.0, 1.0, 1.0), eps=0.25)
    >>> half.tolist()
    [0.75]
    """
    n = np.asarray(side.n)
    c = np.asarray(side.correct)
    possible = special.betaincc(prior.a + c, prior.b + n - c, eps)
    likelihood = np.exp(special.betaln(prior.a + c, prior.b + n - c) - special.betaln(prior.a, prior.b))
    with np.errstate(invalid="ignore"):
        impossible = prior.zero * (c == 0) / (prior.zero * (c == 0) + (1 - prior.zero) * likelihood)
    return possible * (1 - np.nan_to_num(impossible))


def prior_of(name: str, side: Counts) -> ZeroInflatedBeta:
    """The prior of that name, fitted to one side where it is an empirical one."""
    if name == "Jeffreys":
        return ZeroInflatedBeta(0.0, 0.5, 0.5)
    return fit(*side, inflated=name == "zero-inflated beta")


def posterior(pair: BenchmarkPair, sides: tuple[Counts, Counts] | None = None) -> dict[str, Any] | None:
    """Expected numbers of expanded and shrunk problems with credible intervals, under each prior; None where F eps is
    not a probability. sides: independent draws of base and tuned (None: all draws are)."""
    sides = sides or (pair.b, pair.t)
    eps = pair.settings.eps or 1 / max(int(min(side.n.min() for side in sides)), 1)
    far = pair.settings.rules.fold * eps
    if far >= 1:
        return None
    rows = []
    # far beyond eps on one side and below it on the other; the gap keeps "about eps on both" out of both
    for name in PRIORS:
        priors = (prior_of(name, sides[0]), prior_of(name, sides[1]))
        near = [above(side, prior, eps=eps) for side, prior in zip(sides, priors, strict=True)]
        beyond = [above(side, prior, eps=far) for side, prior in zip(sides, priors, strict=True)]
        row: dict[str, Any] = {"prior": name}
        for key, chance in (("expanded", (1 - near[0]) * beyond[1]), ("shrunk", (1 - near[1]) * beyond[0])):
            row[key] = _number(chance, confidence=pair.settings.confidence)
        rows.append(row)
    return {"eps": eps, "far": far, "rows": rows}


def _number(chance: np.ndarray, *, confidence: float) -> dict[str, float]:
    """Expected number of successes and its central credible interval, of independent trials [M]."""
    below = np.cumsum(sum_of_bernoullis(chance))
    tail = (1 - confidence) / 2
    low, high = np.searchsorted(below, [tail, 1 - tail])
    value = float(chance.sum())
    return {"value": value, "low": min(float(low), value), "high": max(float(min(high, len(chance))), value)}
