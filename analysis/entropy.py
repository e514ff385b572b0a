"""Entropy of answers and of modes, from counts, in nats. Token entropy comes with the samples (mean over a completion's tokens, then over completions)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy import special

from analysis.records import AnswerCounts


def merged_counts(answers: AnswerCounts, by: str = "answer") -> tuple[np.ndarray, np.ndarray]:
    """Draws of each distinct answer (or mode): (problem int64 [D], count int64 [D]). No answer is one class of its own, as published."""
    names = answers.answer if by == "answer" else answers.mode
    encoded = pa.array(names, type=pa.string()).dictionary_encode(null_encoding="encode").indices.to_numpy(zero_copy_only=False).astype(np.int64)
    size = int(encoded.max(initial=0)) + 1
    keys, where = np.unique(answers.problem * size + encoded, return_inverse=True)
    return keys // size, np.bincount(where, weights=answers.count).astype(np.int64)


def plug_in(problem: np.ndarray, count: np.ndarray, problems: int) -> np.ndarray:
    """- sum_j (f_j / N) ln(f_j / N) of each problem, as published (arXiv 2507.14843, app. B.4); biased down by about (classes - 1) / 2N.

    problem, count: [D]; returns float64 [problems], NaN for problems without draws.
    """
    n = np.bincount(problem, weights=count, minlength=problems)
    share = count / n[problem]
    result = np.bincount(problem, weights=-share * np.log(share), minlength=problems)
    return np.where(n > 0, result, np.nan)


def chao_wang_jost(problem: np.ndarray, count: np.ndarray, problems: int) -> np.ndarray:
    """Entropy of each problem corrected for answers not seen yet: sum (x/n)[psi(n) - psi(x)] plus an estimate of the rest from singletons and doubletons.

    Shapes as `plug_in`. Source: Chao, Wang and Jost 2013 (doi 10.1111/2041-210X.12108), eq. 7.
    """
    n = np.bincount(problem, weights=count, minlength=problems)
    seen = np.bincount(problem, weights=count / n[problem] * (special.digamma(n[problem]) - special.digamma(count)), minlength=problems)
    ones = np.bincount(problem[count == 1], minlength=problems)
    twos = np.bincount(problem[count == 2], minlength=problems)
    rest = np.zeros(problems)
    for i in np.flatnonzero((ones > 0) & (n > 1)):
        f1, f2, draws = ones[i], twos[i], n[i]
        a = 2 * f2 / ((draws - 1) * f1 + 2 * f2) if f2 else 2 / ((draws - 1) * (f1 - 1) + 2)
        if a < 1:
            # f1/n (1-a)^(1-n) [-ln a - sum_{r<n} (1-a)^r / r] = f1/n sum_{r>=n} (1-a)^(r-n+1) / r: the tail itself, where nothing cancels
            rest[i] = f1 / draws * _log_series_tail(1 - a, int(draws))
    return np.where(n > 0, seen + rest, np.nan)


def _log_series_tail(x: float, start: int) -> float:
    """sum_{r >= start} x^(r - start + 1) / r for 0 <= x < 1, to 1e-12."""
    total, r, chunk = 0.0, 0, 4096
    while True:
        steps = np.arange(r, r + chunk)
        total += float(np.sum(x ** (steps + 1) / (start + steps)))
        r += chunk
        if x**r / ((start + r) * (1 - x)) < 1e-12 or r > 4_000_000:
            return total


def distinct(problem: np.ndarray, problems: int) -> np.ndarray:
    """Number of distinct answers seen of each problem: float64 [problems], NaN without draws."""
    seen = np.bincount(problem, minlength=problems).astype(float)
    return np.where(seen > 0, seen, np.nan)
