"""Estimates as the document writes them: {"value", "low", "high"}, with the bootstrap over the problems of one pair of
models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from analysis.intervals import PSEUDO_BASE, PSEUDO_DIFFERENCE, PSEUDO_TUNED
from analysis.pair import BenchmarkPair


def triple(value: Any, interval: Iterable[Any] = (None, None)) -> dict[str, Any]:
    low, high = interval
    return {"value": value, "low": low, "high": high}


def mean_of(
    pair: BenchmarkPair, values: np.ndarray, *, pseudo: np.ndarray | None = None, least: float = -np.inf
) -> dict[str, Any] | None:
    """Mean over problems with its bootstrap interval; None where no problem has a value.

    pair: whose bootstrap it is.
    values: [M], NaN for nothing.
    pseudo: [4], what the pseudo-problems say, for a statistic that they bound (percentile interval); without them
    the interval is the bootstrap-t, and a single problem, which says nothing of others, has none.
    least: the smallest value there can be.
    """
    known = int((~np.isnan(values)).sum())
    if not known:
        return None
    if known == 1 and pseudo is None:
        return triple(np.nanmean(values))
    if pseudo is None:
        low, high = pair.bootstrap.studentised(values)
        return triple(np.nanmean(values), (max(low, least), high))
    return triple(np.nanmean(values), pair.bootstrap.interval(pair.bootstrap.means(values, pseudo)))


def total_of(pair: BenchmarkPair, values: np.ndarray, *, pseudo: np.ndarray) -> dict[str, float]:
    """Sum over these problems; its interval is what as many problems of the same population would give."""
    return {key: len(pair) * value for key, value in (mean_of(pair, values, pseudo=pseudo) or {}).items()}


def sides_of(
    pair: BenchmarkPair, base: np.ndarray | None, *, tuned: np.ndarray | None, bounded: bool = False
) -> dict[str, Any] | None:
    """base, tuned, and their paired difference (tuned minus base), each with its interval; None for what is not there.

    pair: whose bootstrap it is.
    base, tuned: [M], NaN for nothing; None: the side has none.
    bounded: whether values are in [0, 1]; else they are not negative.
    """
    if base is None and tuned is None:
        return None
    if base is None or tuned is None:
        one = {"base": base, "tuned": tuned}
        return {side: None if values is None else mean_of(pair, values, least=0.0) for side, values in one.items()} | {
            "difference": None
        }
    pseudo = (PSEUDO_BASE, PSEUDO_TUNED, PSEUDO_DIFFERENCE) if bounded else (None, None, None)
    values = (base, tuned, tuned - base)
    return {
        name: mean_of(pair, x, pseudo=p, least=least)
        for name, x, p, least in zip(("base", "tuned", "difference"), values, pseudo, (0.0, 0.0, -np.inf), strict=True)
    }
