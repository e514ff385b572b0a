#!/usr/bin/env python3
"""Whether streaming draws what a synchronous run draws, and whether weights change inside completions meanwhile.

    python scripts/check_streaming.py runs/check_streaming           three runs of 20 steps in the laboratory: minutes
    python scripts/check_streaming.py runs/check_streaming --steps 8 --staleness 2
    python scripts/check_streaming.py runs/check_streaming --steps 8 --kill       an engine is killed in a fourth run

At learning rate 0 all versions of the weights are the same, so that a completion that is drawn across a change has to
be, token for token and log-probability for log-probability, the one that a synchronous run draws from the same seed. A
third run learns: in every step from FIRST on at least one change has to fall inside a completion, and no token may be
older than the bound. With --kill the engine gets SIGKILL in the middle of another run at learning rate 0, while it has
draws: what it had is drawn anew by the one in its place, and is the same. Engines decode few sequences at once
(MAX_NUM_SEQS), so that they still draw when an update ends. Exit code 1 where one of it is not so.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from explore_rl.config.loading import load_config
from explore_rl.config.schema import Config
from explore_rl.experiments.runs import run
from explore_rl.training.actors import Actors
from explore_rl.training.drawing import Batch
from explore_rl.training.trainer import Trainer

RECIPE = str(Path(__file__).resolve().parent.parent / "configs" / "lab" / "grpo.yaml")
STEPS = 20
FIRST = 5  # the step from which on every step has a change inside a completion
MAX_NUM_SEQS = 16
SMALL = (
    "algorithm.prompts_per_step=8",
    "algorithm.group_size=8",
    "run.evaluate_every=0",
    "run.exact_every=0",
    "run.checkpoint_every=1000",
    f"rollout.max_num_seqs={MAX_NUM_SEQS}",
    "verifiers.workers=1",
)
TOKENS = ("seed", "tokens", "logprobs", "verdict", "reward", "advantage")  # of a record, the same in both runs


def config_of(output: Path, name: str, *overrides: str, steps: int) -> Config:
    own = (f"name={name}", f"run.output={output / name}", f"run.steps={steps}")
    return load_config(RECIPE, [*SMALL, *own, *overrides])


def rows(folder: Path, step: int) -> list[dict[str, Any]]:
    return pq.read_table(folder / "rollouts" / f"step-{step:06d}.parquet").to_pylist()


def differing(mine: Path, theirs: Path, *, steps: int) -> list[str]:
    """Samples of two runs that are not the same in TOKENS, a line each."""
    lines = []
    for step in range(steps):
        for place, (a, b) in enumerate(zip(rows(mine, step), rows(theirs, step), strict=True)):
            lines += [f"step {step}, sample {place}: {name}" for name in TOKENS if a[name] != b[name]]
    return lines


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def changed(folder: Path, steps: int) -> list[int]:
    """Completions of each step in whose records stand two versions or more."""
    return [sum(bool(row["version_changes"]) for row in rows(folder, step)) for step in range(steps)]


def run_and_kill(config: Config, actors: Actors) -> Path:
    """The run, whose engine is killed halfway, when a batch is about to be learnt and others are being drawn."""
    judge = Trainer.judge

    def kills(self: Trainer, batch: Batch) -> int:
        if batch.number == config.run.steps // 2:
            os.kill(actors.engines.families["policy"][0].pid, signal.SIGKILL)
        return judge(self, batch)

    Trainer.judge = kills
    try:
        return run(config, actors=actors)
    finally:
        Trainer.judge = judge


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of the runs, which is not there yet")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--staleness", type=int, default=1, help="run.max_staleness")
    parser.add_argument("--kill", action="store_true", help="kill an engine that has draws")
    args = parser.parse_args(arguments)
    if args.output.exists():
        parser.error(f"{args.output}: is there already; name a new folder")
    stream = ("rollout.streaming=true", f"run.max_staleness={args.staleness}")
    still = ("learner.learning_rate=0.0",)
    runs = {
        "synchronous": config_of(args.output, "synchronous", *still, steps=args.steps),
        "streaming": config_of(args.output, "streaming", *still, *stream, steps=args.steps),
        "learning": config_of(args.output, "learning", *stream, steps=args.steps),
    }
    with Actors(runs["streaming"]) as actors:
        folders = {name: run(config, actors=actors) for name, config in runs.items()}
        if args.kill:
            config = config_of(args.output, "killed", *still, *stream, steps=args.steps)
            folders["killed"] = run_and_kill(config, actors)

    good = True
    count = sum(len(rows(folders["synchronous"], step)) for step in range(args.steps))
    print(f"learning rate 0, {args.steps} steps, {count} completions")
    for name in ("streaming", "killed") if args.kill else ("streaming",):
        lines = differing(folders["synchronous"], folders[name], steps=args.steps)
        print(f"{name}: {len(lines)} differ from the synchronous run's")
        for line in lines[:10]:
            print(f"  {line}")
        good &= not lines
    for name in ("streaming", "learning"):
        logged = metrics(folders[name])
        inside = [int(m["streaming/changes_inside"]) for m in logged]
        oldest = max(m["streaming/staleness_max"] for m in logged)
        print(
            f"{name}: changes inside completions by step {inside}; in the records {changed(folders[name], args.steps)}"
        )
        mean = np.mean([m["streaming/staleness_mean"] for m in logged])
        print(f"  tokens at most {oldest:.0f} version(s) old, {mean:.2f} on average")
        good &= oldest <= args.staleness and all(inside[FIRST:])
    print("as it has to be" if good else "NOT as it has to be")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
