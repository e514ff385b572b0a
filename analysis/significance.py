"""Tests that say whether a difference could be chance, and corrections for asking many times."""

from __future__ import annotations

import numpy as np
from scipy import stats


def mcnemar(expanded: int, shrunk: int) -> float:
    """Exact two-sided McNemar test of E against S: a fair coin tossed E + S times; 1 where both are 0. Needs equal n on
    both sides."""
    return float(stats.binomtest(expanded, expanded + shrunk, 0.5).pvalue) if expanded + shrunk else 1.0


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
