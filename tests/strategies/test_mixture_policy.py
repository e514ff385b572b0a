"""Importance weights of a mixture: exact expectation on a policy small enough to enumerate, bounds, and refusals."""

import itertools

import numpy as np
import pytest
import torch

from analysis.errors import InputError
from explore_rl.config import load_config
from explore_rl.objectives.corrections import mixture_weight
from explore_rl.strategies.mixture_policy import MixturePolicy
from explore_rl.types import Group, Status

SHARES = {"policy": 0.5, "base": 0.3, "hot": 0.2}


def tiny_policies():
    """Two-step policies over three tokens: 9 sequences, with log-probabilities as a function of 12 logits."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    base_logits = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    sequences = list(itertools.product(range(3), repeat=2))

    def logprob(parameters, temperature=1.0):
        table = torch.log_softmax(parameters / temperature, dim=-1)
        return torch.stack([table[0, a] + table[1 + a, b] for a, b in sequences])

    return logits, base_logits, logprob, torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 0], dtype=torch.float64)


def expected_gradient(power):
    """E over groups of two drawn from the mixture of  sum_i w_i^power (r_i - r_j) grad log pi(y_i) / 2, every group enumerated."""
    logits, base_logits, logprob, reward = tiny_policies()
    parameters = logits.clone().requires_grad_()
    policy = logprob(parameters)
    components = torch.stack([policy.detach(), logprob(base_logits), logprob(logits, 1.5)])
    shares = np.array(list(SHARES.values()))
    weight = torch.tensor(mixture_weight(policy.detach().numpy(), components.numpy(), shares) ** power)
    mixture = (torch.tensor(shares)[:, None] * components.exp()).sum(0)
    total = torch.zeros((), dtype=torch.float64)
    for i, j in itertools.product(range(9), repeat=2):
        chance = mixture[i] * mixture[j]
        total = total + chance * (weight[i] * (reward[i] - reward[j]) * policy[i] + weight[j] * (reward[j] - reward[i]) * policy[j]) / 2
    return torch.autograd.grad(total, parameters)[0]


def true_gradient():
    logits, _, logprob, reward = tiny_policies()
    parameters = logits.clone().requires_grad_()
    return torch.autograd.grad((logprob(parameters).exp() * reward).sum(), parameters)[0]


def test_exact_weights_estimate_the_on_policy_gradient():
    assert torch.allclose(expected_gradient(1.0), true_gradient(), atol=1e-10, rtol=0)


def test_a_power_below_one_is_biased_and_says_so():
    assert (expected_gradient(0.5) - true_gradient()).abs().max() > 1e-3


def mixture_groups(problems, sample_of, sources=("policy", "base", "hot", "policy")):
    groups = []
    for g, problem in enumerate(problems):
        samples = [sample_of(problem, g, "1+1", Status.WRONG, source=source) for source in sources]
        for i, sample in enumerate(samples):
            length = len(sample.rollout.tokens)
            sample.columns["base_logprob"] = np.full(length, -0.5 - i, dtype=np.float32)
            sample.columns["hot_logprob"] = np.full(length, -1.2, dtype=np.float32)
        groups.append(Group(problem, samples))
    return groups


def strategy(**changes):
    return MixturePolicy(**{"share_policy": 0.5, "share_base": 0.3, "share_hot": 0.2} | changes)


def test_weights_are_the_balance_heuristic_of_whole_sequences_and_bounded(problems, sample_of, step):
    groups, context = mixture_groups(problems, sample_of), step()
    strategy().advantage(groups, context)
    sample = groups[0].samples[0]
    length = len(sample.rollout.tokens)
    mixture = 0.5 * np.exp(-1.0 * length) + 0.3 * np.exp(-0.5 * length) + 0.2 * np.exp(np.float32(-1.2) * np.float64(length))
    assert sample.weight == pytest.approx(np.exp(-1.0 * length) / mixture, rel=1e-6)
    assert all(0 < s.weight <= 2 for g in groups for s in g.samples)
    assert 0 < context.metrics["effective_sample_size"] <= 1


def test_no_overflow_for_long_sequences_of_tiny_probability():
    weight = mixture_weight(np.array([-5000.0]), np.array([[-5000.0], [-9000.0]]), np.array([0.5, 0.5]))
    assert weight == pytest.approx([2.0])


def test_components_are_drawn_in_their_shares_and_say_so(problems, draft, step):
    planned = strategy().plan(draft * 40, [], 0, step())
    shares = {name: np.mean([r.source == name for r in planned]) for name in SHARES}
    assert shares == pytest.approx(SHARES, abs=0.05)
    assert {(r.source, r.engine, r.temperature, r.in_baseline) for r in planned} == {
        ("policy", "policy", 1.0, True), ("base", "base", 1.0, False), ("hot", "policy", 1.5, False),
    }  # fmt: skip
    assert [r.seed for r in planned] == [r.seed for r in draft * 40]


def test_all_policy_is_the_draft_with_weight_one(problems, draft, step, sample_of):
    alone = MixturePolicy(share_policy=1.0, share_base=0.0, share_hot=0.0)
    assert alone.plan(draft, [], 0, step()) == draft
    groups = mixture_groups(problems, sample_of, ("policy", "policy"))
    alone.advantage(groups, step())
    assert all(s.weight == 1.0 for g in groups for s in g.samples)


def test_weight_none_leaves_the_advantage_as_it_is(problems, sample_of, step):
    groups = mixture_groups(problems, sample_of)
    strategy(weight="none").advantage(groups, step())
    assert all(s.weight == 1.0 for g in groups for s in g.samples)


def test_combinations_that_would_bias_exact_weights_are_refused():
    right = ["algorithm.advantage=rloo", "algorithm.importance_cap=null"]
    strategy().check(load_config(None, right), [])
    with pytest.raises(InputError, match="importance_cap=null"):
        strategy().check(load_config(None, right[:1]), [])
    with pytest.raises(InputError, match="advantage=rloo"):
        strategy().check(load_config(None, right[1:]), [])
    with pytest.raises(ValueError, match="sum 1"):
        MixturePolicy(share_policy=0.5, share_base=0.5, share_hot=0.5)
    with pytest.raises(ValueError, match="no bound"):
        MixturePolicy(share_policy=0.0, share_base=0.5, share_hot=0.5)
