"""Intervals of exact figures against the formulas written out, and what widens them."""

import numpy as np
import pytest
from scipy import stats

from analysis.errors import InputError
from explore_rl.experiments.exact_intervals import ExactRuns, over_runs, pass_at

BASE = np.linspace(0.0, 1.0, 40)
SHIFT = np.array([[-0.02], [0.0], [0.02]])


def moved(by):
    return np.clip(BASE + by + SHIFT, 0, 1)


def test_a_mean_over_runs_takes_the_variance_that_the_methods_share():
    values = {"a": [1.0, 2.0, 3.0], "b": [5.0, 5.5, 6.0], "c": [0.0]}
    pooled = (2 * 1.0 + 2 * 0.25) / 4
    found = over_runs(values, {"a": 1})
    assert found.value == 2.0 and found.df == 4
    assert found.high - 2.0 == pytest.approx(stats.t.ppf(0.975, 4) * np.sqrt(pooled / 3))
    one_run = over_runs(values, {"c": 1}, plus=0.5, confidence=0.9)
    assert (one_run.value, one_run.high) == (0.5, pytest.approx(0.5 + stats.t.ppf(0.95, 4) * np.sqrt(pooled)))


def test_without_two_runs_of_any_method_there_is_no_interval():
    with pytest.raises(InputError, match="at least two seeds"):
        over_runs({"a": [1.0], "b": [2.0]}, {"a": -1, "b": 1})


def test_problems_widen_the_interval_over_runs():
    runs = ExactRuns(BASE, {"same": moved(0.0), "up": moved(0.1)})
    seeds = over_runs(runs.runs(1), {"up": 1, "same": -1})
    both = runs.contrast({"up": 1, "same": -1}, 1)
    assert both.value == pytest.approx(seeds.value) and both.df == seeds.df == 4
    assert both.low < seeds.low < seeds.high < both.high
    wider = runs.contrast({"up": 1, "same": -1}, 1, confidence=0.99)
    assert wider.low < both.low and wider.high > both.high


def test_against_base_and_the_gap_to_it_are_what_their_names_say():
    runs = ExactRuns(BASE, {"up": moved(0.1), "same": moved(0.0)})
    of_up = [pass_at(row, 16).mean() for row in moved(0.1)]
    assert runs.runs(16)["up"] == pytest.approx(of_up)
    assert runs.against_base("up", 16).value == pytest.approx(np.mean(of_up) - pass_at(BASE, 16).mean())
    assert runs.delta_se("up").value == pytest.approx(pass_at(BASE, 256).mean() - moved(0.1).mean())
