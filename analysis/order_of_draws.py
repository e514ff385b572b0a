"""What the order and the number of draws give away: neighbours that agree, draws that stop with a success, and draws
that are there twice.

All break what the exact null rests on, and none leaves a column behind. Draws that share a prefix or an engine call
often stand side by side; where nothing says which draws belong together, neighbours that are correct together are
counted instead. And whoever draws until the first success has fixed the correct draws, not the number of draws.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from scipy import special

from analysis.counts import Counts
from analysis.null import upper_tail
from analysis.records import Draws, ModelSamples

AGREE = 0.001  # p-value of neighbours below which a line is said
SELDOM = 0.01  # chance of a repeated order below which a problem says something of doubled rows
ENOUGH = 10  # problems whose draws stop with a success before a line is said, and variance that a normal tail needs


def neighbours_p(draws: Draws) -> float:
    """p-value of "the draws of each problem are in random order", small where correct draws stand side by side.

    c correct draws of n form R runs; in random order R is hypergeometric with mean c (n - c + 1) / n and variance
    c (c - 1) (n - c + 1) (n - c) / (n^2 (n - 1)) (Wald and Wolfowitz 1940). Fewer runs than that, summed over problems,
    are tested with a normal tail; 1 where there is too little to say.

    >>> draws = np.tile([1, 1, 0, 0], 100).astype(np.uint8)
    >>> neighbours_p(Draws(4 * np.arange(101), draws)) < 1e-6
    True
    """
    start = draws.start
    correct = draws.correct.astype(bool)
    owner = np.repeat(np.arange(len(start) - 1), np.diff(start))
    begins = correct.copy()  # a run begins where the draw before is wrong, or another problem's
    begins[1:] &= ~(correct[:-1] & (owner[1:] == owner[:-1]))
    n = np.diff(start).astype(float)
    c = np.bincount(owner, weights=correct, minlength=len(n))
    mean = (c * (n - c + 1) / n).sum()
    variance = (c * (c - 1) * (n - c + 1) * (n - c) / (n * n * np.maximum(n - 1, 1))).sum()
    if variance < ENOUGH:
        return 1.0
    return float(special.ndtr((begins.sum() - mean + 0.5) / np.sqrt(variance)))


def stops_with(side: Counts, draws: Draws | None = None) -> int | None:
    """m where every problem with fewer draws than the others ends with its m-th correct draw and none has more; None
    where draws do not stop like that.

    >>> stops_with(Counts(np.r_[np.arange(3, 15), 64], np.r_[np.ones(12, int), 0]))
    1
    """
    n, correct = (np.asarray(x) for x in side)
    short = n < n.max()
    m = int(correct[short].max(initial=0))
    if short.sum() < ENOUGH or not m or (correct[short] < m).any() or correct.max() > m:
        return None
    if draws is not None and not draws.correct[draws.start[1:][short] - 1].all():
        return None
    return m


def repeated_problems(draws: Draws) -> int:
    """Problems whose draws repeat themselves, the second half as the first or each draw twice in a row; 0 where chance
    could have done that (p of so many of them at least 1e-6).

    Given c correct draws of n, C(n / 2, c / 2) of the C(n, c) orders repeat themselves in one of these ways. Problems
    in which that is likely (a correct rate near 0 or 1) say nothing.
    """
    chances = []
    found = 0
    for low, high in pairwise(draws.start.tolist()):
        one = draws.correct[low:high].astype(bool)
        n, c = len(one), int(one.sum())
        if n % 2 or c % 2:
            continue
        chance = 2 * math.exp(_log_comb(n // 2, c // 2) - _log_comb(n, c))
        if chance < SELDOM:
            chances.append(chance)
            found += bool((one[: n // 2] == one[n // 2 :]).all() or (one[::2] == one[1::2]).all())
    return found if found and upper_tail(np.array(chances), found) < 1e-6 else 0


def _log_comb(n: int, c: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(c + 1) - math.lgamma(n - c + 1)


def order_warnings(side: ModelSamples, *, independent: bool) -> list[str]:
    """Lines for the user. independent: whether the verdict takes these draws for independent."""
    lines = []
    if independent and side.draws is not None and (twice := repeated_problems(side.draws)):
        lines.append(
            f"{side.name}: the draws of {twice} problem{'s' * (twice > 1)} repeat themselves in order, as rows do that "
            "were added twice; they count as draws of their own"
        )
    m = stops_with(Counts(side.n, side.correct), side.draws)
    if m is not None:
        which = "first correct draw" if m == 1 else f"correct draw number {m}"
        lines.append(
            f"{side.name}: every problem with fewer than {side.n.max():,} draws ends with its {which}. Draws that stop "
            "with a success break the exact test and pass@k, which take the number of draws as fixed beforehand: draw "
            "on to the same number"
        )
    elif independent and side.draws is not None and (p := neighbours_p(side.draws)) < AGREE:
        lines.append(
            f"{side.name}: correct draws stand side by side more often than chance allows (p = {p:.1g}), as draws do "
            "that share a prefix or a prompt (or rows that were sorted). The verdict takes them for independent: name "
            "what they share in a column `cluster`, so that it is relabelled as a whole"
        )
    return lines
