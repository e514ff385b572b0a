#!/usr/bin/env python
"""What the probe after every transfer costs a step of the laboratory, in wall seconds.

    python scripts/measure_parity.py                 300 steps of the GRPO recipe, every other one without the probe
    python scripts/measure_parity.py --steps 60      a quick look

The probe (explore_rl/training/parity.py) has engine and learner score fixed sequences, partly while the driver does
something else. So both is printed: what the driver waits for, and how much longer a step takes as a whole. Steps become
shorter as the model learns, so that each is compared with the mean of its neighbours; the interval is of the median of
these differences, by the bootstrap.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np

from explore_rl.config.loading import load_config
from explore_rl.experiments.preflight import check
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.experiments.runs import old_objects_left_alone
from explore_rl.strategies.base import needs_of
from explore_rl.training.actors import Actors, models_of
from explore_rl.training.trainer import Trainer

RECIPE = Path(__file__).resolve().parents[1] / "configs/lab/grpo.yaml"
WARM = 4  # first steps, which are slower


def steps_of(config_settings: list[str], steps: int) -> list[dict[str, float]]:
    """The metrics of each step. Those of odd number are made without the probe."""
    config = load_config(RECIPE, config_settings)
    inputs = check(config, resume=False, allowed=())
    needs = needs_of(inputs.strategies, config)
    found = []
    with Actors(config, base_engine=needs.base_engine, models=models_of(needs)) as actors:
        trainer = Trainer(
            config,
            inputs.training,
            evaluations=[],
            strategies=inputs.strategies,
            actors=actors,
            folder=RunFolder.create(Path(config.run.output), "{}\n", environment={}),
        )
        trainer.start()
        sequences = trainer.parity.sequences
        print(f"{len(sequences)} sequences of {sum(len(tokens) for tokens, _ in sequences)} tokens together")
        with trainer.recorder, old_objects_left_alone():
            for number in range(steps):
                trainer.parity.sequences = sequences if number % 2 == 0 else []
                found.append(trainer.step(number))
                trainer.next_step += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("settings", nargs="*", help="key=value, as of explore-rl train")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # One step more than is made: the last would be evaluated.
        own = [f"run.output={folder}/run", f"run.steps={args.steps + 1}", "run.evaluate_every=0", "run.exact_every=0"]
        metrics = steps_of(own + args.settings, args.steps)[WARM:]
    seconds = [m["seconds/step"] for m in metrics]
    waited = [m["seconds/parity"] for m in metrics[::2]]
    # Each step with the probe against the two without it beside it.
    inner = range(2, len(seconds) - 1, 2)
    more = np.array([seconds[i] - (seconds[i - 1] + seconds[i + 1]) / 2 for i in inner])
    rng = np.random.default_rng(0)
    low, high = np.quantile(np.median(rng.choice(more, (2000, len(more))), axis=1), [0.025, 0.975])
    step = statistics.median(seconds[1::2])
    print(f"a step without the probe: {1e3 * step:.0f} ms (median of {len(seconds[1::2])})")
    print(f"waited for the probe: {1e3 * statistics.median(waited):.1f} ms, {statistics.median(waited) / step:.1%}")
    print(
        f"a step with it is longer by {1e3 * np.median(more):.1f} ms [{1e3 * low:.1f}, {1e3 * high:.1f}],"
        f" {np.median(more) / step:.1%} [{low / step:.1%}, {high / step:.1%}]"
    )


if __name__ == "__main__":
    main()
