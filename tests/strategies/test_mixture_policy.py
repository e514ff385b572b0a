"""Importance weights of a mixture: exact expectation on a policy small enough to enumerate, bounds, and refusals."""

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.objectives.advantages import group_advantages
from explore_rl.objectives.corrections import mixture_weight
from explore_rl.objectives.normalisers import row_weights
from explore_rl.strategies import make
from explore_rl.strategies.methods.mixture_policy import MixturePolicy
from explore_rl.types import Group, Request, Rollout, Sample, Status

SHARES = {"policy": 0.5, "base": 0.3, "hot": 0.2}


# Policies of one or two steps over three tokens, of which token 2 ends the sequence: 7 sequences of two lengths.
# Parameters: 3 x 3 logits.
SEQUENCES = [(2,), *itertools.product((0, 1), range(3))]
REWARD = np.array([float(y in {(2,), (0, 1), (1, 0)}) for y in SEQUENCES])
MAX_NEW_TOKENS = 2
MOSTLY_POLICY = {"policy": 0.7, "base": 0.2, "hot": 0.1}


def tiny_logits(seed):
    return torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def logprobs(parameters, temperature=1.0):
    """log pi(y) of every sequence, [7]."""
    table = torch.log_softmax(parameters / temperature, dim=-1)
    return torch.stack([table[0, y[0]] + (table[1 + y[0], y[1]] if len(y) > 1 else 0.0) for y in SEQUENCES])


def expected_gradient(
    exponent,
    aggregation="constant",
    advantage="rloo",
    size=3,
    at_least=2,
    trace=False,
    trace_in_baseline=False,
    shares_as_drawn=True,
):
    """The expectation of the update's direction: all groups of `size` are enumerated, with each sample's component.

    E sum_i  w_i^exponent A_i (row weight of i) grad log pi(y_i),  with the allocation, baseline and divisor that
    training uses: draws of the policy count for the baseline, draws of the other components are measured against it,
    and a group with fewer than two draws of the policy is dropped.

    trace: a right answer that nobody drew takes the place of the last draw, as trace injection does it.
    trace_in_baseline: and counts for the baseline.
    shares_as_drawn: the weights take the shares of the draws that are left, not of those that were planned.
    """
    mixture = MixturePolicy(**{f"share_{name}": share for name, share in MOSTLY_POLICY.items()})
    fixed, chances = mixture.allocation(size, at_least)
    parameters = tiny_logits(0).requires_grad_()
    policy = logprobs(parameters)
    q = {
        "policy": policy.detach().numpy(),
        "base": logprobs(tiny_logits(1)).numpy(),
        "hot": logprobs(tiny_logits(0), 1.5).numpy(),
    }
    request = Request("p", 0, (1,), max_tokens=MAX_NEW_TOKENS)
    drawn = size - trace
    shares = list(MOSTLY_POLICY.values())
    if shares_as_drawn:
        planned = [{"policy": 1.0}] * fixed + [chances] * (drawn - fixed)
        of_draws = [Sample(Rollout(replace(request, share=s), [1], "", "stop", np.zeros(1)), None) for s in planned]
        shares = mixture.shares_of(Group(None, of_draws))
    weight = mixture_weight(q["policy"], np.stack(list(q.values())), shares=np.array(shares)) ** exponent
    in_baseline = {name: mixture.drawn_by(name, request).in_baseline for name in chances}
    own = [("policy", y, np.exp(q["policy"][y])) for y in range(len(SEQUENCES))]
    draws = [(name, y, chance * np.exp(q[name][y])) for name, chance in chances.items() for y in range(len(SEQUENCES))]

    @cache
    def advantages(rewards, counts):
        return group_advantages(advantage, np.array(rewards), counts=np.array(counts))

    @cache
    def divided(lengths):
        return row_weights(np.array(lengths), aggregation, max_new_tokens=MAX_NEW_TOKENS)

    expected = np.zeros(len(SEQUENCES))  # what multiplies grad log pi of each sequence
    for group in itertools.product(*[own] * fixed, *[draws] * (drawn - fixed)):
        if sum(in_baseline[name] for name, _, _ in group) < 2:
            continue
        chance = np.prod([p for _, _, p in group])
        members = [y for _, y, _ in group]
        counts = tuple(in_baseline[name] for name, _, _ in group)
        if trace:
            values = advantages((*REWARD[members], 1.0), (*counts, trace_in_baseline))[:-1]
        else:
            values = advantages(tuple(REWARD[members]), counts)
        rows = divided(tuple(len(SEQUENCES[y]) for y in members))
        for i, y in enumerate(members):
            expected[y] += chance * weight[y] * values[i] * rows[i]
    return torch.autograd.grad((torch.tensor(expected) * policy).sum(), parameters)[0] * MAX_NEW_TOKENS


def true_gradient():
    """Of the expected reward under the policy."""
    parameters = tiny_logits(0).requires_grad_()
    return torch.autograd.grad((logprobs(parameters).exp() * torch.tensor(REWARD)).sum(), parameters)[0]


@pytest.mark.parametrize("size", [3, 4])
def test_exact_weights_estimate_the_gradient_of_expected_reward(size):
    assert true_gradient().abs().max() > 0.01
    assert torch.allclose(expected_gradient(1.0, size=size), true_gradient(), atol=1e-10, rtol=0)


@pytest.mark.parametrize("size", [4, 5])
def test_exact_weights_stay_exact_where_a_trace_takes_the_place_of_a_draw(size):
    beside_a_trace = expected_gradient(1.0, size=size, trace=True)
    assert torch.allclose(beside_a_trace, true_gradient(), atol=1e-10, rtol=0)


@pytest.mark.parametrize("change", [{"shares_as_drawn": False}, {"trace_in_baseline": True}])
def test_the_shares_that_were_planned_and_a_trace_in_the_baseline_would_be_biased(change):
    assert (expected_gradient(1.0, size=4, trace=True, **change) - true_gradient()).abs().max() > 1e-3


def test_components_all_drawn_at_random_would_be_biased_by_the_groups_without_baseline():
    assert (expected_gradient(1.0, at_least=0) - true_gradient()).abs().max() > 1e-3


@pytest.mark.parametrize(
    "change",
    [
        {"exponent": 0.5},
        {"exponent": 0.0},
        {"aggregation": "token"},
        {"aggregation": "sequence"},
        {"advantage": "dr_grpo"},
        {"advantage": "grpo"},
    ],
)
def test_powers_below_one_and_what_is_refused_with_exact_weights_are_biased(change):
    assert (expected_gradient(**{"exponent": 1.0} | change) - true_gradient()).abs().max() > 1e-3


def mixture_groups(problems, sample_of, sources=("policy", "base", "hot", "policy"), share=SHARES):
    groups = []
    for g, problem in enumerate(problems):
        samples = [sample_of(problem, g, "1+1", Status.WRONG, source=source, share=share) for source in sources]
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
    mixture = (
        0.5 * np.exp(-1.0 * length) + 0.3 * np.exp(-0.5 * length) + 0.2 * np.exp(np.float32(-1.2) * np.float64(length))
    )
    assert sample.weight == pytest.approx(np.exp(-1.0 * length) / mixture, rel=1e-6)
    assert all(0 < s.weight <= 2 for g in groups for s in g.samples)
    assert 0 < context.metrics["effective_sample_size"] <= 1


def test_no_overflow_for_long_sequences_of_tiny_probability():
    weight = mixture_weight(np.array([-5000.0]), np.array([[-5000.0], [-9000.0]]), shares=np.array([0.5, 0.5]))
    assert weight == pytest.approx([2.0])


def test_components_are_drawn_in_their_shares_and_say_so(problems, draft, step):
    planned = strategy().plan(draft * 40, [], 0, step())
    shares = {name: np.mean([r.source == name for r in planned]) for name in SHARES}
    assert shares == pytest.approx(SHARES, abs=0.05)
    assert {(r.source, r.engine, r.temperature, r.in_baseline) for r in planned} == {
        ("policy", "policy", 1.0, True), ("base", "base", 1.0, False), ("hot", "policy", 1.5, False),
    }  # fmt: skip


def test_every_group_has_a_baseline_and_the_shares_hold_in_expectation(draft, step):
    """4 samples a group at 50, 30 and 20 %: two are the policy's; of the others 1.2 the base's and .8 the hot one's."""
    fixed, chances = strategy().allocation(4, 2)
    assert fixed == 2 and chances == pytest.approx({"policy": 0.0, "base": 0.6, "hot": 0.4})
    planned = strategy().plan(draft, [], 0, step())
    for group in {r.group for r in planned}:
        assert [r.source == "policy" for r in planned if r.group == group] == [True, True, False, False]
    with pytest.raises(InputError, match="share_policy of at least 0.667"):
        strategy().check(load_config(None, ["algorithm.importance_cap=null", "algorithm.group_size=3"]), [], [])


def test_all_policy_is_the_draft_with_weight_one(problems, draft, step, sample_of):
    alone = MixturePolicy(share_policy=1.0, share_base=0.0, share_hot=0.0)
    planned = alone.plan(draft, [], 0, step())
    assert all(
        replace(mine, share=None).__dict__ == theirs.__dict__ for mine, theirs in zip(planned, draft, strict=True)
    )
    groups = mixture_groups(problems, sample_of, ("policy", "policy"), {"policy": 1.0})
    alone.advantage(groups, step())
    assert all(s.weight == 1.0 for g in groups for s in g.samples)


def test_weight_none_leaves_the_advantage_as_it_is(problems, sample_of, step):
    groups = mixture_groups(problems, sample_of)
    strategy(weight="none").advantage(groups, step())
    assert all(s.weight == 1.0 for g in groups for s in g.samples)


def test_combinations_that_would_bias_exact_weights_are_refused():
    right = {
        "advantage": "rloo",
        "aggregation": "constant",
        "importance_cap": "null",
        "mask_truncated": "false",
        "dynamic_sampling_rounds": "0",
    }

    def config(**changes):
        return load_config(None, [f"algorithm.{key}={value}" for key, value in (right | changes).items()])

    strategy().check(config(), [], [])
    wrong = {
        "importance_cap=null": {"importance_cap": 2.0},
        "advantage=rloo": {"advantage": "dr_grpo"},
        "divide_by_std=null": {"divide_by_std": "true"},
        "aggregation=constant": {"aggregation": "token"},
        "mask_truncated=false": {"mask_truncated": "true"},
        "dynamic_sampling_rounds=0": {"dynamic_sampling_rounds": 2},
    }
    for said, changes in wrong.items():
        with pytest.raises(InputError, match=f"set .*algorithm.{said}"):
            strategy().check(config(**changes), [], [])
        if said != "importance_cap=null":
            strategy(weight="power").check(config(**changes), [], [])  # biased anyway, and says so


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"share_base": 0.5}, "sum 1"),
        ({"share_policy": 0.0, "share_base": 0.5, "share_hot": 0.5}, "no bound"),
        ({"share_policy": "0.5"}, "share_policy='0.5'"),
        ({"share_policy": 1.2, "share_hot": -0.5}, "share between 0 and 1"),
        ({"power": 0.5}, "has no effect with weight=exact"),
        ({"power": 0.5, "weight": "none"}, "has no effect with weight=none"),
        ({"power": 1.0, "weight": "power"}, "between 0 and 1"),
        ({"weight": "exactly"}, "expected one of exact, power, none"),
        ({"hot_temperature": 2.0, "share_base": 0.5, "share_hot": 0}, "no effect with share_hot=0"),
        ({"hot_temperature": float("inf")}, "finite number above 0"),
        ({"hot_temperature": True}, "finite number above 0"),
    ],
)
def test_parameters_out_of_range_or_without_effect_are_refused(changes, said):
    with pytest.raises(InputError, match=said) as caught:
        make([{"name": "mixture_policy", "share_policy": 0.5, "share_base": 0.3, "share_hot": 0.2} | changes])
    assert str(caught.value).startswith("strategies[0]: mixture_policy: ")


@pytest.mark.parametrize(("weight", "nats"), [("exact", "0.4 nats"), ("power", "0.2 nats"), ("none", None)])
def test_long_sequences_in_bfloat16_are_warned_about_with_the_noise_of_their_weights(weight, nats, caplog):
    def said(tokens, dtype="bfloat16"):
        unbiased = ("algorithm.advantage=rloo", "algorithm.importance_cap=null", "algorithm.aggregation=constant")
        layout = (f"model.dtype={dtype}", "learner.zero_stage=1", f"rollout.max_new_tokens={tokens}")
        caplog.clear()
        MixturePolicy(weight=weight).check(load_config(None, [*unbiased, *layout]), [], [])
        return caplog.text

    assert (nats in said(3000)) if nats else said(3000) == ""
    assert said(200) == said(3000, "float32") == ""


def test_metrics_say_which_weights_they_are_of(problems, sample_of, step):
    groups, context = mixture_groups(problems, sample_of), step()
    strategy(weight="none").advantage(groups, context)
    assert context.metrics["weight_base"] == 1.0 != context.metrics["exact_weight_base"]
    exact = step()
    strategy().advantage(groups, exact)
    assert all(exact.metrics[f"weight_{name}"] == exact.metrics[f"exact_weight_{name}"] for name in SHARES)
    assert exact.metrics["effective_sample_size"] == context.metrics["effective_sample_size"]
