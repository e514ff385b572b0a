"""Faster or wider? What a tuned model is worth in draws of its base, and how much each problem's odds changed.

The fold tests themselves ("no problem's odds rose more than F-fold") are in analysis.null and judged in
analysis.verdict.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.counts import Counts
from analysis.crossing import grid_up_to
from analysis.estimates import triple
from analysis.intervals import PSEUDO_BASE, PSEUDO_TUNED
from analysis.pair import BenchmarkPair
from analysis.pass_at_k import log_miss, pass_at_k
from analysis.splits import odds_ratio_limits

TIMES = (2, 4)  # so many times the tuned model's draws are given to the base, where it has them


def odds_ratio_bounds(base: Counts, tuned: Counts, *, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Exact one-sided bounds of each problem's odds ratio, tuned over base: (lower [M], upper [M]), each holding at
    `confidence`.

    Given all c correct draws of a problem, those of the tuned side are noncentral hypergeometric with the odds ratio as
    their only parameter. The lower bound is the ratio at which as many of them or more have probability 1 - confidence
    (0 where none is), the upper one likewise (inf where all are).

    >>> low, high = odds_ratio_bounds(Counts(np.array([128]), np.array([0])), Counts(np.array([128]), np.array([23])))
    >>> bool(8 < low[0] < 9), float(high[0])
    (True, inf)
    """
    rows, where = np.unique(np.stack([*tuned, *base]), axis=1, return_inverse=True)
    n_tuned, c_tuned, n_base, c_base = rows
    low, high = odds_ratio_limits(n_tuned, n_base, c_one=c_tuned, c_other=c_base, tail=1 - confidence)
    return low[where.ravel()], high[where.ravel()]


def efficiency_equivalent(pair: BenchmarkPair) -> dict[str, Any]:
    """Draws of the base worth n draws of the tuned model, and the other way round: k' with base pass@k' = tuned pass@n.

    "base": k' of the base (value, low, high); "tuned": k' of the tuned model that gives the base's pass@n. n is
    the largest k that both sides allow. A value of None lies beyond the draws there are ("beyond": that side's draws).
    """
    at = np.array([pair.largest])
    result: dict[str, Any] = {"n": pair.largest}
    for side, own, other, own_pseudo, other_pseudo in (
        ("base", pair.b, pair.t, PSEUDO_BASE, PSEUDO_TUNED),
        ("tuned", pair.t, pair.b, PSEUDO_TUNED, PSEUDO_BASE),
    ):
        most = int(own.n.min())
        grid = grid_up_to(most)
        curve = pass_at_k(*own, k=grid)
        goal = pass_at_k(*other, k=at)[:, 0]
        # the point estimate and its bootstrap: both the curve and the goal are resampled, with the same problems
        value = _first_reaching(grid, curve.mean(axis=0), goal=float(goal.mean()))
        replicates = pair.bootstrap.means(curve, own_pseudo)
        goals = pair.bootstrap.means(goal, other_pseudo)
        found = _each_first_reaching(grid, replicates, goals=goals)
        tail = (1 - pair.settings.confidence) / 2
        low, high = np.quantile(found, [tail, 1 - tail], method="inverted_cdf")
        low = min(low, value)
        high = max(high, value)
        finite = [None if np.isinf(x) else float(x) for x in (value, low, high)]
        result[side] = {**triple(finite[0], finite[1:]), "beyond": most}
    return result


def _first_reaching(grid: np.ndarray, curve: np.ndarray, *, goal: float) -> float:
    """k at which a rising curve reaches the goal, interpolated in ln k; inf beyond the grid, its start before it."""
    if curve[-1] < goal - 1e-12:
        return np.inf
    i = int(np.argmax(curve >= goal - 1e-12))
    if i == 0:
        return float(grid[0])
    share = (goal - curve[i - 1]) / max(curve[i] - curve[i - 1], 1e-300)
    return float(grid[i - 1] * (grid[i] / grid[i - 1]) ** min(max(share, 0.0), 1.0))


def _each_first_reaching(grid: np.ndarray, curves: np.ndarray, *, goals: np.ndarray) -> list[float]:
    """`_first_reaching` of each replicate. curves: [B, K]; goals: [B]."""
    reached = curves >= (goals - 1e-12)[:, None]
    at = reached.argmax(axis=1)
    before = np.maximum(at - 1, 0)
    rows = np.arange(len(curves))
    low = curves[rows, before]
    high = curves[rows, at]
    share = np.clip((goals - low) / np.maximum(high - low, 1e-300), 0.0, 1.0)
    steps = zip(grid[before].tolist(), (grid[at] / grid[before]).tolist(), share.tolist(), strict=True)
    found = np.array([start * ratio**part for start, ratio, part in steps])
    found[at == 0] = grid[0]
    found[curves[:, -1] < goals - 1e-12] = np.inf
    return found.tolist()


def support_at_budgets(pair: BenchmarkPair) -> list[dict[str, Any]]:
    """Expected S and E when the sides get different budgets: the base 2 and 4 times the draws of the tuned model, and
    both the same number of tokens.

    Rows of {"label", "k_base", "k_tuned", "shrunk", "expanded"}; a row is there where the draws and lengths are. The
    tokens' k is real-valued: mean completion lengths, taken from the data, set it.
    """
    most_base = int(pair.b.n.min())
    most_tuned = int(pair.t.n.min())
    rows = [("equal draws", float(pair.largest), float(pair.largest))]
    for times in TIMES:
        k = min(most_tuned, most_base // times)
        if k >= 1:
            rows.append((f"base with {times} times the draws", float(times * k), float(k)))
    # as many tokens on both sides: fewer draws of the model that writes longer
    lengths = [None if side.num_tokens is None else float(np.nanmean(side.num_tokens)) for side in pair.sides]
    if all(length is not None and np.isfinite(length) and length > 0 for length in lengths):
        ratio = (lengths[1] or 1.0) / (lengths[0] or 1.0)  # draws of the base for the tokens of one tuned draw
        k_tuned = min(float(most_tuned), most_base / ratio)
        if min(k_tuned, k_tuned * ratio) >= 1:
            rows.append(("equal tokens", k_tuned * ratio, k_tuned))
    found = []
    for label, k_base, k_tuned in rows:
        b = -np.expm1(log_miss(*pair.b, k=k_base))
        t = -np.expm1(log_miss(*pair.t, k=k_tuned))
        shrunk = float((b * (1 - t)).sum())
        expanded = float(((1 - b) * t).sum())
        found.append({"label": label, "k_base": k_base, "k_tuned": k_tuned, "shrunk": shrunk, "expanded": expanded})
    return found
