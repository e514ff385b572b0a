"""Correct traces of the base, scored under the tuned model."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.errors import InputError
from analysis.pair import AuditSettings, BenchmarkPair
from analysis.readers import load_scores
from analysis.records import ModelSamples, write_scores
from analysis.witnesses import witnesses


def model(name):
    ids = ["1", "2", "3"]
    return ModelSamples(name, ids, ["default"] * 3, np.full(3, 8), np.array([4, 2, 0]), np.zeros(3, dtype=int))


def bank(tmp_path, rows, **settings):
    path = tmp_path / "scores.parquet"
    write_scores(path, rows)
    scores = load_scores([str(path)])
    return witnesses(
        BenchmarkPair(model("base"), model("tuned"), None, scores, AuditSettings(replicates=100, **settings))
    )


def row(problem, sequence, logprob, by, **more):
    return {"problem_id": problem, "sequence": sequence, "logprob": logprob, "model": by, "num_tokens": 5} | {
        "correct": True,
        "written_by": "base",
        **more,
    }


def test_deltas_are_paired_and_counted_by_problem(tmp_path):
    rows = [row("1", "a", -4.0, "base"), row("1", "a", -5.0, "tuned"), row("1", "b", -4.0, "base")]
    rows += [row("1", "b", -20.0, "tuned"), row("2", "c", -3.0, "base"), row("2", "c", -2.0, "tuned")]
    rows += [row("2", "d", -3.0, "base"), row("3", "e", -1.0, "base", correct=False)]  # not under both; not correct
    rows += [row("3", "e", -1.0, "tuned", correct=False), row("2", "a", -9.0, "tuned", written_by="tuned")]
    found = bank(tmp_path, rows)
    assert found["traces"] == 3 and found["problems"] == 2
    assert found["mean_delta"]["value"] == pytest.approx(((-1 - 16) / 2 + 1) / 2)
    assert found["median_delta"]["value"] == -1.0
    assert found["kept"]["value"] == pytest.approx(0.75) and found["collapsed"]["value"] == pytest.approx(0.25)
    assert bank(tmp_path, rows, alpha=0.5)["kept"]["value"] == pytest.approx(0.5)


def test_without_pairs_there_is_no_bank(tmp_path):
    assert bank(tmp_path, [row("1", "a", -4.0, "base")]) is None
    assert bank(tmp_path, [row("1", "a", -4.0, "base", temperature=0.6), row("1", "a", -4.0, "tuned")]) is None
    assert witnesses(BenchmarkPair(model("base"), model("tuned"), settings=AuditSettings(replicates=100))) is None
    with pytest.raises(InputError, match="alpha"):
        AuditSettings(alpha=0.0)
