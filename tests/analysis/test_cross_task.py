"""Support task by task."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.audit import AuditSettings, audit
from analysis.errors import InputError
from analysis.records import ModelSamples


def model(correct, benchmarks, n=64):
    size = len(correct)
    ids = [str(i) for i in range(size)]
    counts = np.full(size, n)
    return ModelSamples("m", ids, benchmarks, counts, np.asarray(correct), 0 * counts)


def test_the_ratio_of_a_task_that_was_not_trained_on_shows_its_loss():
    names = ["ifeval"] * 40 + ["math"] * 40
    base = model([3] * 30 + [0] * 10 + [5] * 20 + [0] * 20, names)
    tuned = model([3] * 15 + [0] * 25 + [60] * 24 + [0] * 16, names)
    settings = AuditSettings(k=(1, 64), replicates=200, trained_on=("math",))
    found = audit(base, tuned, settings=settings)["benchmarks"]["all"]["cross_task"]
    assert found["k"] == 64 and found["enough"]
    other, mine = found["rows"]
    assert not other["trained_on"] and other["ratio"]["value"] == pytest.approx(0.5) and other["ratio"]["high"] < 0.8
    assert mine["trained_on"] and mine["ratio"]["value"] == pytest.approx(1.2) and mine["tuned"] == pytest.approx(24)
    with pytest.raises(InputError, match="--trained-on chess: no such benchmark; there are ifeval, math"):
        audit(base, tuned, settings=AuditSettings(trained_on=("chess",)))


def test_one_task_has_no_other_and_an_unsolved_one_no_ratio():
    one = model([1, 0], ["a", "a"])
    assert audit(one, one, settings=AuditSettings(replicates=100))["benchmarks"]["all"]["cross_task"] is None
    two = model([1, 0], ["a", "b"])
    rows = audit(two, two, settings=AuditSettings(replicates=100))["benchmarks"]["all"]["cross_task"]["rows"]
    assert rows[0]["ratio"]["value"] == 1 and rows[1]["ratio"] is None
