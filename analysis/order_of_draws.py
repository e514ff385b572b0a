"""What the order and the number of draws give away: neighbours that agree, draws that stop with a success, draws that
are there twice, and problems that were chosen by the very draws.

All break what the exact null rests on, and none leaves a column behind. Draws that share a prefix or an engine call
often stand side by side; where nothing says which draws belong together, neighbours that are correct together are
counted instead. And whoever draws until the first success has fixed the correct draws, not the number of draws.
Problems that the base failed on in these draws are not such that it fails on: drawn again, equal models "expand".
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from scipy import special

from analysis.counts import Counts
from analysis.null import upper_tail
from analysis.records import Draws, ModelSamples

FEW = 2  # correct draws of a problem at most, that are told apart from none by luck
AGREE = 0.001  # p-value of neighbours below which a line is said
DOUBLED = 1e-6  # p-value of repeated rows below which a line is said
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


def stops_with(side: Counts, draws: Draws | None = None) -> tuple[int, int] | None:
    """(m, batch) where draws were made in batches of so many, until m were correct; None where they do not stop so.

    Problems with fewer draws than the others have m correct ones, and no problem has as many before its last batch.

    >>> stops_with(Counts(np.r_[np.arange(3, 15), 64], np.r_[np.ones(12, int), 0]))
    (1, 1)
    """
    n, correct = (np.asarray(x) for x in side)
    short = n < n.max()
    if short.sum() < ENOUGH:
        return None
    batch = int(np.gcd.reduce(n))
    if draws is None:  # what a last batch cannot hold was before it
        before = np.where(correct > batch, correct, 0)
        if batch > 1 and 4 * batch > n.max():
            return None
    else:
        so_far = np.concatenate([[0], np.cumsum(draws.correct, dtype=np.int64)])
        before = so_far[draws.start[1:] - batch] - so_far[draws.start[:-1]]
    m = int(before.max()) + 1
    if draws is None and batch == 1:
        m = int(correct.max(initial=0))
    return (m, batch) if m and correct[short].min() >= m else None


def rows_repeat(side: Counts) -> int:
    """2 or 3 where the correct draws of many more problems are a multiple of it than chance allows, 1 elsewhere: so it
    is where the rows of some problems are there twice, whatever their order.

    Of 0 < c < n correct draws, n a multiple of t, c is one with chance 1 / t at most, whatever the success rate.

    >>> n = np.full(60, 8)
    >>> rows_repeat(Counts(n, np.tile([2, 4, 6, 4], 15))), rows_repeat(Counts(n, np.arange(60) % 8))
    (2, 1)
    """
    n, correct = (np.asarray(x) for x in side)
    for times in (2, 3):
        open_ = (n % times == 0) & (correct > 0) & (correct < n)
        multiples = int((correct[open_] % times == 0).sum())
        if upper_tail(np.full(int(open_.sum()), 1 / times), multiples) < DOUBLED:
            return times
    return 1


def repeated_problems(draws: Draws) -> int:
    """Problems whose draws repeat themselves, the second half as the first or each draw twice in a row; 0 where chance
    could have done that.

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
    return found if found and upper_tail(np.array(chances), found) < DOUBLED else 0


def _log_comb(n: int, c: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(c + 1) - math.lgamma(n - c + 1)


def chosen_by(side: Counts, other: Counts) -> str:
    """How these problems could have been chosen by one side's own draws: "failed" where it solves none of them more
    than twice and the other one does, "solved" where it solves all, a dozen by a draw or two, and the other side does
    not; else empty.

    >>> chosen_by(Counts(np.full(20, 64), np.zeros(20, int)), Counts(np.full(20, 64), np.arange(20)))
    'failed'
    """
    n, correct = (np.asarray(x) for x in side)
    others = np.asarray(other.correct)
    if len(n) < ENOUGH or n.min() < 4 * FEW:
        return ""
    if correct.max() <= FEW and others.max() > (FEW if correct.any() else 0):
        return "failed"
    return "solved" if correct.min() > 0 and (correct <= FEW).sum() >= ENOUGH and others.min() == 0 else ""


def chosen_warnings(base: ModelSamples, tuned: ModelSamples) -> list[str]:
    """A line where the problems could have been chosen by the draws that the verdict rests on."""
    sides = [Counts(side.n, side.correct) for side in (base, tuned)]
    lines = []
    for name, how in ((base.name, chosen_by(*sides)), (tuned.name, chosen_by(*sides[::-1]))):
        if how:
            done = "solves none of these problems" if how == "failed" else "solves each of these problems"
            lines.append(
                f"{name} {done}{' more than twice' if how == 'failed' else ', some by a draw or two'}. If they were "
                f"chosen because it {how} them in these very draws, the word is about the choice: the same model drawn "
                "again would not do the same on all of them. Draw anew for the problems that were chosen"
            )
    return lines


def order_warnings(side: ModelSamples, *, independent: bool) -> list[str]:
    """Lines for the user. independent: whether the verdict takes these draws for independent."""
    lines = []
    if independent and side.draws is not None and (twice := repeated_problems(side.draws)):
        lines.append(
            f"{side.name}: the draws of {twice} problem{'s' * (twice > 1)} repeat themselves in order, as rows do that "
            "were added twice; they count as draws of their own"
        )
    elif independent and (times := rows_repeat(Counts(side.n, side.correct))) > 1:
        lines.append(
            f"{side.name}: too many problems have a multiple of {times} correct draws, as where rows are there {times} "
            "times; they count as draws of their own"
        )
    stop = stops_with(Counts(side.n, side.correct), side.draws)
    if stop is not None:
        m, batch = stop
        which = "first correct draw" if m == 1 else f"correct draw number {m}"
        ends = f"ends with its {which}" if batch == 1 else f"has its {which} among its last {batch:,}"
        lines.append(
            f"{side.name}: every problem with fewer than {side.n.max():,} draws {ends}. Draws that stop "
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
