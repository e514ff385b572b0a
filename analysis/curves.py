"""The sections of the audit document that are curves: over k and over tokens. `pair` as in
analysis.sections."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.counts import Counts
from analysis.crossing import Crossing, find_crossing, grid_up_to
from analysis.draws_only import Estimate, difference_interval, draws_only_interval
from analysis.estimates import mean_of, sides_of, triple
from analysis.intervals import PSEUDO_BASE, PSEUDO_DIFFERENCE, PSEUDO_TUNED, Bootstrap, clopper_pearson
from analysis.metrics import delta_se
from analysis.pair import BenchmarkPair
from analysis.pass_at_k import first_k, log_miss, pass_at_k, unique_counts

SIDES = (("base", PSEUDO_BASE), ("tuned", PSEUDO_TUNED), ("difference", PSEUDO_DIFFERENCE))
TOKEN_POINTS = 128  # of the curves over tokens
EDGE = 0.005  # budgets that this share of the replicates could not reach are left out


def curves(pair: BenchmarkPair) -> dict[str, Any]:
    """pass@k of both sides and their difference at the asked k, on a grid for drawing, with the crossing; Delta_SE;
    first k of n; the draws-only interval.
    """
    grid = np.union1d(grid_up_to(pair.largest), pair.k)
    base = pass_at_k(*pair.b, k=grid)
    tuned = pass_at_k(*pair.t, k=grid)
    table = {}
    replicates = np.empty((0, len(grid)))
    for (name, pseudo), values in zip(SIDES, (base, tuned, tuned - base), strict=True):
        replicates = pair.bootstrap.means(values, pseudo)
        table[name] = triple(values.mean(axis=0), pair.bootstrap.interval(replicates))
    # the last side of SIDES is the difference, whose replicates also give its band and the crossing
    band = pair.bootstrap.simultaneous(table["difference"]["value"], replicates)
    table["difference"] |= {"band_low": band[0], "band_high": band[1]}
    at = np.searchsorted(grid, pair.k)

    def at_asked_k(entry: dict[str, Any]) -> dict[str, Any]:
        columns = (entry[key][at] for key in ("value", "low", "high"))
        return {str(k): triple(value, interval) for k, value, *interval in zip(pair.k, *columns, strict=True)}

    columns = {name: at_asked_k(entry) for name, entry in table.items()}

    def exact(k: np.ndarray) -> np.ndarray:
        parts = np.array_split(k, max(1, len(k) // 256))
        return np.concatenate(
            [(pass_at_k(*pair.t, k=part) - pass_at_k(*pair.b, k=part)).mean(axis=0) for part in parts]
        )

    crossing = find_crossing(
        grid, table["difference"]["value"], replicates=replicates, exact=exact, confidence=pair.settings.confidence
    )
    return {
        "pass_at_k": columns,
        "pass_at_k_fixed_problems": _fixed_problems(pair),
        "pass_at_first_k": _first_k(pair),
        "curves": {"k": grid, **table},
        "crossing_k": _crossing(crossing),
        "crossing_detail": _crossing_detail(crossing, grid, band=band),
        "delta_se": _delta_se(pair, 256) if pair.largest >= 256 else None,
        "delta_se_at_largest_k": _delta_se(pair, int(pair.k[-1])),
    }


def _crossing(crossing: Crossing) -> dict[str, Any] | None:
    return None if crossing.value is None else triple(crossing.value, (crossing.low, crossing.high))


def _crossing_detail(crossing: Crossing, grid: np.ndarray, *, band: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """Share of replicates that cross, the interval whether or not the point crosses, and where each side is ahead
    beyond its simultaneous band."""
    tuned_ahead = grid[band[0] > 0]
    base_ahead = grid[band[1] < 0]
    return {
        "share": crossing.share,
        "low": crossing.low,
        "high": crossing.high,
        "tuned_significantly_ahead": bool(len(tuned_ahead)),
        "base_significantly_ahead": bool(len(base_ahead)),
        "tuned_ahead_range": [tuned_ahead.min(), tuned_ahead.max()] if len(tuned_ahead) else None,
        "base_ahead_range": [base_ahead.min(), base_ahead.max()] if len(base_ahead) else None,
    }


def _fixed_problems(pair: BenchmarkPair) -> dict[str, Any]:
    """The second, named interval: the problem set is what it is, only the draws are uncertain."""

    def of(n: np.ndarray, c: np.ndarray) -> Estimate:
        interval = draws_only_interval(n, c, k=pair.k, confidence=pair.settings.confidence)
        return Estimate(pass_at_k(n, c, k=pair.k).mean(axis=0), *interval)

    base = pair.of_base("fixed problems", lambda: of(*pair.b))
    tuned = of(*pair.t)
    sides = (base, tuned, Estimate(tuned.value - base.value, *difference_interval(base, tuned)))
    return {
        name: {str(k): triple(value, interval) for k, value, *interval in zip(pair.k, *side, strict=True)}
        for (name, _), side in zip(SIDES, sides, strict=True)
    }


def _first_k(pair: BenchmarkPair) -> dict[str, Any] | None:
    """First k of n instead of the unbiased estimate, to replicate tables made that way; needs the order of the draws.

    A side's value is a proportion of problems and has an exact interval; the difference has the bootstrap's.
    """
    if pair.base.draws is None or pair.tuned.draws is None:
        return None
    solved = [first_k(draws.correct, draws.start, k=pair.k) for draws in (pair.base.draws, pair.tuned.draws)]
    result: dict[str, Any] = {"base": {}, "tuned": {}, "difference": {}}
    for i, k in enumerate(pair.k):
        for side, values in zip(("base", "tuned"), solved, strict=True):
            low, high = clopper_pearson(values[:, i].sum(), len(pair), confidence=pair.settings.confidence)
            result[side][str(k)] = triple(values[:, i].mean(), (low, high))
        result["difference"][str(k)] = mean_of(pair, solved[1][:, i] - solved[0][:, i], pseudo=PSEUDO_DIFFERENCE)
    return result


def _delta_se(pair: BenchmarkPair, k: int) -> dict[str, Any]:
    return {"k": k} | (mean_of(pair, delta_se(pair.b, pair.t, k=k), pseudo=-PSEUDO_DIFFERENCE) or {})


def token_budget(pair: BenchmarkPair) -> dict[str, Any]:
    """pass@tokens: both curves against tokens spent a problem, and where they cross; and the mean completion lengths
    behind them."""
    first = pair.base.num_tokens
    second = pair.tuned.num_tokens
    result: dict[str, Any] = {
        "num_tokens": sides_of(pair, first, tuned=second),
        "pass_at_tokens": None,
        "crossing_tokens": None,
        "crossing_tokens_detail": None,
    }
    # Lengths of both sides are needed: a budget in tokens buys fewer draws of who writes more.
    both = None if first is None or second is None else (first, second)
    curve = (
        None
        if both is None
        else pass_at_tokens(pair.b, pair.t, lengths=both, largest=pair.largest, bootstrap=pair.bootstrap)
    )
    if curve is None:
        return result
    table, replicates = curve
    # Tokens are no integers k at which pass@k could be settled exactly.
    crossing = find_crossing(
        table["tokens"],
        table["difference"]["value"],
        replicates=replicates,
        exact=None,
        confidence=pair.settings.confidence,
    )
    band = pair.bootstrap.simultaneous(table["difference"]["value"], replicates)
    return result | {
        "pass_at_tokens": table,
        "crossing_tokens": _crossing(crossing),
        "crossing_tokens_detail": _crossing_detail(crossing, table["tokens"], band=band),
    }


def _chance(n: np.ndarray, c: np.ndarray, *, k: np.ndarray) -> np.ndarray:
    """pass@k at real k: [M, K], once for problems of the same counts."""
    unique_n, unique_c, where = unique_counts(n, c)
    return -np.expm1(log_miss(unique_n[:, None], unique_c[:, None], k=k))[where]


def pass_at_tokens(
    base: Counts,
    tuned: Counts,
    *,
    lengths: tuple[np.ndarray, np.ndarray],
    largest: int,
    bootstrap: Bootstrap,
    points: int = TOKEN_POINTS,
) -> tuple[dict[str, Any], np.ndarray] | None:
    """Curves over a token budget a problem: k is the budget over the model's mean completion length, which is an
    estimate as well.

    Every replicate resamples a problem's counts together with its length, so it reads its own pass@k curve at its own
    k.

    base, tuned: the draws of each side, on the same problems.
    lengths: of base and tuned, float [M] each: a problem's mean completion length in tokens, NaN where there is none.
    largest: the draws that every problem has.
    bootstrap: the replicates, B of them.
    points: T, the budgets of the curve.
    Returns the table ("tokens" [T], "mean_tokens", and "base", "tuned", "difference" as value, low, high) and the
    difference's replicates [B, T]; None where the sides share no range of budgets.
    """
    means = [float(np.nanmean(x)) if np.isfinite(x).any() else float("nan") for x in lengths]
    if not (np.isfinite(means).all() and min(means) > 0):
        return None
    # mean lengths are estimates, so each replicate has its own; a replicate without any takes the mean
    resampled = [bootstrap.means(x) for x in lengths]
    resampled = [np.where(np.isfinite(x) & (x > 0), x, mean) for x, mean in zip(resampled, means, strict=True)]
    # budgets that nearly every replicate of both sides can be read at
    least = max(np.quantile(x, 1 - EDGE) for x in resampled)
    most = largest * min(np.quantile(x, EDGE) for x in resampled)
    if most <= least:
        return None
    budget = np.geomspace(least, most * (1 - 1e-9), points)
    table: dict[str, Any] = {"tokens": budget, "mean_tokens": dict(zip(("base", "tuned"), means, strict=True))}
    values = []
    replicates = []
    for (n, c), mean, length, (_, pseudo) in zip((base, tuned), means, resampled, SIDES, strict=False):
        values.append(_chance(n, c, k=budget / mean).mean(axis=0))
        k = np.geomspace(min(budget[0] / length.max(), 1.0), largest, 2 * points)
        curve = bootstrap.means(_chance(n, c, k=k), pseudo)  # [B, 2 points], smooth in ln k
        at = np.log(budget)[None, :] - np.log(length)[:, None]
        log_k = np.log(k)
        replicates.append(np.stack([np.interp(x, log_k, row) for x, row in zip(at, curve, strict=True)]))
    for (name, _), value, rows in zip(
        SIDES, (*values, values[1] - values[0]), (*replicates, replicates[1] - replicates[0]), strict=True
    ):
        table[name] = triple(value, bootstrap.interval(rows))
    return table, replicates[1] - replicates[0]
