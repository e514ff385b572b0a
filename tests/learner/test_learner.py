"""The learner on real Ray and DeepSpeed, with one rank and with two, against plain transformers and autograd."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from learner_kit import (
    SHIPPED_TERMS,
    TERMS,
    VALUE_TERM,
    WHOLE_KINDS,
    WHOLE_TERMS,
    learner_config,
    load_plain,
    make_rows,
    plain_gradient,
    plain_log_p,
    plain_scores,
    relative_error,
)
from rank_kit import (
    arrivals,
    held_by_loading,
    held_of_base,
    make_steps_slow,
    note_arrivals,
    weights,
)

from explore_rl.cluster.faults import ActorFault
from explore_rl.learner.messages import LearnerNeeds
from explore_rl.objectives.readouts import (
    HIDDEN_MEAN,
    entropy,
    logprob,
    nucleus_logprob,
    rank_of_target,
    top_logprobs,
)

pytestmark = [pytest.mark.slow, pytest.mark.engine]

SGD = {"optimizer": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.5}


def gradient_of(group, config, minibatches, terms=TERMS):
    """What SGD with a learning rate of 1 took off the weights, and the reports."""
    group.reset(config)
    before = group.apply(weights)[0]
    reports = group.update(minibatches, terms)
    after = group.apply(weights)
    for other in after[1:]:
        assert all((other[name] == after[0][name]).all() for name in other)
    return {name: before[name] - after[0][name] for name in before}, reports


@pytest.mark.parametrize("ranks, stage, budget, packing, share", [
    (1, 0, 16384, True, True), (1, 0, 16384, True, False), (1, 0, 1, False, True), (1, 1, 64, True, False),
    (1, 2, 64, True, True), (1, 3, 64, True, True),
    (2, 0, 16384, True, True), (2, 0, 40, False, False),
    (2, 1, 64, True, True), (2, 2, 64, False, True), (2, 3, 64, True, True),
])  # fmt: skip
def test_gradient_is_the_plain_one(groups, tiny_model, ranks, stage, budget, packing, share):
    rows = make_rows()
    expected, norm, loss = plain_gradient(load_plain(tiny_model), rows, max_norm=0.5, temperature=0.7)
    assert norm > 1, "clipping has to be on"
    config = learner_config(
        tiny_model,
        temperature=0.7,
        ranks=ranks,
        zero_stage=stage,
        micro_batch_tokens=budget,
        packing=packing,
        share_prompts=share,
        **SGD,
    )
    found, [report] = gradient_of(groups[ranks], config, [rows])
    assert relative_error(found, expected) < 1e-5
    assert (
        report.finite
        and report.grad_norm == pytest.approx(norm, rel=1e-5)
        and report.loss == pytest.approx(loss, rel=1e-5)
    )
    assert report.tokens == sum(int((row.mask != 0).sum()) for row in rows)


@pytest.mark.parametrize("ranks, stage, budget, packing, share, micro_batches", [
    (1, 0, 16384, True, True, 1), (1, 0, 112, True, False, 4), (1, 1, 52, False, True, 7), (1, 2, 112, True, False, 4),
    (1, 3, 52, False, True, 7),
    (2, 0, 20, False, False, 7), (2, 1, 16384, True, True, 1), (2, 2, 56, True, False, 4), (2, 3, 20, True, True, 7),
])  # fmt: skip
def test_terms_see_sequences_and_the_whole_minibatch(
    groups, tiny_model, ranks, stage, budget, packing, share, micro_batches
):
    """Whatever the micro-batches: sequence losses, sums, numbers of all tokens, readouts with autograd's gradient.

    The shipped losses among them, each with its figures over all ranks.
    """
    rows, terms = make_rows(16, kinds=WHOLE_KINDS), TERMS + WHOLE_TERMS + SHIPPED_TERMS
    figures = {}
    expected, norm, loss = plain_gradient(load_plain(tiny_model), rows, terms, temperature=1.3, figures=figures)
    for figure in ("gspo/clip_fraction", "clip_cov/left_out", "clip_cov/clip_fraction", "kl_cov/pulled_back"):
        assert 0.03 < figures[f"shipped_{figure}"] < 0.97, "what tells these losses from each other has to be there"
    config = learner_config(
        tiny_model,
        temperature=1.3,
        ranks=ranks,
        zero_stage=stage,
        micro_batch_tokens=budget,
        packing=packing,
        share_prompts=share,
        **(SGD | {"max_grad_norm": 0.0}),
    )
    found, [report] = gradient_of(groups[ranks], config, [rows], terms)
    assert len(groups[ranks]._shards(rows)[0].micro_batches) == micro_batches
    assert relative_error(found, expected) < 1e-5
    assert report.loss == pytest.approx(loss, rel=1e-5) and report.grad_norm == pytest.approx(norm, rel=1e-5)
    assert report.metrics == pytest.approx(figures, rel=1e-5, abs=1e-6)
    tokens = sum(int((row.mask != 0).sum()) for row in rows if "covariance" in row.terms)
    assert report.metrics["covariance/tokens"] == report.metrics["covariance/of"] == tokens


def test_rows_with_one_prompt_share_it_unless_told_not_to(groups, tiny_model):
    def shared(**learner):
        groups[1].reset(learner_config(tiny_model, **learner))
        return [
            bundle
            for batch in groups[1]._shards(make_rows())[0].micro_batches
            for line in batch
            for bundle in line
            if len(bundle) > 1
        ]

    assert shared() and not shared(share_prompts=False)


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_several_minibatches_are_several_steps(groups, tiny_model, stage):
    minibatches = [
        make_rows(5, seed=1),
        make_rows(3, seed=2),
        make_rows(1, seed=3),
    ]  # the last one leaves a rank without a row
    model = load_plain(tiny_model)
    for rows in minibatches:
        gradient, _, _ = plain_gradient(model, rows, max_norm=0.5)
        with torch.no_grad():
            for name, p in model.named_parameters():
                p -= torch.from_numpy(gradient[name]).float()
    before = dict(load_plain(tiny_model).named_parameters())
    expected = {
        name: (before[name].detach().double() - p.detach().double()).numpy() for name, p in model.named_parameters()
    }
    config = learner_config(tiny_model, ranks=2, zero_stage=stage, micro_batch_tokens=50, **SGD)
    found, reports = gradient_of(groups[2], config, minibatches)
    assert [r.finite for r in reports] == [True] * 3
    assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize("stage", [0, 3])
def test_activation_checkpointing_changes_nothing(groups, tiny_model, stage):
    rows = make_rows()
    expected, _, _ = plain_gradient(load_plain(tiny_model), rows, max_norm=0.5)
    config = learner_config(
        tiny_model, ranks=2, zero_stage=stage, micro_batch_tokens=64, activation_checkpointing=True, **SGD
    )
    found, _ = gradient_of(groups[2], config, [rows])
    assert relative_error(found, expected) < 1e-5


def test_bfloat16_is_near(groups, tiny_model):
    rows = make_rows()
    expected, norm, _ = plain_gradient(load_plain(tiny_model), rows)
    config = learner_config(tiny_model, ranks=2, zero_stage=1, micro_batch_tokens=64, **(SGD | {"max_grad_norm": 0.0}))
    config.model.dtype = "bfloat16"
    found, [report] = gradient_of(groups[2], config, [rows])
    assert report.finite and report.grad_norm == pytest.approx(norm, rel=0.02)
    assert relative_error(found, expected) < 0.05


@pytest.mark.parametrize("ranks", [1, 2])
def test_metrics_are_means_over_all_ranks(groups, tiny_model, ranks):
    rows = make_rows()
    model = load_plain(tiny_model)
    clipped = []
    with torch.no_grad():
        for row in (r for r in rows if "policy_gradient" in r.terms):
            logprob, _ = plain_scores(model, row.tokens, row.prompt_length)
            kept, ratio = row.mask != 0, np.exp(logprob.numpy() - row.columns["old_logprob"])
            a = row.columns["advantage"]
            clipped.append((((a > 0) & (ratio > 1.28)) | ((a < 0) & (ratio < 0.8)))[kept])
    config = learner_config(tiny_model, ranks=ranks, micro_batch_tokens=64, **SGD)
    _, [report] = gradient_of(groups[ranks], config, [rows])
    assert report.metrics["policy_gradient/clip_fraction"] == pytest.approx(np.concatenate(clipped).mean())
    assert sum(v for k, v in report.metrics.items() if k.endswith("/loss")) == pytest.approx(report.loss, rel=1e-5)


@pytest.mark.parametrize("ranks, stage", [(1, 0), (2, 0), (2, 3)])
def test_scores_are_those_of_transformers(groups, tiny_model, ranks, stage):
    config = learner_config(tiny_model, ranks=ranks, zero_stage=stage, micro_batch_tokens=100, **SGD)
    groups[ranks].reset(config, LearnerNeeds(base=True))
    rows = make_rows(9, seed=5)
    sequences = [(row.tokens, row.prompt_length) for row in rows]
    asked = (entropy(0.7), top_logprobs(5), HIDDEN_MEAN, logprob(), rank_of_target(), nucleus_logprob(1.5, 0.8))
    model = load_plain(tiny_model)
    expected = []
    with torch.no_grad():
        for tokens, prompt_length in sequences:
            log_p, chosen = plain_log_p(model, tokens, prompt_length)
            hidden = model.model(torch.tensor(tokens[None]).long()).last_hidden_state[0, prompt_length - 1 : -1]
            values = [hidden.mean(0) if readout is HIDDEN_MEAN else readout.of(log_p, chosen) for readout in asked]
            expected.append([value.numpy() for value in values])
    for name in ("policy", "base"):
        for found, wanted in zip(groups[ranks].read(sequences, asked, model=name), expected, strict=True):
            for got, value in zip(found, wanted, strict=True):
                assert got.dtype == np.float32
                np.testing.assert_allclose(got, value, atol=2e-5)
    groups[ranks].update([rows], TERMS)
    moved = groups[ranks].read(sequences, (logprob(),))
    frozen = groups[ranks].read(sequences, (logprob(),), model="base")
    assert max(np.abs(m - e[3]).max() for (m,), e in zip(moved, expected, strict=True)) > 1e-3
    assert max(np.abs(f - e[3]).max() for (f,), e in zip(frozen, expected, strict=True)) < 2e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_zero_3_holds_shards_from_the_start(groups, tiny_model, dtype):
    """Not the whole model first: what does not fit in one rank's memory could not be loaded."""
    config = learner_config(tiny_model, ranks=2, zero_stage=3)
    groups[2].reset(config)
    for held, types in groups[2].apply(held_by_loading, tiny_model, dtype):
        assert held == pytest.approx(0.5, abs=0.01)
        assert types == {getattr(torch, dtype), torch.float32}  # the rotary frequencies stay in float32
    groups[2].reset(config, LearnerNeeds(base=True))
    groups[2].read([(row.tokens, row.prompt_length) for row in make_rows(4)], (logprob(),), model="base")
    assert groups[2].apply(held_of_base) == pytest.approx([0.5, 0.5], abs=0.01)


def test_bfloat16_scores_the_same_in_shards(groups, tiny_model):
    sequences, found = [(row.tokens, row.prompt_length) for row in make_rows(6)], {}
    for stage in (1, 3):
        config = learner_config(tiny_model, ranks=2, zero_stage=stage)
        config.model.dtype = "bfloat16"
        groups[2].reset(config, LearnerNeeds(base=True))
        found[stage] = [
            np.concatenate([values for (values,) in groups[2].read(sequences, (logprob(),), model=name)])
            for name in ("policy", "base")
        ]
    np.testing.assert_array_equal(found[1], found[3])


@pytest.mark.parametrize("stage, offload", [(0, False), (1, False), (2, False), (3, False), (2, True)])
def test_nan_in_one_row_skips_the_step_on_all_ranks(groups, tiny_model, stage, offload):
    config = learner_config(
        tiny_model, ranks=2, zero_stage=stage, offload_optimizer=offload, micro_batch_tokens=40, **SGD
    )
    good, bad = make_rows(), make_rows()
    shortest = min(range(len(bad)), key=lambda i: len(bad[i].tokens))
    bad[shortest].terms = {"policy_gradient": 1.0}  # in the last micro-batch: others are accumulated by then
    bad[shortest].columns["advantage"][-1] = np.nan
    nothing, [report] = gradient_of(groups[2], config, [bad])
    assert not report.finite and np.isnan(report.loss)
    assert all((change == 0).all() for change in nothing.values())
    expected, _, _ = plain_gradient(load_plain(tiny_model), good, max_norm=0.5)
    found, reports = gradient_of(groups[2], config, [bad, good, bad])
    assert [r.finite for r in reports] == [False, True, False]
    assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_gradient_that_is_not_finite_makes_no_step(groups, tiny_model, stage):
    config = learner_config(tiny_model, ranks=2, zero_stage=stage, **SGD)
    good, bad = make_rows(), make_rows()
    bad[0].terms["steep"] = 1.0
    found, reports = gradient_of(groups[2], config, [bad, bad])
    assert [r.finite for r in reports] == [False, False]
    assert all((change == 0).all() for change in found.values())
    [report] = groups[2].update([good], TERMS)
    assert report.finite and report.grad_norm == pytest.approx(
        plain_gradient(load_plain(tiny_model), good)[1], rel=1e-5
    )


def test_bfloat16_skips_nan_too(groups, tiny_model):
    config = learner_config(tiny_model, ranks=2, zero_stage=1, micro_batch_tokens=40, **SGD)
    config.model.dtype = "bfloat16"
    bad = make_rows()
    bad[min(range(len(bad)), key=lambda i: len(bad[i].tokens))].terms = {"policy_gradient": np.nan}
    found, [report] = gradient_of(groups[2], config, [bad])
    assert not report.finite and all((change == 0).all() for change in found.values())
    [once] = groups[2].update([make_rows()], TERMS)
    [again] = gradient_of(groups[2], config, [make_rows()])[1]
    assert once.finite and once.grad_norm == again.grad_norm


def test_nothing_to_learn_from_is_no_step(groups, tiny_model):
    found, [report] = gradient_of(groups[2], learner_config(tiny_model, ranks=2, **SGD), [[]])
    assert report.finite and report.tokens == 0 and all((change == 0).all() for change in found.values())


def test_of_a_row_only_what_its_terms_read_travels_to_the_ranks(groups, tiny_model):
    """However much is known of each token; and all of it as arrays."""
    read = {
        "policy_gradient": {"old_logprob", "advantage"},
        "kl": {"base_logprob"},
        "entropy": set(),
        "shaped_trace": {"advantage"},
        "likelihood": set(),
        "value": {"value", "return"},
    }
    rows = make_rows(8)
    for row in rows:
        row.terms["value"] = 0.1
        row.columns |= dict.fromkeys(("value", "return", "entropy", "correction", "of_nobody"), row.mask * 0.5)
    groups[2].reset(learner_config(tiny_model, ranks=2, **SGD), LearnerNeeds(critic=True))
    groups[2].apply(note_arrivals)
    groups[2].update([rows], [*TERMS, VALUE_TERM])
    arrived = [row for rank in groups[2].apply(arrivals) for row in rank]
    assert len(arrived) == 2 * len(rows)
    for model, terms, columns, types in arrived:
        assert set(columns) == set().union(*(read[term] for term in terms))
        assert types == ["float32", "int32"] and (model == "critic") == (terms == ["value"])
    assert {len(columns) for _, _, columns, _ in arrived} == {0, 1, 2, 3}


def test_rows_that_do_not_fit_are_refused(groups, tiny_model):
    groups[1].reset(learner_config(tiny_model))
    [row] = make_rows(1)
    row.terms = {"surprise": 1.0}
    with pytest.raises(ValueError, match="surprise"):
        groups[1].update([[row]], TERMS)
    row.terms = {"kl": 1.0}
    del row.columns["base_logprob"]
    with pytest.raises(ValueError, match="base_logprob"):
        groups[1].update([[row]], TERMS)


def test_a_long_optimizer_step_is_no_stuck_rank(groups, tiny_model):
    config = learner_config(tiny_model, **SGD)
    config.devices.stall_timeout_s = 2.0
    groups[1].reset(config)
    groups[1].apply(make_steps_slow, 10.0)
    [report] = groups[1].update([make_rows()], TERMS)
    assert report.finite


# --- faults: each ends the two ranks, so they come last ---------------------------------------------------------------


def test_a_stuck_rank_is_named_and_ended(groups, tiny_model):
    group = groups[2]
    config = learner_config(tiny_model, ranks=2, **SGD)
    config.devices.stall_timeout_s = 4.0
    group.reset(config)
    pids = [pid for pid, _ in group.processes]
    os.kill(pids[1], signal.SIGSTOP)
    with pytest.raises(ActorFault, match="learner rank 1.*stuck") as fault:
        group.update([make_rows()], TERMS)
    assert fault.value.who.startswith("learner rank 1")
    assert group.actors == []
    wait_until_gone(pids)


def wait_until_gone(pids, patience_s=30.0):
    deadline = time.monotonic() + patience_s
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "the ranks are still there"
        time.sleep(0.1)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_rank_is_named(groups, tiny_model):
    group = groups[2]
    group.reset(learner_config(tiny_model, ranks=2, **SGD))
    os.kill(group.processes[1][0], signal.SIGKILL)
    with pytest.raises(ActorFault, match="learner rank 1.*died"):
        group.update([make_rows()], TERMS)
    assert group.actors == []
