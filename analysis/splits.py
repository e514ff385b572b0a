"""How c correct draws of two sides fall on the one of them: Fisher's noncentral hypergeometric law, many at a time.

Given c correct draws among n_one + n_other, the number X on the one side has P(X = j) ~ C(n_one, j) C(n_other, c - j)
odds^j, odds being those of a correct draw on the one side over those on the other. Neighbouring values have the ratio

    P(j + 1) / P(j) = odds (n_one - j) (c - j) / ((j + 1) (n_other - c + j + 1)),

which falls in j: one mode, and tails that fall faster than geometrically. So sums are taken as running products of
ratios, over a window that leaves out less than 1e-16 of them, also where thousands of values are possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from scipy import special

WIDE = 10.0  # standard deviations in half a window
AND = 40.0  # and so many values more, for laws that are narrow and skewed
CELLS = 1 << 18  # of a block of windows: what fits into a processor's cache
WIDEST = 60.0  # ln of the largest odds ratio that is looked at
LARGEST = 700.0  # exponent whose exponential is still finite
CLOSE = 1e-12  # of the log odds ratio
STEPS = 200  # of Newton or, where it leaves its bracket, bisection


def tail_of_split(
    n_one: np.ndarray, n_other: np.ndarray, *, c: np.ndarray, odds: np.ndarray, enough: np.ndarray
) -> np.ndarray:
    """P(X >= enough), float64 [R].

    n_one, n_other: draws of the sides, [R].
    c: correct ones of both, [R].
    odds: [R], may be inf.
    enough: [R].

    >>> one = np.ones(1)
    >>> round(float(tail_of_split(4 * one, 4 * one, c=2 * one, odds=3.0 * one, enough=2 * one)[0]), 4)
    0.5
    """
    low = np.maximum(0.0, c - n_other)
    high = np.minimum(c, n_one)
    found = np.where((enough <= low) | np.isinf(odds), 1.0, 0.0)
    found[enough > high] = 0.0
    asked = np.flatnonzero((enough > low) & (enough <= high) & ~np.isinf(odds))
    one, other, c, odds, enough = (np.asarray(x, dtype=float)[asked] for x in (n_one, n_other, c, odds, enough))
    mode = np.clip(np.floor(_mode(one, other, c=c, odds=odds)), low[asked], high[asked])
    reach = _reach(one, other, c=c, at=mode)
    start = np.maximum(enough, mode - reach)
    for rows in _blocks(reach):
        law = _Laws(one[rows], other[rows], c=c[rows], odds=odds[rows])
        width = int(reach[rows].max())
        whole = 1.0 + law.up(mode[rows], width).sum(axis=1) + law.down(mode[rows], width).sum(axis=1)
        last = high[asked][rows] - start[rows]
        part = 1.0 + law.up(start[rows], int(min(2 * width, last.max()))).sum(axis=1)
        found[asked[rows]] = part / whole * np.exp(law.log_weight(start[rows]) - law.log_weight(mode[rows]))
    return np.minimum(found, 1.0)


def odds_ratio_limits(
    n_one: np.ndarray, n_other: np.ndarray, *, c_one: np.ndarray, c_other: np.ndarray, tail: float
) -> tuple[np.ndarray, np.ndarray]:
    """Odds ratios at which P(X >= c_one) and P(X <= c_one) are `tail`: lower [R] (0 where none is) and upper [R] (inf).

    n_one, n_other: draws of the sides, [R].
    c_one, c_other: correct ones of each, [R].
    tail: above 0, below 1.

    >>> one = np.ones(1)
    >>> lower, upper = odds_ratio_limits(one, one, c_one=one, c_other=0 * one, tail=0.05)
    >>> round(float(lower[0]), 6), float(upper[0])  # psi / (1 + psi) = 0.05
    (0.052632, inf)
    """
    one, other, at, c = (np.asarray(x, dtype=float) for x in (n_one, n_other, c_one, c_one + c_other))
    lower = np.zeros(len(at))
    upper = np.full(len(at), np.inf)
    reach = _reach(one, other, c=c, at=at)
    above = at < np.minimum(c, one)  # values above and below c_one
    below = at > np.maximum(0.0, c - other)
    for rows in _blocks(reach):
        law = _Laws(one[rows], other[rows], c=c[rows], odds=np.ones(len(rows)))
        # odds under which c_one is about the most probable value, so that no product overflows
        with np.errstate(divide="ignore", invalid="ignore"):
            after = np.log(law.ratio(at[rows]))
            before = np.log(law.ratio(at[rows] - 1))
            centre = -np.select([above[rows] & below[rows], above[rows]], [(after + before) / 2, after], before)
        centre = np.where(above[rows] | below[rows], centre, 0.0)
        law.odds = np.exp(centre)
        width = int(reach[rows].max())
        sides = (law.up(at[rows], width), law.down(at[rows], width))
        logit = np.log(tail / (1 - tail))
        found = np.clip(centre + _crossing(*sides, goal=logit, own=(1.0, 0.0)), -WIDEST, WIDEST)
        lower[rows] = np.where(below[rows], np.exp(found), 0.0)
        found = np.clip(centre + _crossing(*sides, goal=-logit, own=(0.0, 1.0)), -WIDEST, WIDEST)
        upper[rows] = np.where(above[rows], np.exp(found), np.inf)
    return lower, upper


def _crossing(up: np.ndarray, down: np.ndarray, *, goal: float, own: tuple[float, float]) -> np.ndarray:
    """d at which ln (own[0] + sum_m up_m e^(d m)) - ln (own[1] + sum_m down_m e^(-d m)) = goal: [R].

    up, down: [R, W], weights of the values m = 1 ... W above and below, in units of the value's own. Anything where a
    side is empty. The left side rises in d; Newton's step is taken where it stays inside the bracket.
    """
    m = np.arange(1.0, up.shape[1] + 1)
    d = np.zeros(len(up))
    low = np.full(len(up), -2 * WIDEST)
    high = np.full(len(up), 2 * WIDEST)
    done = (own[0] + up.sum(axis=1) == 0) | (own[1] + down.sum(axis=1) == 0)
    for _ in range(STEPS):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            grown = np.exp(np.clip(d[:, None] * m, -LARGEST, LARGEST))
            first = up * grown
            second = down / grown
            a = own[0] + first.sum(axis=1)
            b = own[1] + second.sum(axis=1)
            excess = np.log(a) - np.log(b) - goal
            slope = first @ m / a + second @ m / b
            newton = d - excess / slope
        low = np.where(excess < 0, d, low)
        high = np.where(excess < 0, high, d)
        following = np.where((newton > low) & (newton < high), newton, (low + high) / 2)
        if np.all(done | (np.abs(following - d) < CLOSE)):
            return following
        d = following
    return d


class _Laws:
    """R laws side by side. n_one, n_other, c, odds: float64 [R]."""

    def __init__(self, n_one: np.ndarray, n_other: np.ndarray, *, c: np.ndarray, odds: np.ndarray):
        self.one = n_one
        self.other = n_other
        self.c = c
        self.odds = odds

    def ratio(self, j: np.ndarray) -> np.ndarray:
        """P(j + 1) / P(j), j [R]."""
        return self.odds * (self.one - j) * (self.c - j) / ((j + 1) * (self.other - self.c + j + 1))

    def up(self, start: np.ndarray, width: int) -> np.ndarray:
        """P(start + m) / P(start) for m = 1 ... width: [R, width]; 0 beyond the largest value."""
        j = start[:, None] + np.arange(width)
        top = (self.one[:, None] - j) * (self.c[:, None] - j) * self.odds[:, None]
        top /= (j + 1) * ((self.other - self.c)[:, None] + j + 1)
        return np.abs(np.cumprod(top, axis=1, out=top))  # beyond the last value the factors are negative, the product 0

    def down(self, start: np.ndarray, width: int) -> np.ndarray:
        """P(start - m) / P(start) for m = 1 ... width: [R, width]; 0 below the smallest value."""
        j = start[:, None] - np.arange(width)
        top = j * ((self.other - self.c)[:, None] + j)
        top /= (self.one[:, None] - j + 1) * (self.c[:, None] - j + 1) * self.odds[:, None]
        return np.abs(np.cumprod(top, axis=1, out=top))

    def log_weight(self, j: np.ndarray) -> np.ndarray:
        """ln of C(n_one, j) C(n_other, c - j) odds^j, but for what does not depend on j."""
        size = 1 << int(max(self.one.max(), self.other.max(), self.c.max())).bit_length()
        of = log_factorials(size)
        parts = (j, self.one - j, self.c - j, self.other - self.c + j)
        return j * np.log(self.odds) - sum(of[part.astype(np.int64)] for part in parts)


@cache
def log_factorials(size: int) -> np.ndarray:
    """ln 0! ... ln size!"""
    return special.gammaln(np.arange(size + 1) + 1.0)


def _mode(one: np.ndarray, other: np.ndarray, *, c: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Where the ratio of neighbours passes 1, the most probable value when rounded down: float64 [R]."""
    a = odds - 1.0
    b = (one + c + 2.0) * odds + other - c
    d = (c + 1.0) * (one + 1.0) * odds
    return 2 * d / (b + np.sqrt(np.maximum(b * b - 4 * a * d, 0.0)))


def _reach(one: np.ndarray, other: np.ndarray, *, c: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Half the width of a window about `at`, where the mode is not far: int64 [R]."""
    precision = np.zeros(len(at))
    for cell in (at, one - at, c - at, other - c + at):
        precision += 1.0 / np.maximum(cell, 0.5)
    return np.minimum(np.ceil(WIDE / np.sqrt(precision) + AND), np.maximum(c, 1)).astype(np.int64)


def _blocks(reach: np.ndarray) -> Iterator[np.ndarray]:
    """Rows with windows about equally wide, in blocks of at most CELLS cells (or one row)."""
    order = np.argsort(reach, kind="stable")
    start = 0
    while start < len(order):
        widest = np.searchsorted(reach[order], 1.3 * reach[order[start]] + 8, side="right")
        rows = max(1, CELLS // int(reach[order[widest - 1]]))
        stop = min(int(widest), start + rows)
        yield order[start:stop]
        start = stop
