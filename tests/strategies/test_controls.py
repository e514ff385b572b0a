"""A random reward: what is learnt from depends on a coin of the run's own, and on no verdict."""

import numpy as np

from explore_rl.strategies.checks import check_strategy
from explore_rl.strategies.controls import RandomReward
from explore_rl.testing import digits_config, run_steps


def test_it_is_active_off_and_resumed_as_it_claims():
    assert check_strategy(RandomReward).ok


def test_rewards_are_coins_whatever_is_right(tmp_path):
    outcome = run_steps(tmp_path, [RandomReward(chance=0.25)], config=digits_config("run.steps=2"))
    samples = [s for step in range(2) for s in outcome.samples(step)]
    rewards = np.array([s["reward"] for s in samples])
    right = np.array([s["verdict"] == "correct" for s in samples])
    assert set(rewards) == {0.0, 1.0} and abs(rewards.mean() - 0.25) < 4 * (0.1875 / len(rewards)) ** 0.5
    for side in (rewards[right], rewards[~right]):  # neither follows the verdict
        assert 0 < side.mean() < 0.6
