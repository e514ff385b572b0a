#!/usr/bin/env python
"""What the start of a training run costs, in wall and CPU seconds of all processes, stage by stage.

    python scripts/measure_start.py                       this tree, three starts
    python scripts/measure_start.py OTHER --rounds 5      this tree and another (a `git worktree`), in turns

A start ends when engine and learner have been found to agree, just before the first batch is drawn. It is that of the
laboratory's GRPO recipe, with one engine and one rank. CPU seconds are of the run's own control group, daemons
included, as in `measure_suite.py`; without one they are there at the end of the whole run alone, which has two small
steps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure_suite import Meter, meter

HERE = Path(__file__).resolve().parents[1]
COMMAND = "import sys; from explore_rl.cli import main; sys.exit(main())"
SETTINGS = (
    "run.steps=2",
    "run.evaluate_every=0",
    "run.exact_every=0",
    "algorithm.prompts_per_step=2",
    "algorithm.group_size=4",
)
STARTED = "engine and learner agree"


def start(tree: Path, used: Meter, *, output: Path) -> tuple[float, float]:
    """(wall, CPU) seconds of one start with the code of `tree`; prints its stages."""
    recipe = tree / "configs/lab/grpo.yaml"
    command = [sys.executable, "-c", COMMAND, "train", str(recipe), *SETTINGS, f"run.output={output}"]
    environment = os.environ | {
        "PYTHONPATH": str(tree)
    }  # behind the folder that it is called in, which is the tree too
    began, before = time.monotonic(), used.seconds()
    at_start: tuple[float, float] | None = None
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=environment,
        cwd=tree,
        preexec_fn=used.enter,
    ) as run:
        assert run.stderr is not None
        said = []
        for line in run.stderr:
            said.append(line)
            spent = time.monotonic() - began, used.seconds() - before
            if at_start is None and "explore_rl" in line:
                print(f"  {spent[0]:6.1f} s wall {spent[1]:6.1f} s CPU  {line.strip()[:90]}", flush=True)
            if STARTED in line:
                at_start = spent
    if run.returncode or at_start is None:
        sys.exit(f"{tree}: the run failed with exit code {run.returncode}:\n{''.join(said[-20:])}")
    if "control group" in used.way:
        return at_start
    return at_start[0], used.seconds() - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "other", nargs="?", type=Path, help="another checkout of this project, measured beside this one"
    )
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    trees = {"this tree": HERE} | ({str(args.other): args.other.resolve()} if args.other else {})
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in trees}
    with tempfile.TemporaryDirectory() as folder, meter() as used:
        for i in range(args.rounds):
            for j, (name, tree) in enumerate(trees.items()):
                print(f"{name}, start {i + 1}", flush=True)
                spent[name].append(start(tree, used, output=Path(folder) / f"run-{i}-{j}"))
    for name, rounds in spent.items():
        wall, cpu = (statistics.median(values) for values in zip(*rounds, strict=True))
        print(f"{name}: {wall:.1f} s wall, {cpu:.1f} CPU seconds (medians of {args.rounds}; counted by {used.way})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
