"""What a group of draws misses of what the base can solve."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.pair import AuditSettings, BenchmarkPair
from analysis.records import ModelSamples
from analysis.tail_miss import tail_miss


def test_a_rare_success_is_missed_by_small_groups():
    n = np.full(4, 64)
    side = ModelSamples("m", list("abcd"), ["b"] * 4, n, np.array([0, 1, 32, 64]), 0 * n)
    rows = {row["group"]: row for row in tail_miss(BenchmarkPair(side, side, settings=AuditSettings(replicates=100)))}
    assert rows[1]["missed"]["value"] == pytest.approx((63 / 64 + 0.5 + 0) / 3)  # the unsolved one says nothing
    assert rows[16]["missed_rare"]["value"] == pytest.approx(48 / 64) and rows[64]["missed_rare"]["value"] == 0
    assert rows[16]["missed"]["value"] < rows[2]["missed"]["value"]
    nothing = ModelSamples("m", list("abcd"), ["b"] * 4, n, np.zeros(4, dtype=int), 0 * n)
    assert tail_miss(BenchmarkPair(nothing, nothing, settings=AuditSettings(replicates=100)))[0]["missed"] is None
