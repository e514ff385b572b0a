"""Intervals: exact and Wilson ones for proportions, and a paired bootstrap over problems for everything else.

The estimand of the bootstrap is the population that the problems came from. The plain percentile bootstrap of a mean
over problems covers too little when few problems are solved (and says [0, 0] when none is), so two pseudo-problems are
added, half a one in each cell of the two-by-two table (solved or not by base and tuned), which is what Agresti and Min
(2005, doi 10.1002/sim.1781) do for paired proportions. Each side alone then gets one problem never solved and one
always solved (Agresti and Coull 1998). Means of quantities without bounds (entropy, length, perplexity) are skewed and
have the bootstrap-t. docs/calibration.md shows the coverage.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

# what the four pseudo-problems (weight one half each) say to a statistic in [0, 1] of the base, of the tuned model, and
# to their difference
PSEUDO_BASE = np.array([0.0, 0.0, 1.0, 1.0])
PSEUDO_TUNED = np.array([0.0, 1.0, 0.0, 1.0])
PSEUDO_DIFFERENCE = PSEUDO_TUNED - PSEUDO_BASE


def clopper_pearson(x: ArrayLike, n: ArrayLike, *, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Exact two-sided interval of a proportion, x successes of n. Broadcasts; (0, 1) where n = 0. Source: Clopper and
    Pearson 1934."""
    x, n = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(n, dtype=float))
    tail = (1 - confidence) / 2
    low = np.where(x > 0, special.betaincinv(np.maximum(x, 1e-9), n - x + 1, tail), 0.0)
    high = np.where(x < n, special.betaincinv(x + 1, np.maximum(n - x, 1e-9), 1 - tail), 1.0)
    return low, high


def wilson(x: ArrayLike, n: ArrayLike, *, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval of a proportion, x successes of n > 0. Broadcasts. Source: Wilson 1927."""
    x = np.asarray(x, dtype=float)
    n = np.asarray(n, dtype=float)
    z = special.ndtri((1 + confidence) / 2)
    middle = (x + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(x * (n - x) / n + z * z / 4)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


@dataclass
class Bootstrap:
    """Resamples of the problems, the same for every statistic of one pair of models (so that differences are paired).

    problems: float64 [B, M], how often each problem was drawn (so that no product has to convert it); pseudo: float64
    [B, 4], how often each pseudo-problem was. A row sums to M + 2.
    """

    problems: np.ndarray
    pseudo: np.ndarray
    confidence: float = 0.95

    @staticmethod
    def draw(problems: int, replicates: int, *, rng: np.random.Generator, confidence: float = 0.95) -> Bootstrap:
        """Resamples of so many problems, each with the four pseudo-problems.

        problems: M.
        replicates: B.
        rng: what they are drawn from.
        confidence: of the intervals that are made of them.
        """
        counts = np.zeros((replicates, problems + 4))
        for row in range(replicates):
            slot = rng.integers(2 * problems + 4, size=problems + 2)  # a problem owns two slots, a pseudo-problem one
            counts[row] = np.bincount(np.where(slot < 2 * problems, slot // 2, slot - problems), minlength=problems + 4)
        return Bootstrap(np.ascontiguousarray(counts[:, :problems]), counts[:, problems:].copy(), confidence)

    @cached_property
    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Problems and pseudo-problems of each replicate: two [B]."""
        return self.problems.sum(axis=1), self.pseudo.sum(axis=1)

    def _sizes_of(self, known: np.ndarray) -> np.ndarray:
        """Problems of each replicate that say something, [B] or [B, K]; kept, since statistics share them. known: bool,
        [M] or [M, K]."""
        key = (known.shape, np.packbits(known).tobytes())
        if key not in self._partial:
            self._partial.clear()
            self._partial[key] = self.problems @ known.astype(np.float64)
        return self._partial[key]

    @cached_property
    def _partial(self) -> dict[tuple[tuple[int, ...], bytes], np.ndarray]:
        """The last answer of `_sizes_of`."""
        return {}

    @cached_property
    def by_problem(self) -> np.ndarray:
        """`problems` with the replicates of one problem side by side."""
        return np.asfortranarray(self.problems)

    def means(self, values: np.ndarray, pseudo: np.ndarray | None = None) -> np.ndarray:
        """Replicates of the mean over problems. values: [M] or [M, K]; returns [B] or [B, K].

        pseudo: [4], what the pseudo-problems say (for statistics bounded by them), or None for a plain bootstrap
        (entropies, lengths). NaN marks a problem that says nothing; a replicate without any value is NaN.
        """
        values = np.asarray(values, dtype=np.float64)
        known = ~np.isnan(values)
        total = self.problems @ np.where(known, values, 0.0)
        size = self.sizes[0] if known.all() else self._sizes_of(known)
        if known.all() and values.ndim == 2:
            size = size[:, None]
        if pseudo is not None:
            extra = self.pseudo @ pseudo
            extra_size = self.sizes[1]
            if values.ndim == 2:
                extra = extra[:, None]
                extra_size = extra_size[:, None]
            total = total + extra
            size = size + extra_size
        return np.where(size > 0, total / np.maximum(size, 1e-9), np.nan)

    def interval(self, replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Percentile interval of replicates [B] or [B, K]; NaN replicates are left out (NaN where none is left)."""
        tail = (1 - self.confidence) / 2
        missing = np.isnan(replicates)
        if not missing.any():
            return _two_quantiles(replicates, tail)
        if missing.all(axis=0).any():
            replicates = np.atleast_2d(replicates.T)
            both = [
                np.quantile(r[~np.isnan(r)], [tail, 1 - tail]) if (~np.isnan(r)).any() else (np.nan, np.nan)
                for r in replicates
            ]
            low, high = np.array(both).T
            return (low, high) if len(low) > 1 else (low[0], high[0])
        low, high = np.nanquantile(replicates, [tail, 1 - tail], axis=0)
        return low, high

    def studentised(self, values: np.ndarray) -> tuple[float, float]:
        """Bootstrap-t interval of a mean over problems that has no bounds (entropy, length, perplexity).

        values: [M], NaN for a problem that says nothing; NaN limits where fewer than two say something.

        Each replicate's mean is measured in its own standard errors, which carries the skewness over: a percentile
        interval of a skewed mean reaches too little to the long side. Never inside the percentile interval (with very
        few problems there are hardly any different replicates). Source: Efron and Tibshirani 1993, sec. 12.5;
        Hall 1988 (doi 10.1214/aos/1176350933).
        """
        values = np.asarray(values, dtype=np.float64)
        known = ~np.isnan(values)
        x = values[known]
        if len(x) < 2:
            return np.nan, np.nan
        weight = self.by_problem if known.all() else self.problems[:, known]
        middle = x.mean()
        beyond = x - middle  # about the mean, so that squares keep their digits
        size = np.maximum(self.sizes[0] if known.all() else weight.sum(axis=1), 1.0)
        shift = weight @ beyond / size
        error = np.sqrt(np.maximum(weight @ beyond**2 / size - shift**2, 0.0) / np.maximum(size - 1, 1.0))
        scale = float(np.sqrt((beyond**2).sum() / (len(x) * (len(x) - 1))))
        low, high = (float(limit) for limit in self.interval(self.means(values)))
        varied = error > 1e-6 * scale
        if not scale or not varied.any():
            return low, high
        tail = (1 - self.confidence) / 2
        t_low, t_high = np.quantile(shift[varied] / error[varied], [tail, 1 - tail])
        return min(low, middle - t_high * scale), max(high, middle - t_low * scale)

    def simultaneous(self, value: np.ndarray, replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Band that holds a whole curve at once (studentised maximum over K): value [K], replicates [B, K]; returns two
        [K]."""
        spread = replicates.std(axis=0)
        spread = np.where(spread > 0, spread, np.inf)
        reach = np.quantile(np.abs((replicates - replicates.mean(axis=0)) / spread).max(axis=1), self.confidence)
        half = np.where(np.isfinite(spread), reach * spread, 0.0)
        return value - half, value + half


def _two_quantiles(replicates: np.ndarray, tail: float) -> tuple[np.ndarray, np.ndarray]:
    """The quantiles at `tail` and 1 - tail along the first axis, interpolated as np.quantile does by default, from one
    partition. replicates: [B] or [B, K], no NaN; returns two of shape () or [K]."""
    rows = np.array(replicates.T, order="C")  # of one statistic side by side
    most = rows.shape[-1] - 1
    places = [most * q for q in (tail, 1 - tail)]
    ends = [(int(place), min(int(place) + 1, most)) for place in places]
    rows.partition(sorted({at for pair in ends for at in pair}), axis=-1)
    found = []
    for place, (before, after) in zip(places, ends, strict=True):
        share = place - before
        low = rows[..., before]
        high = rows[..., after]
        step = high - low
        found.append(low + step * share if share < 0.5 else high - step * (1 - share))
    return found[0], found[1]
