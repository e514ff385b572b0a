"""What papers say about the objectives, checked by exact enumeration or by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from explore_rl.objectives import advantages, corrections, divergences, losses
from explore_rl.objectives.normalisers import row_weights

# --- divergences: the gradient of an estimator used as a loss (exact expectation over a categorical policy) -----------


def policy_and_reference(seed=0, size=7):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_()
    return logits, torch.log_softmax(torch.randn(size, generator=generator, dtype=torch.float64), 0)


def gradient_as_loss(estimator):
    """E over draws from the policy of grad estimator(log pi(y), log ref(y)), the draws being data."""
    logits, reference = policy_and_reference()
    logprob = torch.log_softmax(logits, 0)
    [gradient] = torch.autograd.grad((logprob.exp().detach() * estimator(logprob, reference)).sum(), logits)
    return gradient


def gradient_of_divergence(forward):
    logits, reference = policy_and_reference()
    logprob = torch.log_softmax(logits, 0)
    p, q = (reference, logprob) if forward else (logprob, reference)
    [gradient] = torch.autograd.grad((p.exp() * (p - q)).sum(), logits)
    return gradient


def test_k1_in_the_loss_has_no_gradient():
    assert gradient_as_loss(divergences.k1).abs().max() < 1e-15


def test_k2_in_the_loss_has_the_gradient_of_the_reverse_divergence():
    torch.testing.assert_close(gradient_as_loss(divergences.k2), gradient_of_divergence(forward=False))


def test_k3_in_the_loss_has_the_gradient_of_the_forward_divergence():
    torch.testing.assert_close(gradient_as_loss(divergences.k3), gradient_of_divergence(forward=True))


@pytest.mark.parametrize("name", ["k1", "k3"])
def test_k1_and_k3_are_unbiased(name):
    logits, reference = policy_and_reference()
    logprob = torch.log_softmax(logits.detach(), 0)
    exact = (logprob.exp() * (logprob - reference)).sum()
    estimate = (logprob.exp() * getattr(divergences, name)(logprob, reference)).sum()
    torch.testing.assert_close(estimate, exact)
    assert (divergences.k3(logprob, reference) >= 0).all()


def test_k3_of_far_apart_models_stays_finite():
    assert torch.isfinite(divergences.k3(torch.tensor([-500.0]), torch.tensor([0.0]))).all()


def test_divergence_in_the_reward_is_that_of_the_sequence():
    logprob, reference = np.log([0.5, 0.25]), np.log([0.25, 0.5])
    assert divergences.in_reward("k1", logprob, reference_logprob=reference) == pytest.approx(0.0)
    assert divergences.in_reward("k2", logprob, reference_logprob=reference) == pytest.approx(np.log(2) ** 2)
    assert divergences.in_reward("k3", logprob, reference_logprob=reference) == pytest.approx(
        (0.5 + np.log(2) - 1) + (2 - np.log(2) - 1)
    )


# --- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("advantage, ratio, pulls", [
    (1, 1.19, True), (1, 1.21, False), (1, 0.5, True), (-1, 0.81, True), (-1, 0.79, False), (-1, 3.0, True),
])  # fmt: skip
def test_clipping_stops_only_what_goes_too_far_in_the_wanted_direction(advantage, ratio, pulls):
    logprob = torch.tensor([ratio]).log().requires_grad_()
    inputs = (logprob, torch.zeros(1), torch.tensor([float(advantage)]), 0.2, 0.2)
    losses.ppo_clip(*inputs).sum().backward()
    assert (logprob.grad.item() != 0) == pulls
    assert losses.ppo_clip_metrics(*inputs)["clip_fraction"].item() == (not pulls)
    if pulls:
        assert logprob.grad.item() == pytest.approx(-advantage * ratio)


def test_clip_higher_moves_the_upper_bound_alone():
    new, old = torch.tensor([1.25, 0.75]).log(), torch.zeros(2)
    found = losses.ppo_clip(new, old, torch.tensor([1.0, -1.0]), 0.2, 0.28)
    assert found.tolist() == pytest.approx([-1.25, 0.8])


def test_on_policy_gradient_is_reinforce():
    logprob = torch.tensor([-0.3, -2.0], requires_grad=True)
    advantage = torch.tensor([0.7, -1.1])
    losses.ppo_clip(logprob, logprob.detach(), advantage, 0.2, 0.2).sum().backward()
    torch.testing.assert_close(logprob.grad, -advantage)


def test_ratio_of_a_token_that_vanished_stays_finite():
    logprob = torch.tensor([-1e4, 0.0], requires_grad=True)
    loss = losses.ppo_clip(logprob, torch.tensor([0.0, -1e4]), torch.tensor([-1.0, -1.0]), 0.2, 0.2)
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(logprob.grad).all()


def test_luffy_weight_is_largest_at_gamma_and_a_quarter_there():
    gamma = 0.1
    p = torch.tensor([1e-30, 1e-3, 0.05, gamma, 0.2, 0.5, 1.0], dtype=torch.float64)
    logprob = p.log().requires_grad_()
    losses.shaped_trace(logprob, torch.ones_like(p), gamma).sum().backward()
    weight = -logprob.grad
    torch.testing.assert_close(weight, gamma * p / (p + gamma) ** 2)
    assert weight.argmax() == 3 and weight[3].item() == pytest.approx(0.25)


def test_shaping_clip_stops_a_positive_advantage_and_not_a_negative_one():
    logprob = torch.tensor([0.9, 0.9]).log().requires_grad_()
    losses.shaped_trace(logprob, torch.tensor([1.0, -1.0]), 0.1, clip=0.5).sum().backward()
    assert logprob.grad[0] == 0 and logprob.grad[1] > 0


# --- advantages -------------------------------------------------------------------------------------------------------


rewards_of_a_group = arrays(np.float64, st.integers(2, 16), elements=st.sampled_from([0.0, 0.25, 1.0]))


@given(rewards_of_a_group)
@settings(max_examples=100, deadline=None)
def test_rloo_is_n_over_n_minus_1_of_dr_grpo(rewards):
    n = len(rewards)
    by_hand = np.array([rewards[i] - np.delete(rewards, i).mean() for i in range(n)])
    np.testing.assert_allclose(advantages.rloo(rewards), by_hand, atol=1e-12)
    np.testing.assert_allclose(advantages.rloo(rewards), n / (n - 1) * advantages.dr_grpo(rewards), atol=1e-12)


@given(rewards_of_a_group, st.sampled_from(["grpo", "dr_grpo", "rloo"]), st.sampled_from([None, True, False]))
@settings(max_examples=200, deadline=None)
def test_advantages_sum_to_zero_and_do_not_see_a_shift(rewards, name, divide):
    found = advantages.group_advantages(name, rewards, divide_by_std=divide)
    assert abs(found.sum()) < 1e-9
    np.testing.assert_allclose(advantages.group_advantages(name, rewards + 3.0, divide_by_std=divide), found, atol=1e-9)
    if np.ptp(rewards) == 0:
        assert (found == 0).all()


def test_grpo_divides_by_torch_std():
    rewards = np.array([1.0, 0.0, 0.5, 0.0, 1.0])
    t = torch.tensor(rewards)
    np.testing.assert_allclose(advantages.grpo(rewards), ((t - t.mean()) / (t.std() + 1e-6)).numpy())


def test_samples_outside_the_baseline_are_measured_against_it():
    rewards, counts = np.array([1.0, 1.0, 0.0]), np.array([False, True, True])
    np.testing.assert_allclose(advantages.dr_grpo(rewards, counts), [0.5, 0.5, -0.5])
    np.testing.assert_allclose(advantages.rloo(rewards, counts), [0.5, 1.0, -1.0])
    np.testing.assert_allclose(advantages.grpo(rewards, counts), np.array([0.5, 0.5, -0.5]) / (np.sqrt(0.5) + 1e-6))


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo"])
def test_no_baseline_at_all_and_a_baseline_of_one(name):
    assert advantages.group_advantages(name, np.array([1.0, 0.0]), counts=np.array([False, False])).tolist() == [1, 0]
    one = advantages.group_advantages(name, np.array([1.0, 0.5]), counts=np.array([False, True]))
    assert np.isfinite(one).all() and one[0] == 0.5


def test_a_spread_of_rounding_size_is_no_spread():
    rewards, counts = np.array([1.0, 1e-12, 0.0]), np.array([False, True, True])
    assert advantages.grpo(rewards, counts)[0] == pytest.approx(1.0)


# --- corrections ------------------------------------------------------------------------------------------------------


def test_truncated_importance_keeps_given_tokens_apart():
    found = corrections.truncated_importance(
        np.log([0.5, 0.5, 0.1]), np.array([np.log(0.25), np.nan, np.log(0.2)]), cap=1.5
    )
    assert found[0] == 1.5 and np.isnan(found[1]) and found[2] == pytest.approx(0.5)


def test_mixture_weight_is_unbiased_by_enumeration():
    """Two tokens from three symbols, two components: E of w f over the mixture is E of f over the policy.

    And w <= 1 / share.
    """
    rng = np.random.default_rng(0)
    policy, other = (np.log(rng.dirichlet(np.ones(9))) for _ in range(2))
    shares, f = np.array([0.25, 0.75]), rng.normal(size=9)
    weight = corrections.mixture_weight(policy, np.stack([policy, other]), shares=shares)
    drawn = shares[0] * np.exp(policy) + shares[1] * np.exp(other)
    assert (drawn * weight * f).sum() == pytest.approx((np.exp(policy) * f).sum(), abs=1e-14)
    assert weight.max() <= 4 and (drawn * weight).sum() == pytest.approx(1)


def test_mixture_weight_of_long_sequences_does_not_underflow():
    policy, other = np.array([-5000.0, -5000.0]), np.array([-4990.0, -6000.0])
    found = corrections.mixture_weight(policy, np.stack([policy, other]), shares=np.array([0.5, 0.5]))
    np.testing.assert_allclose(found, [2 / (1 + np.exp(10.0)), 2.0])


# --- normalisers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregation", ["token", "sequence", "constant"])
def test_weights_reproduce_the_aggregations(aggregation):
    lengths, limit = np.array([3, 0, 5, 1]), 10
    losses_of_tokens = [np.random.default_rng(i).normal(size=n) for i, n in enumerate(lengths)]
    filled = [x for x in losses_of_tokens if len(x)]
    expected = {
        "token": np.concatenate(filled).mean(),
        "sequence": np.mean([x.mean() for x in filled]),
        "constant": sum(x.sum() for x in filled) / (4 * limit),  # which row is empty follows lengths
    }[aggregation]
    weights = row_weights(lengths, aggregation, max_new_tokens=limit)
    assert weights[1] == 0
    assert sum(w * x.sum() for w, x in zip(weights, losses_of_tokens, strict=True)) == pytest.approx(expected)


def test_nothing_to_learn_from_is_no_division_by_zero():
    assert row_weights(np.array([0, 0]), "token", max_new_tokens=8).tolist() == [0, 0]
    assert row_weights(np.array([]), "sequence", max_new_tokens=8).tolist() == []
