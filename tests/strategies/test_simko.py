"""SimKO: a gradient by hand with its top K, GRPO bit for bit when it changes nothing, a resume, what it refuses."""

import pytest
from one_step import OneStep, drawn
from resuming import goes_on

from analysis.errors import InputError
from explore_rl.strategies.methods.simko import SimKO
from explore_rl.testing import digits_config, run_steps

SURE = [0.97, 0.01, 0.01, 0.01]  # little entropy: of two tokens this is the one that does not fork
DR_GRPO = ("algorithm.advantage=dr_grpo",)


def test_the_gradient_is_the_one_by_hand():
    one = OneStep(SimKO(k=2, alpha=0.1, penalty=1.1, quantile=0.5), [[0.5, 0.25, 0.125, 0.125], SURE], DR_GRPO)
    update = one.step([drawn([1, 0], 1), drawn([0, 0], 0)])
    assert update.gradient[0] == pytest.approx([0.125, -0.121875, -0.0015625, -0.0015625], abs=1e-6)
    assert update.gradient[1] == pytest.approx(0, abs=1e-9)  # a success and a failure with one token
    assert one.metrics["forks"] == 0.5


def test_a_failure_that_was_not_the_likeliest_is_pushed_as_ever():
    one = OneStep(SimKO(alpha=0.0, penalty=1.1, quantile=0.5), [[0.5, 0.25, 0.125, 0.125], SURE], DR_GRPO)
    update = one.step([drawn([0, 0], 1), drawn([1, 0], 0)])
    assert update.gradient[0] == pytest.approx([-0.125, 0.125, 0, 0], abs=1e-6)


def test_without_shares_and_penalty_it_is_grpo_bit_for_bit(tmp_path):
    config = digits_config("run.steps=3", "algorithm.minibatches=2")
    plain = run_steps(tmp_path / "plain", config=config)
    off = run_steps(tmp_path / "off", [SimKO(alpha=0.0, penalty=1.0)], config=config)
    assert (off.table == plain.table).all()
    on = run_steps(tmp_path / "on", [SimKO(alpha=0.1, quantile=0.5)], config=config)
    assert (on.table != plain.table).any()


def test_a_resumed_run_goes_on_as_it_was(tmp_path):
    goes_on(tmp_path, lambda: [SimKO(alpha=0.1, quantile=0.5)])


def test_more_candidates_than_a_top_has_are_refused():
    with pytest.raises(ValueError, match="k=100: expected a whole number from 1 to 64"):
        SimKO(k=100)


def test_another_loss_is_refused():
    config = digits_config()
    config.algorithm.loss = "another"
    with pytest.raises(InputError, match="clipped loss"):
        SimKO().check(config, [], [])
