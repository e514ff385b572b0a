"""What a comparison takes from the folders of runs: curves of their trainings, and settings in which they differ."""

from __future__ import annotations

import json

import pytest

from explore_rl.config.loading import load_config
from explore_rl.experiments.training_curves import POINTS, differing_settings, training_curves


def run(folder, steps, **settings):
    """A run's folder with one metric a step, and its configuration."""
    folder.mkdir()
    lines = [json.dumps({"step": step, "reward/mean": step / 10, "entropy/token": None}) for step in range(steps)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return load_config("lab/grpo", [f"{name}={value}" for name, value in settings.items()])


def test_curves_are_thinned_to_means_and_settings_beside_the_method_are_found(tmp_path):
    more = {"learner.learning_rate": 1e-5, "algorithm.clip_high": 0.3}
    folders = {
        tmp_path / "a": run(tmp_path / "a", 4, name="a", seed=0),
        tmp_path / "b": run(tmp_path / "b", 2 * POINTS, name="b", seed=1, **more),
        tmp_path / "b2": run(tmp_path / "b2", 4, name="b", seed=2, **more),
    }
    short, long, _ = training_curves(folders)
    assert short["step"] == [0, 1, 2, 3] and short["metrics"] == {"reward/mean": [0.0, 0.1, 0.2, 0.3]}
    assert (long["method"], long["seed"], len(long["step"]), long["step"][0]) == ("b", 1, POINTS, 1)
    assert long["metrics"]["reward/mean"][0] == pytest.approx(0.05)  # of steps 0 and 1
    found = differing_settings(folders)
    assert found["names"] == ["a", "b"]
    by = {row["setting"]: (row["of_method"], row["values"][1]) for row in found["rows"]}
    assert by == {"learner.learning_rate": (False, "1e-05"), "algorithm.clip_high": (True, "0.3")}
