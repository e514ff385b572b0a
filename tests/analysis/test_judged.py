"""The verdict by reasoning, where a judge looked at all correct draws or at some of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from calibration_draws import judged_side, reasoning_verdicts
from calibration_kit import HALF_ZERO

from analysis.__main__ import main
from analysis.judged import ALL_JUDGED, judged_counts, thinned
from analysis.support import categories

FAST = ["--no-report", "--replicates", "100"]


def write(path, *, right, judged, problems=40, n=16):
    """Every problem is solved in half of its draws; the first `judged` correct ones were looked at, `right` of them
    were right."""
    rows = []
    for i in range(problems):
        for j in range(n):
            row = {"problem_id": str(i), "correct": j < n // 2}
            if j < judged:
                row["cot_correct"] = j < right
            rows.append(row)
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def audited(tmp_path, base, tuned):
    assert main(["audit", "--base", base, "--tuned", tuned, "--out", str(tmp_path / "out"), *FAST]) == 0
    return json.loads((tmp_path / "out" / "audit.json").read_text())


def test_right_answers_by_wrong_reasoning_are_a_loss_by_reasoning(tmp_path):
    base = write(tmp_path / "base.jsonl", right=8, judged=8)
    tuned = write(tmp_path / "tuned.jsonl", right=0, judged=8)
    document = audited(tmp_path, base, tuned)
    block = document["benchmarks"]["all"]
    assert block["verdict"] == "inconclusive"
    assert block["verdict_detail"]["other_readings"] == {ALL_JUDGED: "shrank"}
    assert block["metrics"]["cot_pass_at_k"]["16"]["tuned"]["value"] == 0


def test_where_some_were_not_judged_bounds_both_ways_and_the_judged_ones_are_read(tmp_path):
    base = write(tmp_path / "base.jsonl", right=4, judged=4)
    tuned = write(tmp_path / "tuned.jsonl", right=0, judged=4)
    document = audited(tmp_path, base, tuned)
    readings = document["benchmarks"]["all"]["verdict_detail"]["other_readings"]
    worst, best, middle = readings.values()
    assert (worst, best, middle) == ("shrank", "inconclusive", "shrank")
    assert next(iter(readings)).startswith("by reasoning (160 of the base's 320 correct draws unjudged, 160 of the")
    assert document["benchmarks"]["all"]["metrics"]["cot_pass_at_k"] is None
    assert sum("cot_correct is missing for 160 of 320 correct draws" in line for line in document["warnings"]) == 2


def test_the_bounds_hold_whatever_the_judge_would_have_said():
    rng = np.random.default_rng(0)
    p = rng.beta(0.3, 1, 300)
    sides = [judged_side(p, rng, judged=0.3, right=0.4, n=24) for _ in range(2)]
    first, second, _ = judged_counts(*sides).values()
    # any completion of the judgements
    whole = [side.cot_correct + rng.binomial(side.cot_unjudged, 0.4) for side in sides]
    lost, gained = (np.bincount(categories(*whole), minlength=4)[i] for i in (1, 2))
    most_lost, least_gained = (np.bincount(categories(*(x.correct for x in first)), minlength=4)[i] for i in (1, 2))
    least_lost, most_gained = (np.bincount(categories(*(x.correct for x in second)), minlength=4)[i] for i in (1, 2))
    assert least_lost < lost < most_lost and least_gained < gained < most_gained


def test_where_whole_problems_were_left_out_only_the_bounds_are_read():
    """The base judged on the first half, the tuned model on the second: equal models were called traded."""
    rng = np.random.default_rng(3)
    p = rng.beta(0.3, 1, 80)
    sides = [judged_side(p, rng, judged=1.0, right=0.8, n=32) for _ in range(2)]
    for side, left in zip(sides, (slice(40, None), slice(40)), strict=True):
        side.cot_correct[left] = 0
        side.cot_unjudged[left] = side.correct[left]
    readings = judged_counts(*sides)
    assert len(readings) == 2 and "whole problems, so that no reading" in next(iter(readings))


def test_thinning_keeps_the_rate_of_right_draws_however_many_were_judged():
    rng = np.random.default_rng(1)
    p = np.repeat([0.05, 0.3, 0.9], 400)
    for judged in (0.2, 3):
        side = thinned(judged_side(p, rng, judged=judged, right=0.5, n=64))
        for low in (0, 400, 800):
            here = slice(low, low + 400)
            assert side.correct[here].sum() / side.n[here].sum() == pytest.approx(p[low] / 2, rel=0.12)


def test_equal_models_are_not_called_changed_where_one_is_judged_more_than_the_other():
    lines = reasoning_verdicts(60, np.random.default_rng(2), shape=HALF_ZERO, problems=200, judged=(0.6, 0.1))
    assert not any(line.missed for line in lines)
