#!/usr/bin/env python3
"""Whether drawing ahead harms what is learnt: GRPO with run.ahead 0, 1 and streaming in the laboratory, by seed.

    python scripts/compare_ahead.py runs/ahead --train                       8 seeds x 100 steps an arm: hours
    python scripts/compare_ahead.py runs/ahead --train --seeds 3 --steps 40
    python scripts/compare_ahead.py runs/ahead                               what is there

All arms of a seed see the same problems in the same order. From the exact audit after the last step, each arm against
run.ahead=0: pass@1 is equivalent if two one-sided t tests of the paired differences, at 5 % each, put them within
MARGIN of each other (that is a 90 % interval within it). pass@1024, and modes that the base had at 1/1024 and the run
lost, with 95 % intervals. Engines of the streaming arm decode fewer sequences at once, so that they still draw when an
update ends; what they draw does not depend on it. Exit code 1 where an arm's pass@1 is not shown to be equivalent.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import stats

from analysis.errors import InputError

RECIPE = Path(__file__).resolve().parent.parent / "configs" / "lab" / "grpo.yaml"
MARGIN = 0.02  # of pass@1
# The sweeps, and the overrides of each arm; the runs of a sweep share their actors.
SWEEPS = {
    "ahead": {"ahead_0": ["run.ahead=0"], "ahead_1": ["run.ahead=1"]},
    "streaming": {"streaming": ["rollout.streaming=true", "run.max_staleness=1", "rollout.max_num_seqs=32"]},
}
BASE, *OTHERS = [arm for arms in SWEEPS.values() for arm in arms]
SEEDS = 8
STEPS = 100


def train(output: Path, *, seeds: int, steps: int) -> None:
    """Runs that are missing. Raises SystemExit where a sweep fails."""
    output.mkdir(parents=True, exist_ok=True)
    for name, arms in SWEEPS.items():
        sweep = {
            "output": str(output),
            "seeds": list(range(seeds)),
            "overrides": [f"run.steps={steps}", f"run.exact_every={steps}", "run.evaluate_every=0"],
            "runs": [{"name": arm, "recipe": str(RECIPE), "overrides": own} for arm, own in arms.items()],
        }
        recipe = output / f"{name}.yaml"
        recipe.write_text(yaml.safe_dump(sweep))
        command = [sys.executable, "-m", "explore_rl.cli", "sweep", str(recipe), "--no-compare"]
        if code := subprocess.run(command).returncode:
            raise SystemExit(code)


def audits(output: Path, arm: str) -> dict[int, dict[str, Any]]:
    """seed -> the last exact audit of a finished run."""
    found = {}
    for folder in sorted(output.glob(f"{arm}-seed*")):
        lines = (folder / "exact.jsonl").read_text().splitlines() if (folder / "exact.jsonl").exists() else []
        last = json.loads(lines[-1]) if lines else {"step": -1}
        steps = yaml.safe_load((folder / "config.yaml").read_text())["run"]["steps"]
        if last["step"] == steps:
            found[int(folder.name.rpartition("seed")[2])] = last
    return found


def modes_lost(audit: dict[str, Any]) -> float:
    return float(next(row["shrunk"] for row in audit["support"]["mode"] if row["eps"] == 1 / 1024))


FIGURES: dict[str, Callable[[dict[str, Any]], float]] = {
    "pass@1": lambda audit: audit["pass_at_k"]["1"],
    "pass@1024": lambda audit: audit["pass_at_k"]["1024"],
    "modes lost": modes_lost,
}


def interval(differences: np.ndarray, confidence: float) -> tuple[float, float]:
    """Of the mean of paired differences, by Student's t.

    >>> [round(end, 3) for end in interval(np.array([-0.01, 0.0, 0.01]), 0.9)]
    [-0.017, 0.017]
    """
    n = len(differences)
    reach = stats.t.ppf((1 + confidence) / 2, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    return float(differences.mean() - reach), float(differences.mean() + reach)


def compare(output: Path, arm: str) -> bool:
    """Prints an arm's table. Returns whether pass@1 is equivalent. Raises InputError for fewer than two pairs."""
    base, ahead = (audits(output, name) for name in (BASE, arm))
    seeds = sorted(base.keys() & ahead.keys())
    if len(seeds) < 2:
        raise InputError(
            f"{output}: {len(seeds)} seeds with {BASE} and {arm} finished; expected at least 2 (see --train)"
        )
    print(f"{len(seeds)} seeds; {BASE}, {arm}, and {arm} less {BASE}, paired")
    for name, figure in FIGURES.items():
        of_base, of_ahead = (np.array([figure(arm[seed]) for seed in seeds]) for arm in (base, ahead))
        low, high = interval(of_ahead - of_base, 0.95)
        difference = float((of_ahead - of_base).mean())
        print(
            f"  {name:10} {of_base.mean():9.4f} {of_ahead.mean():9.4f} {difference:+9.4f} ({low:+.4f} to {high:+.4f})"
        )
    first = FIGURES["pass@1"]
    low, high = interval(np.array([first(ahead[seed]) - first(base[seed]) for seed in seeds]), 0.9)
    equivalent = -MARGIN < low and high < MARGIN
    word = "equivalent" if equivalent else "not shown to be equivalent"
    print(f"  pass@1 is {word} within {MARGIN} (90 % interval {low:+.4f} to {high:+.4f})")
    return equivalent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of the runs")
    parser.add_argument("--train", action="store_true", help="make the runs that are missing")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    if args.train:
        train(args.output, seeds=args.seeds, steps=args.steps)
    try:
        equivalent = [compare(args.output, arm) for arm in OTHERS]
        return 0 if all(equivalent) else 1
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
