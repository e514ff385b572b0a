"""PPO: GAE and the value loss by hand, both gradients of a fixed batch, GRPO with a share of 0, a resume."""

import numpy as np
import pytest
import torch
from one_step import OneStep, drawn
from resuming import goes_on

from analysis.errors import InputError
from explore_rl.strategies.base import Strategy
from explore_rl.strategies.builtin.group_advantage import GroupAdvantage
from explore_rl.strategies.methods.ppo import Ppo, gae, value_loss
from explore_rl.strategies.methods.reinforce_pp import ReinforcePP
from explore_rl.strategies.methods.remax import Remax
from explore_rl.testing import digits_config, run_steps

UNIFORM = [[0.25] * 4] * 2


def test_gae_is_the_sum_of_its_definition():
    values, gamma, decay, reward = np.array([0.1, 0.7, 0.2, 0.4]), 0.95, 0.9, 1.0
    after = np.array([0.7, 0.2, 0.4, 0.0])
    deltas = np.array([0, 0, 0, reward]) + gamma * after - values
    by_hand = [sum((gamma * decay) ** (i - t) * deltas[i] for i in range(t, 4)) for t in range(4)]
    assert gae(reward, values, gamma=gamma, gae_lambda=decay) == pytest.approx(by_hand)
    assert gae(reward, values, gamma=1.0, gae_lambda=1.0) == pytest.approx(1 - values)
    assert gae(reward, values, gamma=1.0, gae_lambda=0.0) == pytest.approx([0.6, -0.5, 0.2, 0.6])  # one step ahead


@pytest.mark.parametrize(
    ("value", "clip", "loss", "slope"),
    [
        (0.6, 0.2, 0.08, -0.4),  # within the bounds: (.6 - 1)^2 / 2
        (0.8, 0.2, 0.045, 0.0),  # too far towards the return: the loss of .7, without a pull
        (0.2, 0.2, 0.32, -0.8),  # too far away from it: the unclipped loss is the larger one
        (0.8, float("inf"), 0.02, -0.2),
    ],
)
def test_the_value_loss_by_hand(value, clip, loss, slope):
    new = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    found = value_loss(new, torch.tensor([0.5]).double(), torch.tensor([1.0]).double(), clip=clip)
    (gradient,) = torch.autograd.grad(found.sum(), new)
    assert found.item() == pytest.approx(loss) and gradient.item() == pytest.approx(slope)


def test_both_gradients_are_the_ones_by_hand():
    one = OneStep(Ppo(gamma=0.9, gae_lambda=0.5, whiten=False), UNIFORM)
    one.learner.values.data[:2] = torch.tensor([0.2, 0.4])
    update = one.step([drawn([0, 0], 1), drawn([1, 1], 0)])
    # Advantages are .43, .6 and -.02, -.4; returns .63, 1 and .18, 0.
    assert update.gradient[0] == pytest.approx([-0.081875, 0.030625, 0.025625, 0.025625], abs=1e-6)
    assert one.learner.values.grad.tolist()[:2] == pytest.approx([-0.1025, -0.05], abs=1e-6)
    errors, returns = np.array([0.43, 0.6, -0.02, -0.4]), np.array([0.63, 1.0, 0.18, 0.0])
    assert one.metrics["explained_variance"] == pytest.approx(1 - errors.var() / returns.var())


def test_whitened_advantages_have_mean_0_and_deviation_1():
    one = OneStep(Ppo(), UNIFORM)
    samples = [drawn([0, 0], 1), drawn([1, 1], 0), drawn([2, 1], 0)]
    one.step(samples)
    joined = np.concatenate([s.columns["advantage"] for s in samples])
    assert joined.mean() == pytest.approx(0, abs=1e-6) and joined.std() == pytest.approx(1, abs=1e-6)


def test_a_group_that_failed_as_a_whole_still_teaches():
    update = OneStep(Ppo(whiten=False), UNIFORM).step([drawn([0, 0], 1), drawn([0, 0], 1)])
    assert np.abs(update.gradient).max() > 0.1


def test_a_share_of_0_is_grpo_bit_for_bit(tmp_path):
    plain = run_steps(tmp_path / "plain")
    off = run_steps(tmp_path / "off", [Ppo(share=0.0)])
    assert (off.table == plain.table).all()
    assert off.learner.values.detach().abs().sum() > 0  # the critic learns all the same
    assert off.metrics[0]["signal/groups_without"] == plain.metrics[0]["signal/groups_without"]
    assert (run_steps(tmp_path / "on", [Ppo()]).table != plain.table).any()


def test_a_resumed_run_goes_on_as_it_was(tmp_path):
    settings = ("algorithm.minibatches=2", "learner.critic_learning_rate=0.5")
    outcome = goes_on(tmp_path, lambda: [Ppo()], settings=settings)
    assert outcome.learner.values.detach().abs().sum() > 0


def test_a_critic_that_knows_the_returns_explains_all_of_them():
    """With gamma = .5 the returns of three tokens are .25, .5 and 1, and the table has a value for each position."""
    one = OneStep(Ppo(gamma=0.5), [[0.25] * 4] * 3, ("learner.critic_learning_rate=1.0", "learner.learning_rate=0.0"))
    explained = []
    for _ in range(20):
        one.step([drawn([0, 0, 0], 1), drawn([1, 1, 1], 1)])
        explained.append(one.metrics["explained_variance"])
    assert explained[0] == 0 and explained == sorted(explained) and explained[-1] > 0.99


def test_what_another_writes_token_by_token_stays(tmp_path):
    class Tokens(Strategy):
        def advantage(self, groups, context):
            for sample in (s for group in groups for s in group.samples):
                sample.columns["advantage"] = sample.advantage + np.arange(len(sample.rollout.tokens), dtype=np.float32)

    config = digits_config("run.steps=1")
    alone = run_steps(tmp_path / "alone", [Ppo()], config=config).updates[0].rows
    beside = run_steps(tmp_path / "beside", [Tokens(), Ppo()], config=config).updates[0].rows
    for one, other in zip(alone, beside, strict=True):
        added = other.columns["advantage"] - one.columns["advantage"]
        assert added == pytest.approx(np.arange(len(added)), abs=1e-5)


def test_two_that_make_the_advantages_are_refused():
    with pytest.raises(InputError, match="ppo makes the advantages too"):
        Ppo().check(digits_config(), [], [Ppo()])


def test_while_the_critic_warms_up_the_policy_stays_bit_for_bit(tmp_path):
    config = digits_config("run.steps=4", "learner.critic_learning_rate=0.5")
    outcome = run_steps(tmp_path, [Ppo(critic_warmup=3)], config=config)
    first, *_, last = outcome.updates
    assert not first.gradient.any() and last.gradient.any()
    assert outcome.metrics[2]["update/critic/gradient_norm"] > 0
    assert outcome.metrics[2]["signal/groups_without"] == 0  # neither hopeless nor, for dynamic sampling, to be redrawn
    still = run_steps(tmp_path / "still", [Ppo(critic_warmup=9)], config=config)
    assert (still.table == still.learner.start.logits).all()
    assert still.learner.values.detach().abs().sum() > 0


ALONE = ("algorithm.group_size=1", "rewards.min_group=1")


@pytest.mark.parametrize("strategy", [Ppo(), Remax(), ReinforcePP()])
def test_a_draw_may_be_alone_where_nothing_compares_it(strategy, tmp_path):
    config = digits_config("run.steps=2", "learner.critic_learning_rate=0.5", *ALONE)
    GroupAdvantage().check(config, [], [strategy])
    outcome = run_steps(tmp_path, [strategy], config=config)
    assert len([s for s in outcome.samples(0) if s["source"] == "policy"]) == config.algorithm.prompts_per_step
    assert any(update.gradient.any() for update in outcome.updates)


@pytest.mark.parametrize("others", [[], [Ppo(share=0.5)], [Remax(share=0.0)], [ReinforcePP(baseline="group")]])
def test_a_draw_alone_is_refused_where_it_is_compared(others):
    with pytest.raises(InputError, match=r"group_size=1: a group of one has no baseline.*ppo, remax"):
        GroupAdvantage().check(digits_config(*ALONE), [], others)
    with pytest.raises(InputError, match=r"min_group=1: a group of one has no baseline"):
        GroupAdvantage().check(digits_config("rewards.min_group=1"), [], others)
