"""Wall time of a sweep's runs one after the other and two at once: four runs of 60 steps of GRPO in the laboratory.

    python scripts/benchmark_sweep.py [--runs 4] [--steps 60] [--parallel 2]

Both sides train the same seeds, and have to end with the same weights. Starting actors counts.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from explore_rl.experiments.identity import weights_hash

SWEEP = "output: unset\nruns: [{name: grpo, recipe: lab/grpo}]\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--parallel", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "sweep.yaml"
        file.write_text(SWEEP)
        weights = {}
        for processes in (1, args.parallel):
            output = Path(scratch) / f"by-{processes}"
            words = ["sweep", str(file), f"run.steps={args.steps}", "run.evaluate_every=0", "run.exact_every=0"]
            words += ["--no-compare", "--output", str(output), "--parallel", str(processes)]
            words += ["--seeds", *map(str, range(args.runs))]
            began = time.monotonic()
            subprocess.run([sys.executable, "-m", "explore_rl.cli", *words], check=True, timeout=7200)
            seconds = time.monotonic() - began
            print(f"{args.runs} runs of {args.steps} steps, {processes} at once: {seconds:.0f} s", flush=True)
            weights[processes] = [weights_hash(folder / "final") for folder in sorted(output.glob("grpo-seed*"))]
        same = len({tuple(hashes) for hashes in weights.values()}) == 1
        print(f"the same weights either way: {'yes' if same else 'no'}")
        return int(not same)


if __name__ == "__main__":
    sys.exit(main())
