"""Smaller published metrics beside pass@k: maj@k, Cover@tau, Bayes@N and the sampling-efficiency gap."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from analysis.counts import Counts
from analysis.errors import InputError
from analysis.pass_at_k import check_counts, pass_at_k
from analysis.records import AnswerCounts


def avg_at_n(n: ArrayLike, c: ArrayLike) -> np.ndarray:
    """avg@n of each problem: c / n, which is also its unbiased pass@1. n, c: int [M]; returns [M]."""
    check_counts(n, c)
    return np.asarray(c) / np.asarray(n)


def cover_at(n: ArrayLike, c: ArrayLike, *, tau: ArrayLike) -> np.ndarray:
    """Whether each problem's success rate c / n is at least tau; the mean over problems is Cover@tau. n, c: [M]; tau:
    [T]; returns float64 [M, T].

    Ties it to pass@k: pass@k = int_0^1 k (1 - tau)^(k - 1) Cover@tau dtau. Source: arXiv 2510.08325.
    """
    check_counts(n, c)
    return ((np.asarray(c) / np.asarray(n))[:, None] >= np.atleast_1d(tau) - 1e-12).astype(float)


def bayes_at_n(n: ArrayLike, c: ArrayLike) -> tuple[float, float]:
    """Bayes@N with a uniform prior: posterior mean mu of the mean success rate over these problems, and its standard
    deviation sigma.

    mu = (1/M) sum (c + 1)/(n + 2); sigma^2 = (1/M^2) sum [nu (1 - nu) / (n + 3)], nu = (c + 1)/(n + 2). The problems
    are held fixed. n, c: [M]. Source: arXiv 2510.04265 (binary case, prior D = 0).
    """
    n = np.asarray(n, dtype=float)
    c = np.asarray(c, dtype=float)
    check_counts(n, c)
    nu = (c + 1) / (n + 2)
    return float(nu.mean()), float(np.sqrt((nu * (1 - nu) / (n + 3)).sum()) / len(nu))


def delta_se(base: Counts, tuned: Counts, *, k: int = 256) -> np.ndarray:
    """Sampling-efficiency gap of each problem: pass@k of the base minus pass@1 of the tuned model; its mean is Delta_SE
    (lower is better).

    base, tuned: (n, c), int [M] each; returns [M]. Source: arXiv 2504.13837, sec. 4.4, with k = 256 and the sign of the
    printed values.
    """
    return pass_at_k(*base, k=k) - pass_at_k(*tuned, k=1)


def majority_at_k(
    answers: AnswerCounts, problems: int, *, k: np.ndarray, rng: np.random.Generator, repeats: int = 50
) -> np.ndarray:
    """maj@k of each problem: the chance that the most frequent answer among k of its draws is correct; ties are broken
    at random. Source: Wang et al. 2022 (arXiv 2203.11171).

    A draw without an answer does not vote; a vote without any ballot is lost. Exact at k = n; below it the mean over
    `repeats` sets of k draws without replacement (shuffled draws are cut into sets of the largest k, whose first draws
    are the sets of the smaller ones).

    answers: of all problems.
    problems: how many there are, M.
    k: int [K], each at most every problem's number of draws.
    rng: what the sets depend on.
    repeats: sets of each k.
    Returns float64 [M, K], NaN for problems without rows.
    """
    k = np.atleast_1d(k)
    result = np.full((problems, len(k)), np.nan)
    order = np.argsort(answers.problem, kind="stable")
    bounds = np.searchsorted(answers.problem[order], np.arange(problems + 1))
    votes = np.array([answer is not None for answer in answers.answer], dtype=bool)
    plans: dict[int, _Sets] = {}
    for i in range(problems):
        rows = order[bounds[i] : bounds[i + 1]]
        if not len(rows):
            continue
        count = answers.count[rows]
        correct = answers.correct[rows]
        voting = votes[rows]
        n = int(count.sum())
        if k.max() > n:
            raise InputError(f"maj@{k.max()} of a problem with {n} draws; k must be at most n")
        if len(rows) == 1:
            result[i] = float(correct[0] and voting[0])
            continue
        if n not in plans:
            plans[n] = _Sets.of(n, k, repeats=repeats, rng=rng)
        drawn = plans[n].draw(count, rng=rng)
        if voting.all():  # any set holds a ballot
            top = drawn == drawn.max(axis=-1, keepdims=True)
        else:
            ballots = np.where(voting, drawn, 0)
            top = (ballots == ballots.max(axis=-1, keepdims=True)) & (ballots > 0)
        # of each set, how many answers are at the top, and how many of them are correct: exact in float32
        counted = (top.astype(np.float32) @ np.stack([np.ones(len(rows)), correct], axis=1).astype(np.float32)).astype(
            float
        )
        won = counted[:, 1] / np.maximum(counted[:, 0], 1)
        result[i, k < n] = won[:-1].reshape(-1, repeats).mean(axis=1)[plans[n].asked]
        result[i, k == n] = won[-1]
    return result


@dataclass(frozen=True)
class _Sets:
    """How `repeats` sets of each k < n are cut out of shuffled draws of a problem, the same for all problems of n
    draws.

    orders: the draws in their places in every set, int [repeats, largest]: shuffled anew for each n. A problem shuffles
    its draws once and lays them out in these orders: given the orders, its sets are still uniform, and those of two
    problems are independent. largest: size of the largest sets, 0 where there are none.
    owners: int [repeats, largest], for each draw of a set the number set * steps + step, step being the smallest k
    whose set holds it. steps: how many different k < n there are. asked: int, which of them each asked k < n is.
    first_cells: `owners` times a number of answers, kept.
    """

    orders: np.ndarray
    largest: int
    owners: np.ndarray
    steps: int
    asked: np.ndarray
    first_cells: dict[int, np.ndarray] = field(default_factory=dict)

    @staticmethod
    def of(n: int, k: np.ndarray, *, repeats: int, rng: np.random.Generator) -> _Sets:
        sizes, asked = np.unique(k[k < n], return_inverse=True)
        largest = int(sizes.max(initial=0))
        shuffles = -(-repeats // (n // largest)) if largest else 0
        orders = rng.permuted(np.tile(np.arange(n), (shuffles, 1)), axis=1)
        orders = orders[:, : n // largest * largest].reshape(-1, largest)[:repeats] if largest else orders
        step = np.searchsorted(sizes, np.arange(1, largest + 1))
        owners = np.arange(repeats)[:, None] * len(sizes) + step
        return _Sets(np.ascontiguousarray(orders), largest, owners, len(sizes), asked)

    def draw(self, count: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
        """Draws of each answer in every set, those of the smallest k first, and in all n draws as the last one: int
        [steps * repeats + 1, answers].

        count: draws of each answer, [answers].
        """
        if not self.steps:
            return count[None, :]
        answers = len(count)
        sets = len(self.owners)
        if answers not in self.first_cells:
            self.first_cells[answers] = answers * self.owners
        cells = rng.permutation(np.repeat(np.arange(answers), count))[self.orders] + self.first_cells[answers]
        new = np.bincount(cells.ravel(), minlength=sets * self.steps * answers).reshape(sets, self.steps, answers)
        drawn = np.empty((self.steps * sets + 1, answers), dtype=new.dtype)
        # a larger set holds the smaller
        new.swapaxes(0, 1).cumsum(axis=0, out=drawn[:-1].reshape(self.steps, sets, answers))
        drawn[-1] = count
        return drawn
