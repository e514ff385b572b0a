"""A run's folder survives a kill at any moment: checkpoints are complete or not there, records hold no step twice."""

import json

import pyarrow as pa
import pytest

from analysis.errors import InputError
from explore_rl.experiments.run_folder import MARK, RunFolder, environment


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", "name: x\n", environment={"seed": 0})


def checkpoint(folder, step, keep=2):
    aside = folder.begin_checkpoint(step)
    (aside / "state.json").write_text(json.dumps({"step": step}))
    folder.complete_checkpoint(step, aside, keep=keep)


def test_a_folder_that_holds_a_run_is_not_overwritten(folder):
    (folder.path / "rollouts" / "step-000000.parquet").write_text("half a step")
    RunFolder.create(folder.path, "name: y\n", environment={})  # no step was ever made: nothing is lost
    assert (folder.path / "config.yaml").read_text() == "name: y\n"
    assert not list((folder.path / "rollouts").iterdir())
    folder.append("metrics.jsonl", {"step": 0})
    with pytest.raises(InputError, match="go on with explore-rl resume"):
        RunFolder.create(folder.path, "", environment={})
    with pytest.raises(InputError, match="no run to resume"):
        RunFolder.open(folder.path / "elsewhere")


def test_only_the_last_complete_checkpoints_are_kept(folder):
    for step in (10, 20, 30):
        checkpoint(folder, step)
    assert folder.checkpoints() == [20, 30]


def test_a_checkpoint_that_was_being_written_does_not_exist(folder):
    checkpoint(folder, 10)
    (folder.begin_checkpoint(20) / "state.json").write_text("{}")  # killed here
    assert folder.checkpoints() == [10]
    folder.rewind(10)
    assert sorted(p.name for p in (folder.path / "checkpoints").iterdir()) == ["step-000010"]


def test_a_checkpoint_being_removed_is_no_longer_complete(folder):
    for step in (10, 20):
        checkpoint(folder, step)
    (folder.checkpoint_path(10) / MARK).unlink()  # killed between unmarking and deleting
    assert folder.checkpoints() == [20]


def test_rewinding_drops_what_lies_past_the_checkpoint_and_half_lines(folder):
    for step in range(5):
        folder.append("metrics.jsonl", {"step": step})
        folder.write_rollouts(step, pa.table({"step": [step]}))
    for step in (0, 2, 4):
        folder.append("exact.jsonl", {"step": step})
    with open(folder.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 5, "rew')  # killed in the middle of a line
    folder.rewind(2)
    assert [r["step"] for r in folder.records("metrics.jsonl")] == [0, 1]
    assert [r["step"] for r in folder.records("exact.jsonl")] == [0, 2]  # after two steps: belongs to the checkpoint
    assert sorted(p.name for p in (folder.path / "rollouts").iterdir()) == [
        "step-000000.parquet",
        "step-000001.parquet",
    ]


def test_the_environment_names_versions_commit_and_seed():
    found = environment(7, "cpu")
    assert found["seed"] == 7 and "numpy" in found["versions"] and set(found) >= {"commit", "machine", "command"}


def test_without_a_checkpoint_everything_is_done_again(folder):
    folder.append("exact.jsonl", {"step": 0})
    folder.rewind(0)
    assert folder.records("exact.jsonl") == []
