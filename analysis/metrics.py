"""Smaller published metrics beside pass@k: maj@k, Cover@tau, Bayes@N and the sampling-efficiency gap."""

from __future__ import annotations

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


def cover_at(n: ArrayLike, c: ArrayLike, tau: ArrayLike) -> np.ndarray:
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
    return pass_at_k(*base, k) - pass_at_k(*tuned, 1)


def majority_at_k(
    answers: AnswerCounts, problems: int, *, k: np.ndarray, rng: np.random.Generator, repeats: int = 50
) -> np.ndarray:
    """maj@k of each problem: the chance that the most frequent answer among k of its draws is correct; ties are broken
    at random.

    A draw without an answer does not vote; a vote without any ballot is lost. Exact at k = n; below it the mean over
    `repeats` sets of k draws without replacement (the draws are shuffled and cut into sets of k). k: int [K], each at
    most every problem's number of draws. Returns float64 [problems, K], NaN for problems without rows. Source: Wang et
    al. 2022 (arXiv 2203.11171).
    """
    k = np.atleast_1d(k)
    result = np.full((problems, len(k)), np.nan)
    order = np.argsort(answers.problem, kind="stable")
    bounds = np.searchsorted(answers.problem[order], np.arange(problems + 1))
    votes = np.array([answer is not None for answer in answers.answer], dtype=bool)
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
        below = k[k < n]
        shuffles = max((int(np.ceil(repeats / (n // size))) for size in below), default=0)
        shuffled = rng.permuted(np.tile(np.repeat(np.arange(len(rows)), count), (shuffles, 1)), axis=1)
        for column, size in enumerate(k):
            if size == n:
                drawn = count[None, :]
            else:
                sets = shuffled[:, : n // size * size].reshape(-1, size)[:repeats]
                cells = sets + len(rows) * np.arange(len(sets))[:, None]
                drawn = np.bincount(cells.ravel(), minlength=len(sets) * len(rows)).reshape(len(sets), len(rows))
            ballots = np.where(voting, drawn, 0)
            top = (ballots == ballots.max(axis=1, keepdims=True)) & (ballots > 0)
            result[i, column] = ((top & correct).sum(axis=1) / np.maximum(top.sum(axis=1), 1)).mean()
    return result
