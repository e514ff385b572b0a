#!/usr/bin/env python3
"""Runs that draw ahead (run.ahead=1) are killed in every stage, resumed, and held against one that nobody disturbed.

    python scripts/kill_runs.py                         18 kills over a table of logits: a second each
    python scripts/kill_runs.py --real                  the same on Ray, DeepSpeed and vLLM, with the laboratory's model
    python scripts/kill_runs.py --stages learn write --fractions 0.5

A kill is SIGKILL of the driver, a given share into a stage, as long as that stage took in the steps before: while
completions are drawn (beside the update of the batch before), verified, learnt from, while weights are sent, records
written, a checkpoint saved. Then the run is resumed. Every record, every figure but the times, and the final model have
to be those of the undisturbed run, bit for bit. Exit code 1 where one is not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

STAGES = ("draw", "verify", "learn", "transfer", "write", "checkpoint")
FRACTIONS = (0.1, 0.5, 0.9)
STEPS = 8
FIRST = 3  # the step from which on a kill may come: the stages were timed before
SETTINGS = ("run.ahead=1", f"run.steps={STEPS}", "run.checkpoint_every=2", "run.keep_checkpoints=2")
REAL = (
    *SETTINGS,
    "problems.train=lab:countdown?level=3&split=train&size=24",
    "algorithm.prompts_per_step=4",
    "algorithm.group_size=8",
    "run.evaluate_every=0",
    "run.exact_every=0",
    "verifiers.workers=1",
)
TIMES = ("seconds/", "transfer/", "tokens_per_second")
LIMIT_S = 900


class Killer:
    """Ends this process a share into a stage. told: gets a line that says so."""

    def __init__(self, stage: str, fraction: float, told: Path):
        self.stage, self.fraction, self.told = stage, fraction, told
        self.took_s = 0.0
        self.began_s = 0.0

    def begin(self, trainer: Any) -> None:
        self.began_s = time.perf_counter()
        if trainer.next_step >= FIRST:
            timer = threading.Timer(self.fraction * self.took_s, self.kill, (trainer.next_step,))
            timer.daemon = True
            timer.start()

    def end(self) -> None:
        self.took_s = time.perf_counter() - self.began_s

    def kill(self, step: int) -> None:
        self.told.write_text(f"step {step}, {self.fraction * self.took_s:.3f} s into {self.stage}\n")
        os.kill(os.getpid(), signal.SIGKILL)


def arm(trainer: Any, killer: Killer) -> None:
    """Hangs the killer into its stage."""
    from explore_rl.training.serving import Checks

    places: dict[str, tuple[Any, str]] = {
        "draw": (trainer.actors.engines, "generate"),
        "learn": (trainer.actors.learner, "update"),
        "transfer": (trainer.actors.weights, "send"),
        "write": (trainer.recorder, "_write"),
        "checkpoint": (trainer, "save"),
    }
    if killer.stage == "verify":  # from the first text that is handed on to the last verdict
        _wrap(Checks, "begin", before=lambda: killer.begin(trainer), after=lambda: None)
        _wrap(Checks, "verdicts", before=lambda: None, after=killer.end)
    else:
        owner, name = places[killer.stage]
        _wrap(owner, name, before=lambda: killer.begin(trainer), after=killer.end)


def _wrap(owner: Any, name: str, *, before: Callable[[], None], after: Callable[[], None]) -> None:
    real = getattr(owner, name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        before()
        answer = real(*arguments, **options)
        after()
        return answer

    setattr(owner, name, wrapped)


def train(folder: Path, *, real: bool, killer: Killer | None = None) -> None:
    """The run in `folder`, from its last checkpoint where it has one."""
    from explore_rl.training.trainer import Trainer

    run = Trainer.run

    def armed(self: Trainer, *arguments: Any, **options: Any) -> None:
        if killer is not None:
            arm(self, killer)
        run(self, *arguments, **options)

    Trainer.run = armed
    try:
        if real:
            from explore_rl.config.loading import load_config
            from explore_rl.experiments.runs import run as run_whole

            config = load_config("lab/grpo", [*REAL, "name=killed", f"run.output={folder}"])
            run_whole(config, resume=folder.exists())
        else:
            from explore_rl.testing import digits_config, run_steps

            adam = ("learner.optimizer=adamw", "learner.learning_rate=0.1")
            run_steps(folder, config=digits_config(*SETTINGS, *adam))
    finally:
        Trainer.run = run


def differences(one: Path, other: Path) -> list[str]:
    """What two finished runs have not in common; times apart."""
    found = []
    for step in range(STEPS):
        name = f"rollouts/step-{step:06d}.parquet"
        if not pq.read_table(one / name).equals(pq.read_table(other / name)):
            found.append(name)
    lines = [[json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()] for f in (one, other)]
    kept = [[{k: v for k, v in line.items() if not k.startswith(TIMES)} for line in each] for each in lines]
    if kept[0] != kept[1]:
        found.append("metrics.jsonl")
    for file in sorted((other / "final").glob("*.safetensors")) + sorted((other / "final").glob("*.np*")):
        if file.read_bytes() != (one / "final" / file.name).read_bytes():
            found.append(f"final/{file.name}")
    return found


def in_own_process(folder: Path, *, real: bool, kill: tuple[str, float] | None = None, fork: bool = False) -> int:
    """Trains in a process of its own. Returns its exit code.

    kill: stage and share.
    fork: from this one, which has to be without threads; else a fresh interpreter, which takes seconds to import.
    """
    if fork:
        killer = Killer(*kill, told_of(folder)) if kill else None
        child = multiprocessing.get_context("fork").Process(
            target=train, args=(folder,), kwargs={"real": real, "killer": killer}
        )
        child.start()
        child.join(LIMIT_S)
        assert child.exitcode is not None, f"{folder}: not done within {LIMIT_S} s"
        return child.exitcode
    command = [sys.executable, __file__, "--child", str(folder)] + (["--real"] if real else [])
    if kill:
        command += ["--stages", kill[0], "--fractions", str(kill[1])]
    return subprocess.run(command, stderr=subprocess.DEVNULL, timeout=LIMIT_S).returncode


def killed_and_resumed(folder: Path, *, real: bool, stage: str, fraction: float) -> str:
    """Kills a run, and resumes it. Returns where the kill came. Raises SystemExit where the run was not killed."""
    code = in_own_process(folder, real=real, kill=(stage, fraction), fork=not real)
    if code != -signal.SIGKILL:
        raise SystemExit(f"{stage} at {fraction}: ended with {code}, and not by the kill")
    if (code := in_own_process(folder, real=real, fork=not real)) != 0:
        raise SystemExit(f"{stage} at {fraction}: the resumed run ended with {code}")
    return told_of(folder).read_text().strip()


def told_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.killed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="store_true", help="on real actors")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument(
        "--fractions", nargs="+", type=float, default=FRACTIONS, help="of a stage, at which it is killed"
    )
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        alone = len(args.stages) == 1
        killer = Killer(args.stages[0], args.fractions[0], told_of(args.child)) if alone else None
        train(args.child, real=args.real, killer=killer)
        return 0
    if not args.real:
        import explore_rl.testing  # noqa: F401  before the first fork
    bad = 0
    with tempfile.TemporaryDirectory() as temporary:
        undisturbed = Path(temporary) / "undisturbed"
        if in_own_process(undisturbed, real=args.real, fork=not args.real):
            raise SystemExit("the undisturbed run failed")
        ends = []
        for stage, fraction in itertools.product(args.stages, args.fractions):
            folder = Path(temporary) / f"{stage}-{fraction}"
            where = killed_and_resumed(folder, real=args.real, stage=stage, fraction=fraction)
            print(f"killed at {where}, and resumed", file=sys.stderr, flush=True)
            ends.append((folder, stage, where))
        # Only now, since reading starts threads.
        for folder, stage, where in ends:
            found = differences(folder, undisturbed)
            bad += bool(found)
            print(f"{stage:10} {where:40} {', '.join(found) or 'as undisturbed'}")
    kills = len(args.stages) * len(args.fractions)
    print(f"{kills - bad} of {kills} killed runs end as the undisturbed one, bit for bit")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
