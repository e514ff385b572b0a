"""RS-GRPO: the family's numbers, a gradient by hand, Dr. GRPO at beta = 0, and what it refuses."""

import math

import numpy as np
import pytest
from one_step import OneStep, drawn
from resuming import goes_on

from analysis.errors import InputError
from explore_rl.strategies.methods.rs_grpo import RsGrpo, family
from explore_rl.strategies.methods.soft_overlong import SoftOverlong
from explore_rl.testing import digits_config, run_steps

UNIFORM = [[0.25] * 4]
ALL = np.ones(8, dtype=bool)


@pytest.mark.parametrize(
    ("beta", "right", "expected"),
    [
        (0, 1, (0.875, -0.125)), (0, 2, (0.75, -0.25)), (0, 4, (0.5, -0.5)), (0, 7, (0.125, -0.875)),
        (2, 1, (1.5541, -0.2220)), (2, 2, (0.9225, -0.3075)), (2, 4, (0.3808, -0.3808)), (2, 7, (0.0606, -0.4241)),
        (math.inf, 1, (7, -1)), (math.inf, 2, (3, -1)), (math.inf, 4, (1, -1)), (math.inf, 7, (1 / 7, -1)),
    ],
)  # fmt: skip
def test_the_numbers_of_the_family(beta, right, expected):
    found = family(np.array([1.0] * right + [0.0] * (8 - right)), ALL, beta=beta)
    assert found[[0, -1]] == pytest.approx(expected, abs=5e-5)


def test_its_limits_are_dr_grpo_and_maxrl():
    rewards = np.array([1.0, 1, 1, 0, 0, 0, 0, 0])
    assert family(rewards, ALL, beta=1e-7) == pytest.approx(family(rewards, ALL, beta=0), abs=1e-6)
    assert 500 * family(rewards, ALL, beta=500) == pytest.approx(family(rewards, ALL, beta=math.inf))


@pytest.mark.parametrize(("all_wrong", "order"), [(False, 3), (True, 4)])
def test_the_order_of_maxrl(all_wrong, order):
    """Exact expectation over groups of 4: the gradient is p' times sum_{k <= order} (1 - p)^(k - 1)."""
    p, n, total = 0.02, 4, 0.0
    for right in range(n + 1):
        chance = math.comb(n, right) * p**right * (1 - p) ** (n - right)
        values = family(np.array([1.0] * right + [0.0] * (n - right)), ALL[:n], beta=math.inf, all_wrong=all_wrong)
        scores = np.array([1 / p] * right + [-1 / (1 - p)] * (n - right))  # d log pi / dp of a right, a wrong one
        total += chance * (values * scores).mean()
    assert total == pytest.approx(sum((1 - p) ** (k - 1) for k in range(1, order + 1)))


@pytest.mark.parametrize(
    ("strategy", "right", "expected"),
    [
        (RsGrpo(beta=2), 2, [-0.230617, 0.230617, 0, 0]),
        (RsGrpo(beta=math.inf), 2, [-0.75, 0.75, 0, 0]),
        (RsGrpo(beta=math.inf, all_wrong=True), 0, [-0.25, 0.75, -0.25, -0.25]),
    ],
)
def test_the_gradient_is_the_one_by_hand(strategy, right, expected):
    samples = [drawn([0], 1) for _ in range(right)] + [drawn([1], 0) for _ in range(8 - right)]
    assert OneStep(strategy, UNIFORM).step(samples).gradient[0] == pytest.approx(expected, abs=1e-6)


def test_beta_0_is_dr_grpo_bit_for_bit(tmp_path):
    plain = run_steps(tmp_path / "plain", config=digits_config("algorithm.advantage=dr_grpo"))
    assert (run_steps(tmp_path / "off", [RsGrpo(beta=0)]).table == plain.table).all()
    assert (run_steps(tmp_path / "on", [RsGrpo(beta=2)]).table != plain.table).any()


def test_a_resumed_run_goes_on_as_it_was(tmp_path):
    goes_on(tmp_path, lambda: [RsGrpo(beta=math.inf, all_wrong=True)])


def test_what_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least 0"):
        OneStep(RsGrpo(beta=math.inf), UNIFORM).step([drawn([0], 1), drawn([1], -1)])
    with pytest.raises(ValueError, match="no effect with beta=2"):
        RsGrpo(beta=2, all_wrong=True)
    with pytest.raises(ValueError, match="beta"):
        RsGrpo(beta=-1)
    for setting in ("algorithm.advantage=rloo", "algorithm.divide_by_std=true"):
        with pytest.raises(InputError, match="no effect beside rs_grpo"):
            OneStep(RsGrpo(), UNIFORM, (setting,))
    with pytest.raises(InputError, match="kl_place=loss"):
        settings = ("algorithm.kl=k1", "algorithm.kl_coefficient=0.1", "algorithm.kl_place=reward")
        OneStep(RsGrpo(beta=math.inf), UNIFORM, settings)
    with pytest.raises(InputError, match="give nothing under rewards a number below 0"):
        RsGrpo(beta=math.inf).check(digits_config("rewards.no_answer=-1"), [], [])
    with pytest.raises(InputError, match="leave out soft_overlong"):
        RsGrpo(beta=math.inf).check(digits_config(), [], [SoftOverlong(buffer=1)])
