"""What is refused before the first step, so that a run can be gone on with."""

from types import SimpleNamespace

import pytest

from analysis.errors import InputError
from explore_rl.config.loading import load_config, to_yaml
from explore_rl.experiments.resuming import refuse_other_checkpoints, refuse_other_settings
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.experiments.runs import refuse_unshared


@pytest.fixture
def began(tmp_path):
    """began(overrides, step): the folder of a run with these settings and a checkpoint after `step` steps."""

    def make(*overrides, step=4):
        folder = RunFolder.create(tmp_path / "run", to_yaml(load_config(None, list(overrides))), environment={})
        if step:
            folder.complete_checkpoint(step, folder.begin_checkpoint(step), keep=1)
        return folder

    return make


@pytest.mark.parametrize(
    ("first", "then", "jump"), [(4, 8, "from 0 to 0.0005"), (8, 5, "from 0.0005 to 9.5e-05")], ids=["longer", "shorter"]
)
def test_a_falling_schedule_gets_no_other_end_on_the_way(began, first, then, jump):
    schedule = ("learner.schedule=cosine", "learner.learning_rate=1e-3")
    folder = began(*schedule, f"run.steps={first}")
    with pytest.raises(InputError) as caught:
        refuse_other_settings(load_config(None, [*schedule, f"run.steps={then}"]), folder)
    said = str(caught.value)
    assert "\n" not in said and f"run.steps was {first} and is now {then}" in said
    assert f"would jump {jump}; go on with run.steps={first}" in said and f"model.path={folder.path / 'final'}" in said


def test_a_constant_rate_goes_on_for_as_long_as_one_likes(began):
    refuse_other_settings(load_config(None, ["run.steps=8"]), began("run.steps=4"))


def test_without_a_checkpoint_the_new_schedule_is_the_whole_one(began):
    folder = began("learner.schedule=linear", "run.steps=4", step=0)
    refuse_other_settings(load_config(None, ["learner.schedule=linear", "run.steps=8"]), folder)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_folder_that_a_rank_does_not_see_is_refused(began, is_new, monkeypatch):
    """Two ranks, the second on a node whose disk is its own."""
    monkeypatch.setattr("explore_rl.files.VISIBLE_S", 0.0)
    folder = began()

    def on_two_nodes(function, path):
        return [function(None, path), function(None, path.parent / "elsewhere" / path.name)]

    with pytest.raises(InputError, match="learner rank 1 cannot see this folder.*a file system that all nodes share"):
        refuse_unshared(SimpleNamespace(apply=on_two_nodes), folder, is_new=is_new)
    assert folder.path.exists() != is_new
    if not is_new:
        assert not list(folder.path.glob(".shared-*"))


def test_a_folder_that_all_ranks_see_is_left_as_it_was(began):
    folder = began()
    before = sorted(folder.path.iterdir())
    refuse_unshared(SimpleNamespace(apply=lambda function, path: [function(None, path)] * 2), folder, is_new=True)
    assert sorted(folder.path.iterdir()) == before


def test_a_run_that_lost_its_checkpoints_is_not_begun_again_over_its_records(tmp_path):
    config, folder = small_run(tmp_path, records=12)
    with pytest.raises(InputError, match="12 steps are recorded, and there is no complete checkpoint"):
        refuse_other_checkpoints(config, folder)
    config, folder = small_run(tmp_path / "killed before the first one", records=10)
    config.run.checkpoint_every = 5  # from now on
    refuse_other_checkpoints(config, folder)
    config, folder = small_run(tmp_path / "never finite", records=12)
    folder.append("metrics.jsonl", {"step": 12, "update/skipped": 1.0})
    refuse_other_checkpoints(config, folder)


def test_a_run_is_not_resumed_to_fewer_steps_than_it_has_made(tmp_path):
    config, folder = small_run(tmp_path, records=30)
    folder.complete_checkpoint(30, folder.begin_checkpoint(30), keep=2)
    with pytest.raises(InputError, match="run.steps=20: the run has made 30 steps already"):
        refuse_other_checkpoints(config, folder)


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff\xfe", None], ids=str)
def test_damaged_files_of_a_run_are_named(tmp_path, text):
    _, folder = small_run(tmp_path, records=1)
    (folder.path / "environment.json").unlink()
    if text is not None:
        (folder.path / "environment.json").write_bytes(text)
        (folder.path / "metrics.jsonl").write_bytes(b'{"step": 0}\n' + text + b"\n")
        with pytest.raises(InputError, match="metrics.jsonl, line 2: damaged"):
            folder.records("metrics.jsonl")
    with pytest.raises(InputError, match=r"environment\.json: (damaged|cannot be read)"):
        folder.environment()


def small_run(path, *, records):
    config = load_config("lab/grpo", ["run.steps=20", "run.checkpoint_every=10", f"run.output={path}"])
    folder = RunFolder.create(path, to_yaml(config), environment={})
    for step in range(records):
        folder.append("metrics.jsonl", {"step": step})
    return config, folder
