"""The verdict's light path over many data sets at once: the words of analysis.verdict from counts, some .1 ms each.

The same test as analysis.null, with data sets side by side: chances that matter to no p-value (below NEGLIGIBLE) are
left out of the sums, and a problem that changed sides in spite of such a chance decides its test by itself. Every call
holds its first data sets against analysis.verdict.judge and refuses to go on where a word differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.counts import Counts
from analysis.intervals import clopper_pearson
from analysis.null import CLEAR, SUREST, exact_null, one_side_only
from analysis.verdict import DEFAULT_RULES, Rules, judge

NEGLIGIBLE = 1e-10
CHECKED = 3  # data sets of each call that are judged both ways


@dataclass(frozen=True)
class Side:
    """One direction of D data sets: p-value of the smaller of both tests, observed and expected problems; [D] each."""

    p: np.ndarray
    observed: np.ndarray
    expected: np.ndarray


def sums(chance: np.ndarray) -> np.ndarray:
    """Distribution of the number of successes of each data set: [D, M] -> [D, K + 1], by convolution."""
    matter = chance >= NEGLIGIBLE
    width = int(matter.sum(axis=1).max(initial=0))
    p = -np.sort(-np.where(matter, chance, 0.0), axis=1)[:, :width]
    pmf = np.zeros((len(p), width + 1))
    pmf[:, 0] = 1.0
    for i in range(width):
        hit = pmf[:, : i + 1] * p[:, i, None]
        pmf[:, : i + 1] -= hit
        pmf[:, 1 : i + 2] += hit
    return np.maximum(pmf, 0.0)


def tails(pmf: np.ndarray) -> np.ndarray:
    """P(count >= j), j = 0 ... K + 1, of each data set."""
    tail = np.minimum(np.cumsum(pmf[:, ::-1], axis=1)[:, ::-1], 1.0)
    return np.column_stack([tail, np.zeros(len(pmf))])


def _at(table: np.ndarray, index: np.ndarray) -> np.ndarray:
    """table [D, K] at index [D] or [D, J], no further than its end."""
    index = np.minimum(index, table.shape[1] - 1)
    return np.take_along_axis(table, index if index.ndim > 1 else index[:, None], axis=1).reshape(index.shape)


def surest_of(chance: np.ndarray) -> np.ndarray:
    """analysis.null.surest_of of each data set: [D, M]."""
    order = np.argsort(chance, axis=1)
    ranked = np.take_along_axis(chance, order, axis=1)
    with np.errstate(divide="ignore"):
        none = np.cumsum(np.log1p(-np.minimum(ranked, 1.0)), axis=1)
    for k in range(chance.shape[1] - 2, -1, -1):  # equal chances count together
        none[:, k] = np.where(ranked[:, k] == ranked[:, k + 1], none[:, k + 1], none[:, k])
    found = np.empty_like(none)
    np.put_along_axis(found, order, -np.expm1(none), axis=1)
    return found


def both_counts(clear: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Distribution of the number of clear and edge problems together, of each data set."""
    total = np.zeros((len(clear), clear.shape[1] + edge.shape[1] - 1))
    for j in range(clear.shape[1]):
        total[:, j : j + edge.shape[1]] += clear[:, j, None] * edge
    return total


def direction(chance: np.ndarray, happened: np.ndarray) -> Side:
    """analysis.null.direction of each data set: chance, happened [D, M]."""
    clear = chance <= CLEAR
    few = sums(np.where(clear, chance, 0.0))
    edge = sums(np.where(clear, 0.0, chance))
    tail_all = tails(both_counts(few, edge))
    tail_clear = tails(few)
    observed = happened.sum(axis=1)
    p_all = _at(tail_all, observed)
    p_clear = _at(tail_clear, (happened & clear).sum(axis=1))
    each = surest_of(chance)
    p_surest = np.where(happened, each, 1.0).min(axis=1)
    limit = np.minimum(np.minimum(p_all, p_clear), SUREST * p_surest)[:, None] * (1 + 1e-9)

    # one that is as sure happens, or, where none does, the others are as many
    decides = SUREST * each <= limit
    any_decides = np.where(decides, each, 0.0).max(axis=1)
    few = sums(np.where(clear & ~decides, chance, 0.0))
    edge = sums(np.where(clear | decides, 0.0, chance))
    enough = np.argmax(tail_all <= limit, axis=1)
    enough_clear = np.argmax(tail_clear <= limit, axis=1)
    j = np.arange(few.shape[1])
    rest = _at(tails(edge), np.maximum(enough[:, None] - j, 0))
    p = _at(tails(few), enough_clear) + (few * rest * (j < enough_clear[:, None])).sum(axis=1)
    p = np.minimum(any_decides + (1 - any_decides) * p, 1.0)
    surprise = (happened & (chance < NEGLIGIBLE)).any(axis=1)
    return Side(np.where(surprise, NEGLIGIBLE, p), observed, chance.sum(axis=1))


@dataclass(frozen=True)
class Words:
    """Of D data sets: gain, loss and held, bool [D] each. sides: loss and gain."""

    gain: np.ndarray
    loss: np.ndarray
    held: np.ndarray
    sides: tuple[Side, Side]

    @property
    def changed(self) -> np.ndarray:
        return self.gain | self.loss

    @property
    def names(self) -> list[str]:
        """The word of each data set."""
        found = np.select([self.gain & self.loss, self.gain, self.loss, self.held], range(4), 4)
        return [("traded", "expanded", "shrank", "held", "inconclusive")[i] for i in found]


def words(
    base: Counts,
    tuned: Counts,
    *,
    rules: Rules = DEFAULT_RULES,
    folds: Sequence[float] = (1.0,),
    tables: tuple[np.ndarray, np.ndarray] | None = None,
    least: tuple[int, int] = (1, 1),
) -> Words:
    """base, tuned: int [D, M] each. folds: a direction is said where each of these odds ratios is refuted (closed
    testing). tables: chances of loss and of gain by the number of correct draws, for another null; checks are the
    caller's then. least: correct draws that each side needs."""
    c = base.correct + tuned.correct
    solved = (base.correct >= least[0], tuned.correct >= least[1])
    happened = (solved[0] & ~solved[1], solved[1] & ~solved[0])
    found = []
    p = [np.zeros(len(c)), np.zeros(len(c))]
    for fold in folds:
        if tables is not None:
            chances = [table[c] for table in tables]
        else:
            chances = [
                one_side_only(base.n, tuned.n, correct=c, odds=fold),
                one_side_only(tuned.n, base.n, correct=c, odds=fold),
            ]
        sides = [direction(chance, of) for chance, of in zip(chances, happened, strict=True)]
        found = found or sides
        p = [np.maximum(old, side.p) for old, side in zip(p, sides, strict=True)]
    loss, gain = (x <= rules.level for x in p)
    problems = c.shape[1]
    confidence = 2 * rules.bound - 1
    nothing = float(clopper_pearson(0, problems, confidence=confidence)[1])
    upper = [
        np.maximum(
            clopper_pearson(side.observed, problems, confidence=confidence)[1] - side.expected / problems, nothing
        )
        for side in found
    ]
    held = ~gain & ~loss & (np.maximum(*upper) < rules.margin)
    result = Words(gain, loss, held, (found[0], found[1]))
    if tables is None:
        _check(result, base, tuned=tuned, rules=rules, folds=folds)
    return result


def _check(result: Words, base: Counts, *, tuned: Counts, rules: Rules, folds: Sequence[float]) -> None:
    for i, name in enumerate(result.names[:CHECKED]):
        sides = (Counts(base.n[i], base.correct[i]), Counts(tuned.n[i], tuned.correct[i]))
        judged = judge(exact_null(*sides, folds=tuple(folds)), base.n.shape[1], rules=rules)
        slow = ((judged.gain_fold or 0) >= folds[-1], (judged.loss_fold or 0) >= folds[-1])
        if slow != (result.gain[i], result.loss[i]) or (folds[-1] == 1 and judged.verdict != name):
            raise AssertionError(f"the light path says {name}, the verdict {judged.verdict}: {sides}")
