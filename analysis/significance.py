"""Tests that say whether a difference could be chance, and corrections for asking many times."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

# scipy.stats has the same tails, but importing it takes as long as a small audit


def binomial_at_least(c: ArrayLike, n: ArrayLike, *, p: ArrayLike) -> np.ndarray:
    """P(Binomial(n, p) >= c), broadcast; 0 < p < 1 and 0 <= c <= n + 1.

    >>> float(binomial_at_least(1, 2, p=0.5))
    0.75
    """
    c, n, p = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in (c, n, p)))
    inside = special.betainc(np.clip(c, 1, np.maximum(n, 1)), np.maximum(n - c + 1, 1), p)
    return np.where(c <= 0, 1.0, np.where(c > n, 0.0, inside))


def binomial_at_most(c: ArrayLike, n: ArrayLike, *, p: ArrayLike) -> np.ndarray:
    """P(Binomial(n, p) <= c), broadcast."""
    return binomial_at_least(np.asarray(n) - np.asarray(c), n, p=1 - np.asarray(p, dtype=float))


def mcnemar(expanded: int, shrunk: int) -> float:
    """Exact two-sided McNemar test of E against S: a fair coin tossed E + S times; 1 where both are 0. Needs equal n on
    both sides."""
    return min(1.0, 2 * float(binomial_at_most(min(expanded, shrunk), expanded + shrunk, p=0.5)))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjusted p-values (family-wise error), p [H] -> [H]. Source: Holm 1979."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    result = np.empty(len(p))
    result[order] = np.minimum(adjusted, 1.0)
    return result


def benjamini_hochberg(p: np.ndarray, level: float, *, hypotheses: int | None = None) -> np.ndarray:
    """Which of p [H] are rejected at false discovery rate `level`: bool [H]. Source: Benjamini and Hochberg 1995.

    hypotheses: how many were asked in all, when those not listed have p = 1 (at least H).
    """
    p = np.asarray(p, dtype=float)
    asked = max(len(p), hypotheses or 0)
    ordered = np.sort(p)
    passed = np.flatnonzero(ordered <= level * np.arange(1, len(p) + 1) / max(asked, 1))
    return p <= ordered[passed[-1]] if len(passed) else np.zeros(len(p), dtype=bool)
