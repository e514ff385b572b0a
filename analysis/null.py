"""What one model drawn twice would show: the exact null of the support table, without a fit.

If both sides were the same model, the n_b + n_t draws of a problem are exchangeable, and which of them are called
"base" is a matter of relabelling. Given c correct draws in total, the chance that all of them carry the same label is
hypergeometric. The null also covers the one-sided hypothesis: if the tuned model is nowhere worse, S is
stochastically no larger than the null says, so gains elsewhere can never be read as a loss (and likewise for E).

Each direction has three tests. The first counts all problems. The second counts the *clear* ones, of which chance
alone would leave all correct draws on that side at most once in a hundred: c decides that, so choosing them does not
bias the test. Many problems at the edge, with one correct draw or two, then cannot hide a few that went from 0 to half
of the draws. The third asks for the *surest* problem alone: how often chance would leave any as sure as that on one
side. Of ten problems one that went from 0 to a tenth of 1,024 draws is then not hidden by the others' clear ones. It
has a twentieth of the level. A direction's p-value is the exact chance that the smallest of the three (the third
times 20) comes out as small.

Assumption: draws of a problem are exchangeable, that is, none of them shares a seed, a prefix or a checkpoint with some
of the others only (analysis.dependence).

Beyond "the same model": odds = F asks whether any problem's odds of a correct draw rose (or fell) more than F-fold;
given c the split is then Fisher's noncentral hypergeometric whatever the success probability is, so nothing is
estimated. least = m asks for at least m correct draws before a problem counts as solved.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from analysis.counts import Counts
from analysis.pass_at_k import log_miss
from analysis.splits import tail_of_split

TABLE = 4096  # so many draws of both sides together have a table of their own
BLOCK = 16  # trials whose sum is worked out at once
SUREST = 20  # the surest problem decides with this part of the level
CLEAR = 0.01  # a problem is clear where chance alone would put all its correct draws on one side at most so often


@dataclass(frozen=True)
class Tier:
    """Some of the problems: how many are solved by one side only, what chance expects, and P(count >= observed)."""

    observed: int
    expected: float
    p: float


@dataclass(frozen=True)
class Direction:
    """Loss or gain.

    all, clear: all problems, and the clear ones.
    p: exact p-value of the smallest of all.p, clear.p and SUREST x surest.
    surest: how often chance alone would leave any problem on this side that is as sure as the surest there.
    """

    all: Tier
    clear: Tier
    p: float
    surest: float = 1.0


@dataclass(frozen=True)
class FoldTest:
    """p-values of "no problem's odds rose (gain) or fell (loss) more than `fold`-fold", ready for closed testing: each
    is at least those of the smaller folds."""

    fold: float
    p_gain: float
    p_loss: float


@dataclass(frozen=True)
class Null:
    """Problems solved by one side only, against their exact null.

    shrunk, expanded: solved by the base only, by the tuned model only.
    folds: the same question for other odds ratios.
    by_draw: where whole clusters were relabelled (analysis.dependence), the null of single draws. It expects fewer
    changes, so the bounds behind "held" are taken from it.
    """

    shrunk: Direction
    expanded: Direction
    folds: tuple[FoldTest, ...] = ()
    by_draw: Null | None = None

    def document(self) -> dict[str, float]:
        """As the audit document has it."""
        found: dict[str, float] = {}
        for name, direction in (("shrunk", self.shrunk), ("expanded", self.expanded)):
            found |= {
                f"observed_{name}": direction.all.observed,
                f"expected_{name}": direction.all.expected,
                f"p_all_{name}": direction.all.p,
                f"observed_clear_{name}": direction.clear.observed,
                f"expected_clear_{name}": direction.clear.expected,
                f"p_clear_{name}": direction.clear.p,
                f"p_surest_{name}": direction.surest,
                f"p_{name}": direction.p,
            }
        return found


def relabelling_probabilities(
    n_base: np.ndarray, n_tuned: np.ndarray, *, correct: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """P(S_i), P(E_i) of each problem: with `correct` in all, C(n_b, c) / C(n_b + n_t, c) that all are the base's, and
    likewise n_t.

    All int [M]; returns two float64 [M], 0 where nothing was correct.

    >>> s, e = relabelling_probabilities(np.array([2]), np.array([2]), correct=np.array([1]))
    >>> s.tolist(), e.tolist()
    ([0.5], [0.5])
    """
    return one_side_only(n_base, n_tuned, correct=correct), one_side_only(n_tuned, n_base, correct=correct)


def one_side_only(
    n_one: ArrayLike,
    n_other: ArrayLike,
    *,
    correct: ArrayLike,
    odds: ArrayLike = 1.0,
    least_one: ArrayLike = 1,
    least_other: ArrayLike = 1,
) -> np.ndarray:
    """Chance that one side solves the problem and the other does not, given `correct` draws in all: float64 [M].

    n_one, n_other, correct: int, broadcast to [M].
    odds: odds of a correct draw on the one side over those on the other; inf is allowed.
    least_one, least_other: correct draws that each side needs before it counts as having solved the problem.

    The number X of correct draws on the one side has P(X = j) ~ C(n_one, j) C(n_other, c - j) odds^j (Fisher's
    noncentral hypergeometric); asked is P(X >= least_one and c - X < least_other). It rises with odds, so a bound of
    the odds bounds it.

    >>> round(float(one_side_only(4, 4, correct=2, odds=3.0)[()]), 4)
    0.5
    """
    one, other, c, psi, m, m_other = np.broadcast_arrays(n_one, n_other, correct, odds, least_one, least_other)
    given = (one, other, psi, m, m_other)
    same = c.size and all(x.min() == x.max() for x in given)  # then the chance depends on c alone
    if same and one.flat[0] + other.flat[0] <= TABLE:
        names = ("n_one", "n_other", "odds", "least_one", "least_other")
        return _by_correct(**{name: float(x.flat[0]) for name, x in zip(names, given, strict=True)})[c]
    if (psi == 1).all() and (m == 1).all() and (m_other == 1).all():
        return _none_of_the_other(one, other, c=c)
    rows = np.stack([np.asarray(x, dtype=float).ravel() for x in (one, other, c, psi, m, m_other)])
    distinct, where = np.unique(rows, axis=1, return_inverse=True)  # many problems share their counts
    one, other, c_each, psi, m, m_other = distinct
    tail = tail_of_split(one, other, c=c_each, odds=psi, enough=np.maximum(m, c_each - m_other + 1))
    return tail[where.ravel()].reshape(c.shape)


def _none_of_the_other(one: np.ndarray, other: np.ndarray, *, c: np.ndarray) -> np.ndarray:
    """At odds 1: all correct draws are on the one side where none of the other side's draws is correct."""
    return np.where(c > 0, np.exp(log_miss(one + other, c, k=other)), 0.0)


@lru_cache(maxsize=512)  # the same number of draws in all problems is the usual case, and one table serves them all
def _by_correct(n_one: float, n_other: float, *, odds: float, least_one: float, least_other: float) -> np.ndarray:
    """`one_side_only` for every possible number of correct draws: float64 [n_one + n_other + 1]."""
    c = np.arange(int(n_one + n_other) + 1)
    one, other, ratio = (np.full(len(c), x) for x in (n_one, n_other, odds))
    if odds == least_one == least_other == 1:
        return _none_of_the_other(one, other, c=c)
    return tail_of_split(one, other, c=c, odds=ratio, enough=np.maximum(least_one, c - least_other + 1))


def sum_of_bernoullis(p: np.ndarray) -> np.ndarray:
    """Distribution of the number of successes of independent trials with probabilities p [M], by convolution: float64
    [M' + 1].

    Only terms added, none subtracted, so small tails keep their relative accuracy. M' counts the trials with p > 0.
    """
    p = p[p > 0]
    # in blocks that grow side by side; then the blocks' distributions are convolved
    blocks = -(-len(p) // BLOCK)
    chance = np.append(p, np.zeros(blocks * BLOCK - len(p))).reshape(blocks, BLOCK)
    each = np.zeros((blocks, BLOCK + 1))
    each[:, 0] = 1.0
    for i in range(BLOCK):
        hit = each[:, : i + 1] * chance[:, i, None]
        each[:, : i + 1] *= 1 - chance[:, i, None]
        each[:, 1 : i + 2] += hit
    pmf = np.ones(1)
    for block in each:
        pmf = np.convolve(pmf, block)
    return pmf[: len(p) + 1]


def tails(pmf: np.ndarray) -> np.ndarray:
    """P(count >= j) for j = 0 ... len(pmf), the last one 0; smallest terms are added first."""
    return np.append(np.minimum(np.cumsum(pmf[::-1])[::-1], 1.0), 0.0)


def upper_tail(p: np.ndarray, observed: int) -> float:
    """P(number of successes >= observed) of independent trials with probabilities p [M]; 0 where that cannot be."""
    tail = tails(sum_of_bernoullis(p))
    return float(tail[min(max(observed, 0), len(tail) - 1)])


def surest_of(chance: np.ndarray) -> np.ndarray:
    """How often any problem whose chance is at most this one's is solved by the one side only: [M] of chance [M].

    >>> surest_of(np.array([0.5, 0.1])).round(3).tolist()
    [0.55, 0.1]
    """
    ranked = np.sort(chance)
    with np.errstate(divide="ignore"):  # what is certain
        none = np.cumsum(np.log1p(-np.minimum(ranked, 1.0)))
    return -np.expm1(none[np.searchsorted(ranked, chance, side="right") - 1])


def direction(chance: np.ndarray, happened: np.ndarray) -> Direction:
    """The three tests of one direction and their joint p-value.

    chance: [M], probability of each problem to be solved by this side only. happened: bool [M], whether it was.
    """
    return _direction(np.asarray(chance, dtype=float).tobytes(), np.asarray(happened, dtype=bool).tobytes())


@lru_cache(maxsize=64)  # of two directions one is often asked about again, where something changed on the other side
def _direction(chances: bytes, happenings: bytes) -> Direction:
    """`direction` of arrays given as bytes."""
    chance = np.frombuffer(chances, dtype=float)
    happened = np.frombuffer(happenings, dtype=bool)
    clear = chance <= CLEAR
    few = sum_of_bernoullis(chance[clear])
    edge = sum_of_bernoullis(chance[~clear])
    observed = int(happened.sum())
    observed_clear = int(happened[clear].sum())
    tail_all = tails(np.convolve(few, edge))
    tail_clear = tails(few)
    p_all = float(tail_all[min(observed, len(tail_all) - 1)])
    p_clear = float(tail_clear[min(observed_clear, len(tail_clear) - 1)])
    each = surest_of(chance)
    surest = float(each[happened].min(initial=1.0))

    # the smallest is as small if a problem as sure as that happens, or, where none does, by the counts of the others
    limit = min(p_all, p_clear, SUREST * surest) * (1 + 1e-9)  # an equal p-value counts, whatever its last digit
    decides = SUREST * each <= limit
    any_decides = float(each[decides].max(initial=0.0))
    if decides.any():
        few = sum_of_bernoullis(chance[clear & ~decides])
        edge = sum_of_bernoullis(chance[~clear & ~decides])
    by_count = _as_many(few, edge, tail_all=tail_all, tail_clear=tail_clear, limit=limit)
    return Direction(
        Tier(observed, float(chance.sum()), p_all),
        Tier(observed_clear, float(chance[clear].sum()), p_clear),
        min(1.0, any_decides + (1 - any_decides) * by_count),
        surest,
    )


def _as_many(
    clear: np.ndarray, edge: np.ndarray, *, tail_all: np.ndarray, tail_clear: np.ndarray, limit: float
) -> float:
    """P(the p-value of all problems or that of the clear ones is at most `limit`), by the counts' distributions.

    The counts of clear and of edge problems are independent, so the chance is a sum over the clear count.
    """
    enough = int(np.argmax(tail_all <= limit))
    enough_clear = int(np.argmax(tail_clear <= limit))
    tail_few = tails(clear)
    tail_edge = tails(edge)
    j = np.arange(min(enough_clear, len(clear)))
    rest = tail_edge[np.clip(enough - j, 0, len(tail_edge) - 1)]
    return float(min(1.0, tail_few[min(enough_clear, len(tail_few) - 1)] + (clear[j] * rest).sum()))


def exact_null(
    base: Counts,
    tuned: Counts,
    *,
    odds_loss: ArrayLike = 1.0,
    odds_gain: ArrayLike = 1.0,
    least: tuple[ArrayLike, ArrayLike] = (1, 1),
    folds: tuple[float, ...] = (),
) -> Null:
    """Expected and observed S (solved by the base only) and E (by the tuned model only) over all n draws, with exact
    one-sided p-values.

    base, tuned: draws and correct ones of each side, which may differ in n.
    odds_loss: largest odds ratio, base over tuned, that the null of S allows (scalar or [M]).
    odds_gain: largest odds ratio, tuned over base, that the null of E allows.
    least: correct draws that base and tuned need before they count as having solved a problem.
    folds: odds ratios of the tests in `Null.folds`, ascending.
    """
    n_base, c_base = (np.asarray(x) for x in base)
    n_tuned, c_tuned = (np.asarray(x) for x in tuned)
    c = c_base + c_tuned
    # what happened
    base_solved = c_base >= least[0]
    tuned_solved = c_tuned >= least[1]
    lost = base_solved & ~tuned_solved
    gained = ~base_solved & tuned_solved

    # what chance alone would do, given the correct draws of each problem
    def loss(odds: ArrayLike) -> Direction:
        chance = one_side_only(n_base, n_tuned, correct=c, odds=odds, least_one=least[0], least_other=least[1])
        return direction(chance, lost)

    def gain(odds: ArrayLike) -> Direction:
        chance = one_side_only(n_tuned, n_base, correct=c, odds=odds, least_one=least[1], least_other=least[0])
        return direction(chance, gained)

    shrunk = loss(odds_loss)
    expanded = gain(odds_gain)
    # a fold's hypothesis holds wherever a smaller fold's does, so its p-value is not smaller
    tests = []
    p_loss = 0.0
    p_gain = 0.0
    for fold in folds:
        p_loss = max(p_loss, loss(np.maximum(odds_loss, fold)).p)
        p_gain = max(p_gain, gain(np.maximum(odds_gain, fold)).p)
        tests.append(FoldTest(fold, p_gain=p_gain, p_loss=p_loss))
    return Null(shrunk, expanded, tuple(tests))
