"""Where two pass@k curves cross: the last k with the tuned model ahead, after which the base leads up to K."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TINY = 1e-12  # differences of means below this are rounding


@dataclass(frozen=True)
class Crossing:
    """Where two curves cross: a k (an integer, or a budget in tokens), with its interval.

    0 says that the base leads from the start.

    value: None: the curves do not cross within the range.
    low: of the interval.
    high: None: beyond the range.
    share: replicates that cross within the range.
    """

    value: float | None
    low: float
    high: float | None
    share: float


def grid_up_to(limit: int, points: int = 256) -> np.ndarray:
    """Integers from 1 to `limit`, all of them if they are few, else spaced evenly in ln k: int64 [<= points]."""
    if limit <= points:
        return np.arange(1, limit + 1)
    return np.unique(np.concatenate([np.arange(1, 33), np.geomspace(32, limit, points - 32).round()]).astype(np.int64))


def crossings(grid: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Of each curve of differences, tuned minus base, [B, K] on grid [K] (ascending): the last point with the tuned
    model ahead, interpolated in ln k.

    inf where the base does not lead at the end, 0 where the tuned model is nowhere ahead.
    """
    ahead = curves > TINY
    last = np.where(ahead.any(axis=1), len(grid) - 1 - np.argmax(ahead[:, ::-1], axis=1), -1)
    result = np.zeros(len(curves))
    inside = (last >= 0) & (last < len(grid) - 1)
    rows = np.flatnonzero(inside)
    i = last[inside]
    d0 = curves[rows, i]
    d1 = np.minimum(curves[rows, i + 1], 0.0)
    result[inside] = np.exp(np.log(grid[i]) + np.log(grid[i + 1] / grid[i]) * d0 / (d0 - d1))
    result[curves[:, -1] >= -TINY] = np.inf
    return result


def find_crossing(
    grid: np.ndarray,
    value: np.ndarray,
    *,
    replicates: np.ndarray,
    exact: Callable[[np.ndarray], np.ndarray] | None = None,
    confidence: float = 0.95,
) -> Crossing:
    """Crossing of one curve of differences with its bootstrap interval.

    grid: [K], rising.
    value: [K], the difference at each.
    replicates: [B, K], read between grid points (at most 5 % apart) by interpolation.
    exact: exact(k [J]) -> [J] gives the difference at integers k, to settle the value between two points of the grid;
        None keeps it as interpolated (a budget in tokens).
    confidence: the interval's.
    """
    point = float(crossings(grid, value[None, :])[0])
    crossed = 0 < point < np.inf
    if crossed and exact is not None:
        i = int(np.flatnonzero(value > TINY)[-1])
        between = np.arange(grid[i], grid[i + 1] + 1)
        point = int(between[np.flatnonzero(exact(between) > TINY)[-1]])
    found = crossings(grid, replicates)
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail], method="inverted_cdf")
    if exact is not None:
        low = np.floor(low)
        high = np.floor(high)
    if np.isinf(low):
        low = grid[-1]
    if crossed:  # the percentiles of a skewed statistic may leave its own value out
        low = min(low, point)
        high = max(high, point)
    whole = int if exact is not None else float
    high = None if np.isinf(high) else whole(high)
    return Crossing(
        whole(point) if crossed else None, whole(low), high, float(np.mean((found > 0) & np.isfinite(found)))
    )
