import math

import pytest

from explore_rl.config.schema import Config
from explore_rl.learner.optimizer import learning_rate


def rates(**learner):
    config = Config()
    config.run.steps, config.algorithm.minibatches, config.algorithm.epochs = 5, 2, 1  # ten optimizer steps
    config.learner.learning_rate = 1.0
    for key, value in learner.items():
        setattr(config.learner, key, value)
    return [learning_rate(config, step) for step in range(12)]


def test_constant_with_warm_up():
    assert rates(schedule="constant", warmup_steps=4) == [0.25, 0.5, 0.75] + [1.0] * 9
    assert rates(schedule="constant") == [1.0] * 12


def test_linear_ends_at_the_least_rate_after_all_optimizer_steps():
    assert rates(schedule="linear", warmup_steps=2, min_learning_rate=0.2) == pytest.approx(
        [0.5, 1.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.2]
    )


def test_cosine():
    found = rates(schedule="cosine")
    assert found[0] == 1 and found[5] == pytest.approx(0.5) and found[10] == found[11] == pytest.approx(0)
    assert found[2] == pytest.approx((1 + math.cos(math.pi * 0.2)) / 2)
