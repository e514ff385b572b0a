"""Entropy of answers and of modes, from counts, in nats.

Token entropy comes with the samples (mean over a completion's tokens, then over completions).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy import special

from analysis.records import AnswerCounts


def merged_counts(answers: AnswerCounts, by: str = "answer") -> tuple[np.ndarray, np.ndarray]:
    """Draws of each distinct answer (or mode): (problem int64 [D], count int64 [D]). No answer is one class of its own,
    as published."""
    names = answers.answer if by == "answer" else answers.mode
    encoded = (
        pa.array(names, type=pa.string())
        .dictionary_encode(null_encoding="encode")
        .indices.to_numpy(zero_copy_only=False)
        .astype(np.int64)
    )
    size = int(encoded.max(initial=0)) + 1
    keys, where = np.unique(answers.problem * size + encoded, return_inverse=True)
    return keys // size, np.bincount(where, weights=answers.count).astype(np.int64)


def plug_in(problem: np.ndarray, count: np.ndarray, *, problems: int) -> np.ndarray:
    """- sum_j (f_j / N) ln(f_j / N) of each problem, as published (arXiv 2507.14843, app. B.4); biased down by about
    (classes - 1) / 2N.

    problem, count: [D]; returns float64 [problems], NaN for problems without draws.
    """
    n = np.bincount(problem, weights=count, minlength=problems)
    share = count / n[problem]
    result = np.bincount(problem, weights=-share * np.log(share), minlength=problems)
    return np.where(n > 0, result, np.nan)


def chao_wang_jost(problem: np.ndarray, count: np.ndarray, *, problems: int) -> np.ndarray:
    """Entropy of each problem corrected for answers not seen yet: sum (x/n)[psi(n) - psi(x)] plus an estimate of the
    rest from singletons and doubletons.

    Shapes as `plug_in`. Source: Chao, Wang and Jost 2013 (doi 10.1111/2041-210X.12108), eq. 7.
    """
    n = np.bincount(problem, weights=count, minlength=problems)
    seen = np.bincount(
        problem, weights=count / n[problem] * (special.digamma(n[problem]) - special.digamma(count)), minlength=problems
    )
    ones = np.bincount(problem[count == 1], minlength=problems)
    twos = np.bincount(problem[count == 2], minlength=problems)
    f1 = ones.astype(float)
    f2 = twos.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.where(f2 > 0, 2 * f2 / ((n - 1) * f1 + 2 * f2), 2 / ((n - 1) * (f1 - 1) + 2))
    unseen = (ones > 0) & (n > 1) & (a < 1)
    rest = np.zeros(problems)
    rest[unseen] = (
        f1[unseen]
        / n[unseen]
        * np.array([_scaled_tail(*pair) for pair in zip(a[unseen], n[unseen].astype(int), strict=True)])
    )
    return np.where(n > 0, seen + rest, np.nan)


def _scaled_tail(a: float, n: int) -> float:
    """(1-a)^(1-n) [-ln a - sum_{r<n} (1-a)^r / r], as printed where that loses nothing, else as the tail of the series
    that it is."""
    decay = np.log1p(-a)
    if a * n <= 10:
        r = np.arange(1, n)
        return float(np.exp((1 - n) * decay) * (-np.log(a) - np.sum(np.exp(r * decay) / r)))
    r = np.arange(int(35 / a) + 1)
    return float(np.sum(np.exp((r + 1) * decay) / (n + r)))


def distinct(problem: np.ndarray, problems: int) -> np.ndarray:
    """Number of distinct answers seen of each problem: float64 [problems], NaN without draws."""
    seen = np.bincount(problem, minlength=problems).astype(float)
    return np.where(seen > 0, seen, np.nan)
