"""A sweep in several processes and over several calls: claims, the hash of settings, and the anchor."""

import json
from pathlib import Path

import pytest

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.experiments import anchor, sweeps
from explore_rl.experiments.identity import settings_hash
from explore_rl.experiments.parallel import claimed


class NoActors:
    """Stands for actors that can serve everything."""

    def __init__(self, *_, **__):
        pass

    def serves(self, *_):
        return True

    def close(self):
        pass


@pytest.fixture
def trained(monkeypatch):
    """Names of the runs that were trained, in order; training writes the weights and nothing else."""
    names = []

    def run(config, *, resume=False, actors=None):
        names.append(config.name)
        folder = Path(config.run.output)
        (folder / "final").mkdir(parents=True)
        (folder / "final" / "model.safetensors").write_bytes(trained_weights[0])
        return folder

    trained_weights = [b"weights"]
    monkeypatch.setattr(sweeps, "Actors", NoActors)
    monkeypatch.setattr(sweeps, "run", run)
    return names, trained_weights


def sweep_of(tmp_path, *names, anchored=False):
    configs = [load_config("lab/grpo", [f"name={name}", f"run.output={tmp_path}/{name}-seed0"]) for name in names]
    config = load_config("lab/grpo", [*anchor.FIXED, f"run.output={tmp_path}/.anchor"]) if anchored else None
    return sweeps.Sweep(tmp_path, configs, config)


def test_a_run_that_another_process_has_is_passed_over(tmp_path, trained):
    with claimed(tmp_path / ".b-seed0.lock") as mine:
        assert mine
        folders = sweeps.run_sweep(sweep_of(tmp_path, "a", "b", "c"))
    assert trained[0] == ["a", "c"] and [folder.name for folder in folders] == ["a-seed0", "b-seed0", "c-seed0"]
    with claimed(tmp_path / ".b-seed0.lock") as mine:
        assert mine  # the claim ended with its process


def test_a_board_grows_only_while_its_anchor_gives_the_recorded_weights(tmp_path, trained):
    names, weights = trained
    sweeps.run_sweep(sweep_of(tmp_path, "a", anchored=True))
    sweeps.run_sweep(sweep_of(tmp_path, "b", anchored=True))
    assert names == ["anchor", "a", "anchor", "b"]
    recorded = json.loads((tmp_path / "anchor.json").read_text())
    (tmp_path / "anchor.json").write_text(json.dumps(recorded | {"commit": "1234abcd"}))
    weights[0] = b"other weights"
    with pytest.raises(InputError, match="gives other weights: .* at commit 1234abcd.* at commit ") as refused:
        sweeps.run_sweep(sweep_of(tmp_path, "c", anchored=True))
    assert recorded["weights"] in str(refused.value) and names[-1] == "anchor"


def test_the_hash_of_settings_follows_what_moves_results_and_nothing_else():
    one = settings_hash(load_config("lab/grpo"))
    for same in (["seed=3"], ["name=other", "run.output=elsewhere"], ["run.tracker=tensorboard"]):
        assert settings_hash(load_config("lab/grpo", same)) == one
    for other in ("learner.learning_rate=1.0e-4", "run.steps=301", "strategies=[{name: remax}]"):
        assert settings_hash(load_config("lab/grpo", [other])) != one


def test_a_sweep_names_its_anchor_by_its_recipe(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("anchor: lab/grpo\noutput: out\nruns: [{name: a, recipe: lab/grpo}]\n")
    made = sweeps.load_sweep(file, ["learner.ranks=2", "run.steps=3"]).anchor
    assert made is not None and (made.run.steps, made.learner.ranks, made.run.output) == (20, 2, "out/.anchor")
