"""The recipe of the six algorithms holds what its page says: six methods, three seeds, and one difference each."""

import dataclasses
from pathlib import Path

from explore_rl.experiments.sweeps import load_sweep

# What the page lists for each method; everything else is the same in all runs.
DIFFERS = {
    "ppo": {"strategies", "learner.critic_learning_rate"},
    "grpo": set(),
    "reinforce_pp": {"strategies"},
    "rloo": {"algorithm.advantage"},
    "remax": {"strategies"},
    "dapo": {"strategies", "algorithm.clip_high", "algorithm.dynamic_sampling_rounds"},
}
OF_A_RUN = {"name", "seed", "run.output"}


def flat(value, prefix=""):
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, inner in value.items() for k, v in flat(inner, f"{prefix}.{key}" if prefix else key).items()}


def test_six_methods_three_seeds_and_one_difference_each():
    configs = load_sweep(Path("lab/six_algorithms")).configs
    assert {(c.name, c.seed) for c in configs} == {(name, seed) for name in DIFFERS for seed in (0, 1, 2)}
    settings = {(c.name, c.seed): flat(dataclasses.asdict(c)) for c in configs}
    for (name, seed), one in settings.items():
        grpo = settings["grpo", seed]
        assert {key for key in one | grpo if one.get(key) != grpo.get(key)} - OF_A_RUN == DIFFERS[name], name
    for seed in (1, 2):
        one, first = settings["grpo", seed], settings["grpo", 0]
        assert {key for key in one if one[key] != first[key]} == {"seed", "run.output"}
