"""What scripts/compare_ahead.py says of runs whose exact audits are known."""

import json

import compare_ahead
import numpy as np
import pytest
import yaml

from analysis.errors import InputError
from explore_rl.experiments.sweeps import load_sweep


def runs(output, differences, lost=3):
    rng = np.random.default_rng(0)
    for seed, difference in enumerate(differences):
        own = 0.3 + 0.05 * rng.standard_normal()  # seeds differ by more than arms do: pairs see through it
        for arm, shift in zip(("ahead_0", "ahead_1", "streaming"), (0.0, difference, 0.5), strict=True):
            folder = output / f"{arm}-seed{seed}"
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text(yaml.safe_dump({"run": {"steps": 100}}))
            support = {"mode": [{"eps": 1 / 1024, "shrunk": lost}, {"eps": 0.25, "shrunk": 99}]}
            audit = {"step": 100, "pass_at_k": {"1": own + shift, "1024": 0.6}, "support": support}
            (folder / "exact.jsonl").write_text(json.dumps({"step": 0}) + "\n" + json.dumps(audit) + "\n")


@pytest.mark.parametrize(
    ("differences", "expected"),
    [([0.004, -0.004, 0.002, -0.002], True), ([0.03, 0.025, 0.02, 0.022], False), ([0.05, -0.05, 0.04, -0.04], False)],
)
def test_equivalence_is_of_the_paired_differences(tmp_path, capsys, differences, expected):
    runs(tmp_path, differences)
    assert compare_ahead.compare(tmp_path, "ahead_1") is expected
    said = capsys.readouterr().out
    assert f"{np.mean(differences):+.4f}" in said and ("not shown" in said) is not expected
    assert "modes lost    3.0000    3.0000   +0.0000" in said


def test_a_run_that_is_not_finished_is_no_pair(tmp_path):
    runs(tmp_path, [0.0, 0.01])
    (tmp_path / "ahead_1-seed1" / "exact.jsonl").write_text(json.dumps({"step": 40}) + "\n")
    with pytest.raises(InputError, match="1 seeds with ahead_0 and ahead_1 finished"):
        compare_ahead.compare(tmp_path, "ahead_1")
    assert not compare_ahead.compare(tmp_path, "streaming")


def test_its_sweep_is_one(tmp_path, monkeypatch):
    class Done:
        returncode = 0

    monkeypatch.setattr(compare_ahead.subprocess, "run", lambda command: Done())
    compare_ahead.train(tmp_path, seeds=2, steps=5)
    planned = [(c.name, c.seed, c.run.ahead, c.run.steps) for c in load_sweep(tmp_path / "ahead.yaml").configs]
    assert planned == [("ahead_0", 0, 0, 5), ("ahead_1", 0, 1, 5), ("ahead_0", 1, 0, 5), ("ahead_1", 1, 1, 5)]
    streaming = load_sweep(tmp_path / "streaming.yaml").configs
    assert [(c.name, c.rollout.streaming, c.run.max_staleness) for c in streaming] == [("streaming", True, 1)] * 2
