"""Posterior numbers of expanded and shrunk problems."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.beta_binomial import ZeroInflatedBeta
from analysis.counts import Counts
from analysis.pair import AuditSettings, BenchmarkPair
from analysis.posterior import above, posterior
from analysis.records import ModelSamples


def test_above_is_the_posterior_with_impossible_problems_left_out():
    side = Counts(np.array([10, 10]), np.array([0, 3]))
    found = above(side, ZeroInflatedBeta(0.4, 1.0, 1.0), eps=0.05)
    zero = 0.4 / (0.4 + 0.6 / 11)  # under a uniform prior 0 of 10 has probability 1 / 11
    assert found[0] == pytest.approx((1 - zero) * 0.95**11)
    assert found[1] == pytest.approx(stats.beta.sf(0.05, 4, 8))


def test_the_expected_number_is_near_the_truth_and_the_interval_holds_it():
    rng = np.random.default_rng(1)
    p = np.where(rng.random(300) < 0.4, 0.0, rng.beta(0.5, 2, 300))
    q = np.where((p == 0) & (rng.random(300) < 0.2), 0.2, p)
    n = np.full(300, 256)
    ids = [str(i) for i in range(300)]
    sides = [ModelSamples("m", ids, ["b"] * 300, n, rng.binomial(256, x), 0 * n) for x in (p, q)]
    document = posterior(BenchmarkPair(*sides, settings=AuditSettings(replicates=100)))
    assert document["eps"] == 1 / 256 and document["far"] == 4 / 256
    truth = ((p <= 1 / 256) & (q > 4 / 256)).sum()
    rows = {row["prior"]: row for row in document["rows"]}
    fitted = rows["zero-inflated beta"]["expanded"]
    assert fitted["low"] <= truth <= fitted["high"] and fitted["value"] == pytest.approx(truth, rel=0.25)
    assert fitted["low"] <= fitted["value"] <= fitted["high"]
    assert rows["zero-inflated beta"]["shrunk"]["value"] < 3
    few = [ModelSamples("m", ids[:2], ["b"] * 2, n[:2] * 0 + 4, np.array([1, 0]), n[:2] * 0) for _ in range(2)]
    assert posterior(BenchmarkPair(*few, settings=AuditSettings(replicates=100))) is None  # 4 / n is no rate
