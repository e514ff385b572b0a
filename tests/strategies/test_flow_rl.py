"""FlowRL: policy's and log Z's gradients by hand, the clipped weight, GRPO with a share of 0, a head that resumes."""

import math

import pytest
import torch
from one_step import OneStep, drawn
from resuming import goes_on

from analysis.errors import InputError
from explore_rl.strategies.methods.flow_rl import FlowRL, flow_balance
from explore_rl.testing import digits_config, run_steps

SETTINGS = ("algorithm.advantage=dr_grpo", "algorithm.aggregation=sequence")


def test_both_gradients_are_the_ones_by_hand():
    one = OneStep(FlowRL(beta=2.0), [[0.25] * 4], SETTINGS)
    one.learner.heads["log_z"].data[:] = 0.5
    update = one.step([drawn([0], 1), drawn([1], 0)])
    # The brackets are .5 - 2 x .5 = -.5 and .5 + 1 = 1.5.
    assert update.gradient[0] == pytest.approx([-0.75, 1.25, -0.25, -0.25], abs=1e-6)
    assert one.learner.heads["log_z"].grad.tolist() == pytest.approx([1.0], abs=1e-6)
    assert update.report.metrics["flow_balance/loss"] == pytest.approx((0.25 + 2.25) / 2)


def test_length_is_normalised_and_the_weight_is_clipped():
    logprob = torch.tensor([-1.0, -1.0, -1.0, -2.0])
    old, base, reward = logprob - torch.tensor([0.3, 0.3, 0.3, -0.1]), torch.full((4,), -1.5), torch.zeros(4)
    log_z, sequence = torch.tensor([0.5, 9.0, 9.0, 0.5]), torch.tensor([0, 0, 0, 1])  # read at the first token alone
    found = flow_balance(logprob, old, base, reward, log_z, sequence, beta=15.0, clip=0.2)
    assert found[:3].tolist() == pytest.approx([1.2 * (0.5 + 0.5) ** 2] * 3)
    assert found[3].item() == pytest.approx(math.exp(-0.1) * (0.5 - 0.5) ** 2, abs=1e-6)


def test_a_share_of_0_is_grpo_bit_for_bit(tmp_path):
    plain = run_steps(tmp_path / "plain")
    off = run_steps(tmp_path / "off", [FlowRL(share=0.0)])
    assert (off.table == plain.table).all()
    on = run_steps(tmp_path / "on", [FlowRL()], config=digits_config("learner.learning_rate=0.01"))
    assert (on.table != plain.table).any()


def test_the_target_is_reached_on_a_table():
    """Two answers, r = +-.5: at the balance log(p_0 / p_1) = log(q_0 / q_1) + beta, and all brackets are 0."""
    one = OneStep(FlowRL(beta=1.0), [[0.5, 0.3, 0.1, 0.1]], (*SETTINGS, "learner.learning_rate=0.3"))
    for _ in range(120):
        update = one.step([drawn([0], 1), drawn([1], 0)])
    log_p = one.learner.policy.log_probabilities([0])[0]
    assert log_p[0] - log_p[1] == pytest.approx(math.log(0.5 / 0.3) + 1.0, abs=1e-3)
    assert update.report.metrics["flow_balance/loss"] < 1e-6


def test_a_resumed_run_goes_on_as_it_was(tmp_path):
    settings = ("learner.learning_rate=0.05", "algorithm.minibatches=2")
    outcome = goes_on(tmp_path, lambda: [FlowRL(beta=2.0)], settings=settings)
    assert outcome.learner.heads["log_z"].detach().abs().sum() > 0


def test_two_balances_are_refused():
    with pytest.raises(InputError, match="flow_rl balances too"):
        FlowRL().check(digits_config(), [], [FlowRL()])
