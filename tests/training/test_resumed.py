"""A run that ends early (a crash, a kill, a full disk, Ctrl-C) goes on as if it had never ended."""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from engine_kit import Borrowed, forget_engines
from small_runs import GRPO, MIXTURE, REPOSITORY, SMALL, records, same, small, weights

from analysis.errors import InputError
from explore_rl.cluster.faults import RunStopped
from explore_rl.config.loading import load_config
from explore_rl.learner.learner import Learner

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]


class Killed(RuntimeError):
    pass


WATCHED = ["run.evaluate_every=1", "run.evaluate_samples=2", "run.exact_every=1"]


@pytest.mark.parametrize(
    "settings",
    [
        ["strategies=[{name: diversity_bonus}, {name: trace_injection, which: least_likely}]", *WATCHED],
        [
            "algorithm.minibatches=2",
            "algorithm.epochs=2",
            "learner.schedule=cosine",
            "algorithm.dynamic_sampling_rounds=2",
        ],
        [MIXTURE.replace("share_base", "weight: none, share_base"), "algorithm.importance_cap=null"],
        ["run.ahead=1", "strategies=[{name: diversity_bonus}, {name: trace_injection, which: least_likely}]"],
    ],
    ids=["bonus and traces, watched", "several updates, dynamic sampling", "mixture", "ahead"],
)
def test_resumed_equals_uninterrupted(run, tmp_path, monkeypatch, settings):
    """Ended in step 3, after the checkpoint of step 2; what was written past it is dropped and done again."""
    from explore_rl.training.trainer import Trainer

    whole = run(small(tmp_path, "whole", *settings))
    real = Trainer.step

    def dies_in_step_3(self, number):
        if number == 3:
            raise Killed
        return real(self, number)

    config = small(tmp_path, "broken", *settings)
    monkeypatch.setattr(Trainer, "step", dies_in_step_3)
    with pytest.raises(Killed):
        run(config)
    monkeypatch.undo()
    broken = run(config, resume=True)
    assert same(weights(whole), weights(broken))
    assert [m["step"] for m in records(broken, "metrics.jsonl")] == [0, 1, 2, 3]
    for name in ("evaluations.jsonl", "exact.jsonl"):
        if (whole / name).exists():
            assert records(whole, name) == records(broken, name)
    for step in range(4):
        tables = [pq.read_table(f / "rollouts" / f"step-{step:06d}.parquet").to_pydict() for f in (whole, broken)]
        assert tables[0]["tokens"] == tables[1]["tokens"] and tables[0]["advantage"] == tables[1]["advantage"]


def test_a_run_killed_before_its_first_checkpoint_starts_again_without_a_trace(run, tmp_path, monkeypatch):
    from explore_rl.training.trainer import Trainer

    monkeypatch.setattr(Trainer, "step", lambda self, number: (_ for _ in ()).throw(Killed()))
    config = small(tmp_path, "early", *WATCHED)
    with pytest.raises(Killed):
        run(config)
    monkeypatch.undo()
    folder = run(config, resume=True)
    assert (
        [r["step"] for r in records(folder, "exact.jsonl")]
        == [r["step"] for r in records(folder, "evaluations.jsonl")]
        == [0, 1, 2, 3, 4]
    )


def test_a_finished_run_can_be_made_longer_and_its_final_model_is_the_longer_one(plain, run, tmp_path):
    run(small(tmp_path, "longer", "run.steps=2"))
    assert same(weights(plain), weights(run(small(tmp_path, "longer", "run.steps=4"), resume=True)))


def test_a_run_goes_on_with_the_problems_it_began_with_only(run, tmp_path):
    path = tmp_path / "mine.jsonl"
    line = {"id": "a", "prompt": "1 2 3=6:", "answer": {"numbers": [1, 2, 3], "target": 6}, "verifier": "countdown"}
    path.write_text(json.dumps(line) + "\n")
    config = small(tmp_path, "mine", f"problems.train={path}", "run.steps=1", "algorithm.prompts_per_step=1")
    run(config)
    path.write_text(json.dumps(line | {"prompt": "3 2 1=6:"}) + "\n")
    with pytest.raises(InputError, match="not those that the run"):
        run(config, resume=True)


def command(name, folder):
    return [
        sys.executable,
        "-m",
        "explore_rl.cli",
        "train",
        "configs/lab/grpo.yaml",
        *SMALL,
        f"name={name}",
        f"run.output={folder}",
    ]


def test_a_killed_process_resumes_to_the_weights_of_one_never_interrupted(plain, run, tmp_path):
    """SIGKILL of a real `explore-rl train`, whenever it comes."""
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        command("killed", folder),
        cwd=REPOSITORY,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 240
    while not any((folder / "checkpoints").glob("*/COMPLETE")):
        assert process.poll() is None, process.stderr.read().decode()[-2000:]
        assert time.monotonic() < deadline, "no checkpoint within 240 s"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    process.stderr.close()
    resumed = run(
        load_config(GRPO, [*SMALL, "name=killed", f"run.output={folder}"]),
        resume=True,
    )
    assert same(weights(plain), weights(resumed))
    assert [m["step"] for m in records(resumed, "metrics.jsonl")] == [0, 1, 2, 3]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(plain, run, actors, beside, tmp_path):
    """A file system of 12 MB holds one checkpoint (weights and Adam states: 8 MB), not two. A failing rank is lost."""
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(mount)], capture_output=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
    try:
        config = small(mount, "full")
        learner = Learner(config, beside(ranks=1))
        own = Borrowed(config, learner, actors.engines, verifiers=actors.verifiers, layout=actors.layout)
        actors.learner.apply(forget_engines)
        with pytest.raises(RunStopped, match="the disk is full"):
            run(config, actors=own)
        learner.close()
        subprocess.run(["mount", "-o", "remount,size=100m", str(mount)], check=True)
        assert same(weights(plain), weights(run(config, resume=True)))
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def test_ctrl_c_stops_after_the_step_with_a_checkpoint(run, tmp_path, monkeypatch):
    from explore_rl.training.trainer import Trainer

    real = Trainer.step

    def interrupted(self, number):
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, number)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(small(tmp_path, "stopped", "run.checkpoint_every=100"))
    assert [p.name for p in (tmp_path / "stopped" / "checkpoints").iterdir()] == ["step-000002"]
