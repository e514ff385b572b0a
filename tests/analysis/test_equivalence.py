"""Two one-sided tests of pass@k."""

from __future__ import annotations

import numpy as np

from analysis.equivalence import equivalence
from analysis.pair import AuditSettings, BenchmarkPair
from analysis.records import ModelSamples
from analysis.verdict import Rules


def rows(p, q, *, n=128, margin=0.02, seed=0):
    rng = np.random.default_rng(seed)
    draws = np.full(len(p), n)
    ids = [str(i) for i in range(len(p))]
    sides = [ModelSamples("m", ids, ["b"] * len(p), draws, rng.binomial(n, x), 0 * draws) for x in (p, q)]
    return equivalence(BenchmarkPair(*sides, settings=AuditSettings(replicates=400, rules=Rules(margin=margin))))


def test_equal_models_are_equivalent_where_problems_suffice_and_different_ones_are_not():
    p = np.random.default_rng(1).beta(0.5, 0.5, 600)
    one, last = rows(p, p)
    assert one["k"] == 1 and last["k"] == 128 and one["equivalent"] and one["p"] <= 0.05
    assert one["difference"]["low"] > -0.02 and one["difference"]["high"] < 0.02
    worse = rows(p, 0.8 * p)[0]
    assert not worse["equivalent"] and worse["p_worse"] > 0.9 and worse["p_better"] < 0.05
    assert not rows(p[:10], p[:10])[0]["equivalent"]  # ten problems cannot show it
    assert rows(p[:10], p[:10], margin=0.5)[0]["equivalent"]
