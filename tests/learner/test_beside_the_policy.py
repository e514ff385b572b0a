"""The models beside the policy: critic, heads, a base that is refreshed; what is kept of them and what is sent."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from learner_kit import (
    BALANCE,
    TERMS,
    VALUE_TERM,
    learner_config,
    load_plain,
    make_rows,
    plain_critic_steps,
    plain_hidden,
    plain_log_p,
    relative_error,
)
from rank_kit import (
    critic_weights,
    draw,
    head_weights,
    sent_names,
    weights,
)
from safetensors.torch import load_file

from analysis.errors import InputError
from explore_rl.learner.messages import LearnerNeeds
from explore_rl.learner.policy import DeepHead
from explore_rl.objectives.readouts import VALUE, entropy, head, logprob
from explore_rl.objectives.terms import LossTerm

pytestmark = [pytest.mark.slow, pytest.mark.engine]

SGD = {"optimizer": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0}
ALL = LearnerNeeds(base=True, critic=True, heads=("log_z",))
ALL_TERMS = [*TERMS, BALANCE, VALUE_TERM]
EVERY_STAGE = pytest.mark.parametrize("ranks, stage", [(1, 0), (2, 0), (2, 1), (2, 2), (2, 3)])


def rows_with_values(count=8, seed=0):
    """Every other row feeds the critic too, one the critic alone, every third a head."""
    rows = make_rows(count, seed)
    rng = np.random.default_rng(seed)
    for i, row in enumerate(rows):
        row.columns["return"] = rng.normal(size=len(row.mask)).astype(np.float32)
        # Of some tokens it is so far from the critic's, which begins at 0, that the loss is clipped.
        row.columns["value"] = rng.normal(0.0, 0.3, len(row.mask)).astype(np.float32)
        if i % 2 == 0:
            row.terms["value"] = 0.02
        if i % 3 == 0:
            row.terms["balance"] = 0.02
            row.columns["old_logprob"] = np.nan_to_num(row.columns["old_logprob"], nan=-4.5)
    rows[0].terms = {"value": 0.05}
    return rows


def sequences_of(rows):
    return [(row.tokens, row.prompt_length) for row in rows]


def same(found, expected):
    return all((found[name] == expected[name]).all() for name in expected)


@pytest.mark.parametrize("ranks, stage", [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3)])
def test_a_critic_learns_values_as_by_hand_and_the_policy_does_not_notice(groups, tiny_model, tmp_path, ranks, stage):
    config = learner_config(tiny_model, ranks=ranks, zero_stage=stage, micro_batch_tokens=64, **SGD)
    config.learner.learning_rate, config.learner.critic_learning_rate = 0.01, 0.3
    minibatches = [rows_with_values(6, seed=s) for s in range(3)]
    terms = [*TERMS, VALUE_TERM]
    for rows in minibatches:
        for row in rows:
            row.terms.pop("balance", None)
    expected, losses = plain_critic_steps(tiny_model, minibatches, rate=0.3)
    group = groups[ranks]
    group.reset(config, LearnerNeeds(critic=True))
    before = group.apply(critic_weights)[0]
    assert all((values == 0).all() for (values,) in group.read(sequences_of(minibatches[0]), (VALUE,), model="critic"))
    reports = group.update(minibatches, terms)
    assert [r.metrics["value/loss"] for r in reports] == pytest.approx(losses, rel=1e-5)
    assert all(r.finite and r.metrics["critic/gradient_norm"] > 0 for r in reports)
    moved = {name: before[name] - value for name, value in group.apply(critic_weights)[0].items()}
    assert moved.keys() == expected.keys()
    assert relative_error(moved, {name: before[name] - value for name, value in expected.items()}) < 1e-5
    policy = group.apply(weights)[0]
    # Of the critic nothing leaves the learner.
    plain = sorted(name for name, _ in load_plain(tiny_model).named_parameters(remove_duplicate=False))
    assert sorted(group.apply(sent_names)[0]) == plain
    if (ranks, stage) in ((1, 0), (2, 3)):
        group.save_pretrained(tmp_path / "final")
        final = {n: p.detach().double().numpy() for n, p in load_plain(tmp_path / "final").named_parameters()}
        assert same(final, policy) and final.keys() == policy.keys()
        (saved,) = (tmp_path / "final").glob("*.safetensors")
        assert set(load_file(saved)) <= set(plain)
    for rows in minibatches:
        for row in rows:
            row.terms.pop("value", None)
    alone = [[row for row in rows if row.terms] for rows in minibatches]
    group.reset(config)
    assert [r.loss for r in group.update(alone, TERMS)] == pytest.approx([r.loss for r in reports], rel=1e-5)
    now = group.apply(weights)[0]
    start = {name: p.detach().double().numpy() for name, p in load_plain(tiny_model).named_parameters()}
    assert (
        relative_error(
            {name: start[name] - now[name] for name in now}, {name: start[name] - policy[name] for name in now}
        )
        < 1e-5
    )


@EVERY_STAGE
def test_a_head_on_the_policy_learns_with_it(groups, tiny_model, tmp_path, ranks, stage):
    config = learner_config(tiny_model, ranks=ranks, zero_stage=stage, micro_batch_tokens=64, **SGD)
    rows = make_rows(6)
    for row in rows:
        row.terms = {"balance": 0.01}
        row.columns["old_logprob"] = np.nan_to_num(row.columns["old_logprob"], nan=-4.5)
    group = groups[ranks]
    group.reset(config, LearnerNeeds(heads=("log_z", "other")))
    before = group.apply(weights)[0]
    [report] = group.update([rows], [BALANCE])
    # By hand: the head's last layer is 0, so its gradient is what goes into it times that of the loss by log Z.
    model = load_plain(tiny_model)
    inner = DeepHead(96).inner
    loss, by_weight, by_bias = torch.zeros(()), torch.zeros(96), torch.zeros(())
    for row in rows:
        kept = torch.from_numpy(row.mask != 0)
        log_z = torch.zeros(int(kept.sum()), requires_grad=True)
        logprobs = logprob().of(*plain_log_p(model, row.tokens, row.prompt_length))[kept]
        old = torch.from_numpy(row.columns["old_logprob"])[kept]
        part = 0.01 * BALANCE.function(logprobs, log_z, old, torch.zeros(len(log_z), dtype=torch.int64)).sum()
        (slope,) = torch.autograd.grad(part, log_z, retain_graph=True)
        by_weight = by_weight + slope @ inner(plain_hidden(model.model, row.tokens, row.prompt_length)[kept])
        by_bias = by_bias + slope.sum()
        loss = loss + part
    loss.backward()
    expected = {name: p.grad.double().numpy() for name, p in model.named_parameters()}
    after = group.apply(weights)[0]
    assert report.loss == pytest.approx(loss.item(), rel=1e-5)
    assert relative_error({name: before[name] - after[name] for name in before}, expected) < 1e-5
    *within, weight, bias = group.apply(head_weights, "log_z")[0]
    for found, drawn in zip(within, inner.parameters(), strict=True):
        np.testing.assert_allclose(found, drawn.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(weight[0], -by_weight.detach().numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bias, [-by_bias.item()], rtol=1e-5)
    assert all((w == 0).all() for w in group.apply(head_weights, "other")[0][-2:])
    # What leaves the learner knows no heads.
    [(values, chosen)] = group.read(sequences_of(rows[:1]), (head("log_z"), logprob()))
    assert values.shape == chosen.shape and (values != 0).all()
    plain = [name for name, _ in load_plain(tiny_model).named_parameters(remove_duplicate=False)]
    assert sorted(group.apply(sent_names)[0]) == sorted(plain)
    group.save_pretrained(tmp_path / "final")
    assert json.loads((tmp_path / "final" / "config.json").read_text())["architectures"] == ["Qwen2ForCausalLM"]
    assert same({n: p.detach().double().numpy() for n, p in load_plain(tmp_path / "final").named_parameters()}, after)


@EVERY_STAGE
def test_the_base_becomes_the_policy_when_it_is_refreshed(groups, tiny_model, ranks, stage):
    config = learner_config(tiny_model, ranks=ranks, zero_stage=stage, micro_batch_tokens=64, **SGD)
    group = groups[ranks]
    group.reset(config, LearnerNeeds(base=True, heads=("log_z",)))
    rows = make_rows()

    def read(model):
        return np.concatenate([values for (values,) in group.read(sequences_of(rows), (logprob(),), model=model)])

    initial = read("base")
    group.update([rows], TERMS)
    moved = read("policy")
    assert (read("base") == initial).all() and np.abs(moved - initial).max() > 1e-3
    group.refresh_base()
    assert (read("base") == moved).all()
    group.update([rows], TERMS)
    assert (read("base") == moved).all() and np.abs(read("policy") - moved).max() > 1e-3
    group.refresh_base()
    assert (read("base") == read("policy")).all()


@EVERY_STAGE
def test_a_reset_optimizer_is_a_new_one(groups, tiny_model, tmp_path, ranks, stage):
    adam = {"learning_rate": 1e-3, "ranks": ranks, "zero_stage": stage}
    group = groups[ranks]
    group.reset(learner_config(tiny_model, **adam))
    batches = [make_rows(4, seed=s) for s in range(4)]
    group.update(batches[:2], TERMS)
    group.save_pretrained(tmp_path / "then")
    group.reset_optimizer()
    group.update(batches[2:], TERMS)
    reset = group.apply(weights)[0]
    group.reset(learner_config(tmp_path / "then", **adam))
    group.update(batches[2:], TERMS)
    assert same(reset, group.apply(weights)[0])


@EVERY_STAGE
def test_all_models_resume_bit_for_bit(groups, tiny_model, tmp_path, ranks, stage):
    config = learner_config(tiny_model, ranks=ranks, zero_stage=stage, learning_rate=1e-3, schedule="linear")
    config.run.steps = 8
    config.learner.critic_learning_rate = 1e-2
    group = groups[ranks]
    batches = [rows_with_values(4, seed=s) for s in range(4)]
    asked = {"policy": (logprob(), entropy(), head("log_z")), "base": (logprob(),), "critic": (VALUE,)}

    def state():
        read = {
            model: [
                np.concatenate(v)
                for v in zip(*group.read(sequences_of(batches[0]), readouts, model=model), strict=True)
            ]
            for model, readouts in asked.items()
        }
        return [*read["policy"], *read["base"], *read["critic"], np.array(group.apply(draw))]

    group.reset(config, ALL)
    group.update(batches[:2], ALL_TERMS)
    group.refresh_base()
    group.update(batches[2:3], ALL_TERMS)
    group.save_checkpoint(tmp_path / "learner")
    straight = group.update(batches[3:], ALL_TERMS)
    expected = state()
    group.refresh_base()  # is undone by loading
    group.reset(config, ALL)
    group.load_checkpoint(tmp_path / "learner")
    resumed = group.update(batches[3:], ALL_TERMS)
    for found, value in zip(state(), expected, strict=True):
        np.testing.assert_array_equal(found, value)
    assert resumed == straight
    if stage == 0:
        group.reset(config, LearnerNeeds(base=True, critic=True))
        with pytest.raises(InputError, match=r"heads=\['log_z'\]"):
            group.load_checkpoint(tmp_path / "learner")


def test_a_base_that_was_not_refreshed_is_the_initial_one_after_loading(groups, tiny_model, tmp_path):
    group = groups[1]
    group.reset(learner_config(tiny_model, **SGD), LearnerNeeds(base=True))
    rows = make_rows(4)
    group.save_checkpoint(tmp_path / "learner")
    initial = group.read(sequences_of(rows), (logprob(),), model="base")
    group.update([rows], TERMS)
    group.refresh_base()
    group.load_checkpoint(tmp_path / "learner")
    for (found,), (value,) in zip(group.read(sequences_of(rows), (logprob(),), model="base"), initial, strict=True):
        np.testing.assert_array_equal(found, value)


def test_a_critic_whose_loss_is_not_finite_makes_no_step(groups, tiny_model):
    group = groups[1]
    group.reset(learner_config(tiny_model, **SGD), LearnerNeeds(critic=True))
    rows = rows_with_values()
    rows[0].columns["return"][-1] = np.nan
    for row in rows:
        row.terms.pop("balance", None)
    before = group.apply(critic_weights)[0]
    [report] = group.update([rows], [*TERMS, VALUE_TERM])
    assert not report.finite and same(group.apply(critic_weights)[0], before)


@pytest.mark.parametrize("ranks, stage", [(1, 0), (2, 3)])
def test_a_base_alone_can_be_read_and_nothing_trained(groups, tiny_model, ranks, stage):
    group = groups[ranks]
    group.reset(learner_config(tiny_model, ranks=ranks, zero_stage=stage), LearnerNeeds(policy=False, base=True))
    rows = make_rows(3)
    [(found,), *_] = group.read(sequences_of(rows), (logprob(),), model="base")
    with torch.no_grad():
        expected = logprob().of(*plain_log_p(load_plain(tiny_model), rows[0].tokens, rows[0].prompt_length))
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)
    with pytest.raises(ValueError, match='"policy" was not announced'):
        group.read(sequences_of(rows), (logprob(),))


def test_what_the_models_cannot_give_is_refused(groups, tiny_model):
    group = groups[1]
    group.reset(learner_config(tiny_model), LearnerNeeds(critic=True, heads=("log_z",)))
    rows = make_rows(1)
    for model, readout, complaint in [
        ("base", logprob(), "not announced"),
        ("policy", head("log_w"), "no head 'log_w'"),
        ("critic", logprob(), "gives values, and no distribution"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            group.read(sequences_of(rows), (readout,), model=model)
    with pytest.raises(ValueError, match="no head 'log_w'"):
        group.update([rows], [*TERMS, LossTerm("z", BALANCE.function, (head("log_w"),))])
    with pytest.raises(ValueError, match="expected policy or critic"):
        group.update([rows], [LossTerm("z", BALANCE.function, model="base")])
