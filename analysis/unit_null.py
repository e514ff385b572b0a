"""What one model drawn twice would show of answers or modes: the exact null of analysis.null, for units that compete.

A unit is a distinct correct answer, or a mode (a way of solving), of one problem. If both sides were the same model,
the n_b + n_t draws of a problem are exchangeable; a unit with c draws in all has all of them on the base's side with
chance C(n_b, c) / C(n_b + n_t, c), as a problem does. But the units of one problem share its draws, so they are
not independent, and their number is not a sum of independent trials. Its distribution within a problem is worked out
exactly (multivariate hypergeometric); problems are independent, and their distributions are convolved.

As in analysis.null, a direction is tested on all units, on the clear ones, whose chance is at most .01, and by the
surest, which has a twentieth of the level; its p-value is by Bonferroni.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import special

from analysis.counts import Counts
from analysis.null import CLEAR, SUREST, Direction, Null, Tier, one_side_only, tails
from analysis.splits import log_factorials

DENSE = 256  # draws of the smaller side up to which a convolution is a matrix product
NEVER = 1e-12  # a unit with a smaller chance to be on one side only is not followed


def unit_null(problem: np.ndarray, base: Counts, *, tuned: Counts) -> Null:
    """Expected and observed S (units drawn from the base only) and E (from the tuned model only), over all draws.

    problem: int [A], of each unit, ascending.
    base, tuned: draws of the unit's problem and of the unit itself, [A] each.

    >>> two = np.array([2, 2])
    >>> null = unit_null(np.array([0, 0]), Counts(two, np.array([2, 0])), tuned=Counts(two, np.array([0, 2])))
    >>> round(null.shrunk.all.expected, 4), round(null.shrunk.all.p, 4)
    (0.3333, 0.3333)
    """
    return Null(
        _direction(problem, one=base, other=tuned),
        _direction(problem, one=tuned, other=base),
    )


def _direction(problem: np.ndarray, *, one: Counts, other: Counts) -> Direction:
    c = one.correct + other.correct
    chance = one_side_only(one.n, other.n, correct=c)
    happened = (one.correct > 0) & (other.correct == 0)
    tiers = []
    for followed in (np.ones(len(c), dtype=bool), chance <= CLEAR):
        observed = int(happened[followed].sum())
        pmf = _number_on_one_side(problem, c, one=one.n, other=other.n, chance=chance, followed=followed)
        tail = tails(pmf)
        p = float(tail[min(observed, len(tail) - 1)])
        tiers.append(Tier(observed, float(chance[followed].sum()), p))
    times = (2 if (chance <= CLEAR).any() else 1) / (1 - 1 / SUREST)
    # any of the units that are as sure; those of a problem are not independent, so their chances are added
    surest = float(min(1.0, chance[chance <= chance[happened].min()].sum())) if happened.any() else 1.0
    p = min(1.0, times * min(tier.p for tier in tiers), SUREST * surest)
    return Direction(tiers[0], tiers[1], p, surest)


def _number_on_one_side(
    problem: np.ndarray,
    c: np.ndarray,
    *,
    one: np.ndarray,
    other: np.ndarray,
    chance: np.ndarray,
    followed: np.ndarray,
) -> np.ndarray:
    """Distribution of the number of followed units that are on the one side only, over all problems."""
    keep = np.flatnonzero(followed & (chance > NEVER))
    total = np.ones(1)
    for rows in np.split(keep, np.flatnonzero(np.diff(problem[keep])) + 1) if len(keep) else []:
        if len(rows) == 1:
            pmf = np.array([1 - chance[rows[0]], chance[rows[0]]])
        else:
            pmf = _within(tuple(sorted(c[rows].tolist())), int(one[rows[0]]), other=int(other[rows[0]]))
        total = np.convolve(total, pmf)
    return total


@lru_cache(maxsize=4096)
def _within(c: tuple[int, ...], one: int, *, other: int) -> np.ndarray:
    """Distribution of the number of units, of c draws each, that are all among the `one` draws of one + other.

    A unit's draws on a side are independent binomials, conditioned on their sum: a table of (units on the one side
    only, draws of the smaller side used) is filled unit by unit, and the rest of the draws fills that side up.
    """
    size = min(one, other)
    share = size / (one + other)
    table = np.ones((1, 1))
    for draws in c:
        only = 0 if size == other else draws  # so many of its draws on the smaller side: it is on the one side only
        width = table.shape[1]
        grown = np.zeros((table.shape[0] + 1, min(width + draws, size + 1)))
        grown[:-1] = _used(table, draws, share=share, only=only, size=size)
        fits = min(width, grown.shape[1] - only)
        if fits > 0:
            grown[1:, only : only + fits] += _binomial(draws, share)[only] * table[:, :fits]
        table = grown
    used = np.arange(table.shape[1])
    rest = one + other - sum(c)
    fits = size - used <= rest
    pmf = table[:, fits] @ _binomial(rest, share)[(size - used)[fits]]
    return pmf / pmf.sum()


def _used(table: np.ndarray, draws: int, *, share: float, only: int, size: int) -> np.ndarray:
    """Rows of `table` convolved with a unit's chances to use so many of its draws, `only` left out; cut at `size`."""
    width = table.shape[1]
    reach = min(width + draws, size + 1)
    if size <= DENSE:
        return table @ _steps(draws, share, only=only, size=size)[:width, :reach]
    weight = _binomial(draws, share)
    grown = np.zeros((len(table), reach))
    for m in range(min(draws, size) + 1):
        if m != only:
            fits = min(width, reach - m)
            grown[:, m : m + fits] += weight[m] * table[:, :fits]
    return grown


@lru_cache(maxsize=256)
def _steps(draws: int, share: float, *, only: int, size: int) -> np.ndarray:
    """The convolution of `_used` as a matrix, [size + 1, size + 1]: a product is quicker than many short additions."""
    weight = np.zeros(max(draws, size) + 1)
    weight[: draws + 1] = _binomial(draws, share)
    weight[only] = 0.0
    more = np.arange(size + 1)[None, :] - np.arange(size + 1)[:, None]
    return np.where(more >= 0, weight[np.maximum(more, 0)], 0.0)


@lru_cache(maxsize=4096)
def _binomial(n: int, share: float) -> np.ndarray:
    of = log_factorials(1 << n.bit_length())
    j = np.arange(n + 1)
    return np.exp(of[n] - of[j] - of[n - j] + special.xlogy(j, share) + special.xlog1py(n - j, -share))
