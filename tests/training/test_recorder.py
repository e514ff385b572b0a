"""Records beside the steps: in order, one at a time, complete at a flush, and what goes wrong is not lost."""

import threading

import numpy as np
import pyarrow.parquet as pq
import pytest

from explore_rl.experiments.run_folder import RunFolder
from explore_rl.training.recorder import Recorder
from explore_rl.types import Group, Problem, Request, Rollout, Sample, Status, Verdict

PROBLEM = Problem("p", "", None, "countdown")


def group():
    rollout = Rollout(Request("p", 0, [1, 2], max_tokens=8), [7, 8], "78", "stop", np.array([-0.5, -1.0], np.float32))
    return Group(PROBLEM, [Sample(rollout, Verdict(Status.CORRECT, 1.0), reward=1.0)])


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", "{}\n", environment={})


def test_the_writer_does_not_hold_up_the_step_and_sees_what_was_when_it_was_called(folder, monkeypatch):
    go = threading.Event()
    real = folder.write_rollouts

    def waits(step, table):
        assert go.wait(timeout=30)
        real(step, table)

    monkeypatch.setattr(folder, "write_rollouts", waits)
    kept = group()
    with Recorder(folder) as recorder:
        recorder.write([kept], [], step=0)
        kept.samples[0].reward = 5.0  # as a strategy that replays it may do in the next step
        assert not list((folder.path / "rollouts").iterdir())
        go.set()
        recorder.write([group()], [group()], step=1)
        recorder.flush()
        assert [len(pq.read_table(path)) for path in sorted((folder.path / "rollouts").iterdir())] == [1, 2]
    assert pq.read_table(folder.path / "rollouts" / "step-000000.parquet")["reward"].to_pylist() == [1.0]


@pytest.mark.parametrize("then", ["flush", "write", "leave"])
def test_what_could_not_be_written_is_raised_by_the_next_call(folder, monkeypatch, then):
    def full(step, table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "write_rollouts", full)
    with pytest.raises(OSError, match="No space left"):
        with Recorder(folder) as recorder:
            recorder.write([group()], [], step=0)
            if then == "flush":
                recorder.flush()
            elif then == "write":
                recorder.write([group()], [], step=1)
