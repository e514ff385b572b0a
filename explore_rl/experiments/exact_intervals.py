"""Intervals of exact figures: of what other seeds would show, and of what other problems would.

Exact pass@k has no luck of draws. What is left is the luck of the runs, whose variance is moderated over the methods
(analysis.moderated), and of the problems, where those of the audit stand for others like them. Both as in
analysis.differences, which has counts of samples in place of probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.errors import InputError
from analysis.intervals import PSEUDO_DIFFERENCE, Bootstrap
from analysis.moderated import moderate
from analysis.over_runs import RunLuck, widened

REPLICATES = 2000


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    value: the mean over runs (and problems).
    low, high: the interval.
    df: degrees of freedom of the variance between runs.
    """

    value: float
    low: float
    high: float
    df: float


def over_runs(
    values: Mapping[str, Sequence[float]], weights: Mapping[str, float], *, plus: float = 0.0, confidence: float = 0.95
) -> Estimate:
    """`plus` + the weighted sum of the methods' means over runs, with its interval over runs.

    Raises InputError where no method has two runs.

    values: one figure of all methods, a value a run. Methods without weight help to find the variance.
    weights: {"a": 1, "b": -1} is a's mean less b's.
    plus: a constant that is added.
    confidence: the interval's, below 1.

    >>> found = over_runs({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 4.0]}, {"b": 1, "a": -1})
    >>> found.value, round(found.high - found.value, 4), found.df  # t of 4 degrees, 2.7764, times sqrt(1/3 + 1/3)
    (1.0, 2.267, 4.0)
    """
    value = plus + sum(weight * float(np.mean(values[name])) for name, weight in weights.items())
    luck = _luck(values, weights)
    reach = luck.half_width(confidence)
    return Estimate(value, value - reach, value + reach, luck.df)


def _luck(values: Mapping[str, Sequence[float]], weights: Mapping[str, float]) -> RunLuck:
    """Variance of the weighted sum of means; the smallest degrees of freedom count."""
    names = list(values)
    found = moderate(
        np.array([np.var(values[name], ddof=1) if len(values[name]) > 1 else np.nan for name in names]),
        np.array([len(values[name]) - 1.0 for name in names]),
    )
    if found is None:
        raise InputError("no method has two runs, so there is no telling how far runs differ; give at least two seeds")
    at = [names.index(name) for name in weights]
    parts = [
        weight**2 * found.variance[i] / len(values[name]) for (name, weight), i in zip(weights.items(), at, strict=True)
    ]
    return RunLuck(float(sum(parts)), float(found.df[at].min()))


def pass_at(success: np.ndarray, k: float) -> np.ndarray:
    """Exact pass@k, 1 - (1 - p)^k, of the probabilities that one draw is right; any shape.

    >>> pass_at(np.array([0.0, 0.5, 1.0]), 2).tolist()
    [0.0, 0.75, 1.0]
    """
    with np.errstate(divide="ignore"):  # log1p(-1): a problem that is always solved
        return -np.expm1(k * np.log1p(-success))


class ExactRuns:
    """The runs of several methods, and their base, on the same problems.

    base: float64 [M], the chance that one draw solves each problem.
    methods: method -> [R, M], one row a run.
    """

    def __init__(self, base: np.ndarray, methods: Mapping[str, np.ndarray]):
        self.base = base
        self.methods = methods

    @cached_property
    def bootstrap(self) -> Bootstrap:
        return Bootstrap.draw(len(self.base), REPLICATES, rng=np.random.default_rng(0))

    def runs(self, k: int) -> dict[str, list[float]]:
        """pass@k of each run."""
        return {name: pass_at(success, k).mean(axis=1).tolist() for name, success in self.methods.items()}

    def contrast(
        self, weights: Mapping[str, float], k: int, *, plus: np.ndarray | None = None, confidence: float = 0.95
    ) -> Estimate:
        """`plus` + the weighted sum of the methods' pass@k, with its interval over runs **and** problems.

        weights: with those of `plus` they add up to 0: it is a difference, and lies between -1 and 1.
        k: draws.
        plus: [M], the base's part, such as -pass_at(base, k).
        confidence: the interval's, below 1.
        """
        of_problems = np.zeros(len(self.base)) if plus is None else plus.astype(np.float64)
        for name, weight in weights.items():
            of_problems = of_problems + weight * pass_at(self.methods[name], k).mean(axis=0)
        value = float(of_problems.mean())
        drawn = Bootstrap(self.bootstrap.problems, self.bootstrap.pseudo, confidence)
        low, high = drawn.interval(drawn.means(of_problems, PSEUDO_DIFFERENCE))
        luck = _luck(self.runs(k), weights)
        both = widened(value, (float(low), float(high)), luck=luck, confidence=confidence)
        return Estimate(value, *both, luck.df)

    def against_base(self, name: str, k: int) -> Estimate:
        """A method's pass@k less its base's."""
        return self.contrast({name: 1.0}, k, plus=-pass_at(self.base, k))

    def delta_se(self, name: str, k: int = 256) -> Estimate:
        """Sampling-efficiency gap: the base's pass@k less the method's pass@1 (arXiv 2504.13837, sec. 4.4)."""
        return self.contrast({name: -1.0}, 1, plus=pass_at(self.base, k))
