"""Calibrations of intervals: how often do they hold the truth?"""

from __future__ import annotations

from typing import Any

import numpy as np
from calibration_kit import SHAPES, Line
from calibration_laws import sharpened

from analysis.counts import Counts
from analysis.crossing import find_crossing
from analysis.curves import pass_at_tokens
from analysis.draws_only import Estimate, difference_interval, draws_only_interval
from analysis.intervals import PSEUDO_BASE, PSEUDO_DIFFERENCE, Bootstrap, clopper_pearson
from analysis.pass_at_k import pass_at_k


def coverage(
    trials: int,
    rng: np.random.Generator,
    *,
    shape: str,
    problems: int,
    n: int = 128,
    ks: tuple[int, ...] = (1, 16, 128),
    population: int = 2_000_000,
) -> list[Line]:
    """How often intervals hold the truth: bootstrap of pass@k, of a paired difference and of the crossing (population
    of problems), and draws only.
    """
    draw = SHAPES[shape]
    at = np.array(ks)
    many = draw(rng, population)
    every = np.arange(1, n + 1)

    edges = np.concatenate([[0], np.geomspace(1e-9, 1, 20_000)])

    def curve(p: np.ndarray) -> np.ndarray:  # mean pass@k at every k, over bins of nearly equal p
        share = np.histogram(p, bins=edges)[0] / len(p)
        total = np.histogram(p, bins=edges, weights=p)[0] / len(p)
        mean = np.divide(total, share, out=np.zeros(len(share)), where=share > 0)
        return np.array([share @ -np.expm1(step * np.log1p(-np.minimum(mean, 1 - 1e-15))) for step in every])

    truth = curve(many)
    tuned_truth = curve(sharpened(many))
    gap = tuned_truth - truth
    ahead = np.flatnonzero(gap > 0)
    crossing = int(every[ahead[-1]]) if len(ahead) and gap[-1] < 0 else None
    hits: dict[str, Any] = {"crossing": 0.0, "exact": 0.0} | {
        name: np.zeros(len(at)) for name in ("base", "difference", "fixed", "fixed difference")
    }
    table = pass_at_k(n, np.arange(n + 1), k=every)
    grid = np.union1d(np.geomspace(1, n, 24).round().astype(int), at)
    fixed_trials = max(trials // 4, 1)
    for i in range(trials):
        if i % 20 == 0:  # the resampling noise is renewed now and then; the data every time
            bootstrap = Bootstrap.draw(problems, 500, rng=rng)
        p = draw(rng, problems)
        c = rng.binomial(n, p)
        other = rng.binomial(n, sharpened(p))
        counts = np.full(problems, n)
        low, high = bootstrap.interval(bootstrap.means(table[c][:, at - 1], PSEUDO_BASE))
        hits["base"] += (low <= truth[at - 1]) & (truth[at - 1] <= high)
        difference = (table[other] - table[c])[:, grid - 1]
        replicates = bootstrap.means(difference, PSEUDO_DIFFERENCE)
        low, high = bootstrap.interval(replicates[:, np.searchsorted(grid, at)])
        hits["difference"] += (low <= gap[at - 1]) & (gap[at - 1] <= high)
        low, high = clopper_pearson((c > 0).sum(), problems)
        hits["exact"] += low <= truth[-1] <= high
        if crossing is not None:
            found = find_crossing(grid, difference.mean(axis=0), replicates=replicates)
            hits["crossing"] += found.low <= crossing + 1 and (found.high is None or crossing <= found.high)
        if i < fixed_trials:
            one, two = (
                -np.expm1(at * np.log1p(-np.minimum(x, 1 - 1e-15))[:, None]).mean(axis=0) for x in (p, sharpened(p))
            )
            before, after = (
                Estimate(table[x][:, at - 1].mean(axis=0), *draws_only_interval(counts, x, k=at)) for x in (c, other)
            )
            hits["fixed"] += (before.low <= one) & (one <= before.high)
            low, high = difference_interval(before, after)
            hits["fixed difference"] += (low <= two - one) & (two - one <= high)
    row = f"{shape}; {problems}"
    lines = [Line(row, f"pass@{k}", x / trials, trials, at_least=0.93) for k, x in zip(at, hits["base"], strict=True)]
    lines += [
        Line(row, f"difference@{k}", x / trials, trials, at_least=0.93)
        for k, x in zip(at, hits["difference"], strict=True)
    ]
    lines += [Line(row, "solved, exact", hits["exact"] / trials, trials, at_least=0.95)]
    for name, key in (("draws only", "fixed"), ("draws only, difference", "fixed difference")):
        lines += [
            Line(row, f"{name}@{k}", x / fixed_trials, fixed_trials, at_least=0.93)
            for k, x in zip(at, hits[key], strict=True)
        ]
    if crossing is not None:
        lines += [Line(row, "crossing", hits["crossing"] / trials, trials)]
    return lines


def token_coverage(trials: int, rng: np.random.Generator, *, shape: str, problems: int, n: int = 128) -> list[Line]:
    """How often the intervals of pass@tokens hold the truth, where the lengths are estimates too: harder problems have
    longer completions."""
    draw = SHAPES[shape]
    many = 2_000_000
    p = draw(rng, many)
    spent = [
        (1 - p) * 600 + 400,
        (1 - sharpened(p)) * 900 + 300,
    ]  # mean length of a problem's completions, before its own luck
    lengths = [x.mean() for x in spent]
    luck = 0.7  # the luck of a problem: log-normal with mean 1
    rates = [np.quantile(x, (np.arange(20_000) + 0.5) / 20_000) for x in (p, sharpened(p))]
    hits = np.zeros((3, 3))
    for i in range(trials):
        if i % 20 == 0:
            bootstrap = Bootstrap.draw(problems, 500, rng=rng)
        p = draw(rng, problems)
        counts = np.full(problems, n)
        shared = rng.lognormal(-(luck**2) / 2, luck, problems)
        first, second = (Counts(counts, rng.binomial(n, x)) for x in (p, sharpened(p)))
        curve = pass_at_tokens(
            first,
            second,
            lengths=(((1 - p) * 600 + 400) * shared, ((1 - sharpened(p)) * 900 + 300) * shared),
            largest=n,
            bootstrap=bootstrap,
            points=24,
        )
        assert curve is not None  # every problem has a length
        found, _ = curve
        at = [2, 12, 21]  # of the budgets
        truth = [
            -np.expm1(found["tokens"][at] / length * np.log1p(-np.minimum(x, 1 - 1e-15))[:, None]).mean(axis=0)
            for x, length in zip(rates, lengths, strict=True)
        ]
        for j, (side, value) in enumerate(
            (("base", truth[0]), ("tuned", truth[1]), ("difference", truth[1] - truth[0]))
        ):
            hits[j] += (found[side]["low"][at] <= value) & (value <= found[side]["high"][at])
    return [
        Line(f"{shape}; {problems}", f"{side}, {where}", hits[j, i] / trials, trials, at_least=0.93)
        for j, side in enumerate(("base", "tuned", "difference"))
        for i, where in enumerate(("small", "middle", "large"))
    ]


# --- means of skewed quantities ---------------------------------------------------------------------------------------

SKEWED = {  # of a problem: what is drawn, and its mean
    "entropy: log-normal, sd 1": (lambda rng, size: rng.lognormal(-1, 1, size), float(np.exp(-0.5))),
    "entropy: half zero, else exponential": (
        lambda rng, size: rng.exponential(1, size) * (rng.random(size) < 0.5),
        0.5,
    ),
    "length: log-normal, sd .7": (lambda rng, size: 500 * rng.lognormal(0, 0.7, size), float(500 * np.exp(0.245))),
    "perplexity: 1 + gamma(.5)": (lambda rng, size: 1 + rng.gamma(0.5, 0.4, size), 1.2),
    "difference of two log-normals": (lambda rng, size: rng.lognormal(0, 1, size) - rng.lognormal(0, 1, size), 0.0),
}


def skewed_coverage(trials: int, rng: np.random.Generator, *, quantity: str, problems: int) -> list[Line]:
    """How often the 95 % interval of a mean over problems holds the truth: bootstrap-t, and percentile as before."""
    draw, truth = SKEWED[quantity]
    hits = np.zeros(2)
    for i in range(trials):
        if i % 5 == 0:
            bootstrap = Bootstrap.draw(problems, 1000, rng=rng)
        values = draw(rng, problems)
        limits = (bootstrap.studentised(values), bootstrap.interval(bootstrap.means(values)))
        hits += np.array([low <= truth <= high for low, high in limits])
    return [
        Line(quantity, f"{problems} problems", hits[0] / trials, trials, at_least=0.9 if problems < 30 else 0.92),
        Line(quantity, f"percentile, {problems}", hits[1] / trials, trials),
    ]
