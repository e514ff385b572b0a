"""Entries and exits by base success, defined on the other half of the draws."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from analysis.counts import Counts
from analysis.pair import AuditSettings, BenchmarkPair
from analysis.records import ModelSamples
from analysis.strata import STRATA, by_base_success, strata


def test_it_is_the_mean_over_all_splits_of_the_draws():
    n = 8
    c = 3
    tuned = Counts(np.array([6]), np.array([2]))
    k, found = by_base_success(Counts(np.array([n]), np.array([c])), tuned)
    assert k == 2
    right = set(range(c))
    solved = 1 - (4 * 3) / (6 * 5)
    sums = {"exits": np.zeros(4), "entries": np.zeros(4), "chance": np.zeros(4), "problems": np.zeros(4)}
    splits = 0
    for half in combinations(range(n), 4):
        stratum = (0, 2, 2, 3)[len(right & set(half))]  # of 4: 0, .25, .5, .75
        rest = [i for i in range(n) if i not in half]
        for quarter in combinations(rest, 2):
            first = bool(right & set(quarter))
            second = bool(right & (set(rest) - set(quarter)))
            splits += 1
            sums["problems"][stratum] += 1
            sums["exits"][stratum] += first * (1 - solved)
            sums["entries"][stratum] += (not first) * solved
            sums["chance"][stratum] += first and not second
    for name, total in sums.items():
        assert found[name][0] == pytest.approx(total / splits)


def test_equal_models_enter_and_leave_as_chance_has_it_and_lost_ones_leave_at_the_edge():
    rng = np.random.default_rng(0)
    p = np.r_[np.zeros(50), rng.uniform(0.01, 0.09, 150), rng.uniform(0.7, 1, 100)]
    n = np.full(300, 128)

    def table(q):
        sides = [
            ModelSamples("m", [str(i) for i in range(300)], ["b"] * 300, n, rng.binomial(128, x), 0 * n) for x in q
        ]
        return {
            row["stratum"]: row for row in strata(BenchmarkPair(*sides, settings=AuditSettings(replicates=100)))["rows"]
        }

    same = table((p, p))
    for name in STRATA:
        assert same[name]["exits"]["value"] == pytest.approx(same[name]["chance"]["value"], abs=6)
        assert same[name]["net"]["low"] < 0.5 and same[name]["net"]["high"] > -0.5
    lost = table((p, np.where(p < 0.1, p / 10, p)))
    assert lost["< .1"]["net"]["high"] < 0 and lost["> .6"]["exits"]["value"] < 1
    assert sum(row["problems"] for row in lost.values()) == pytest.approx(300)


def test_too_few_draws_have_no_strata():
    side = ModelSamples("m", ["1"], ["b"], np.array([3]), np.array([1]), np.array([0]))
    assert strata(BenchmarkPair(side, side, settings=AuditSettings(replicates=100))) is None
