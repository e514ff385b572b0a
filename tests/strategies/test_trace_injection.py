"""Traces join groups: which, when, verified once, never cut; and with a rate of zero nothing changes."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from analysis.errors import InputError
from explore_rl.lab import countdown
from explore_rl.strategies.methods.likelihood import Likelihood
from explore_rl.strategies.methods.trace_injection import TraceInjection
from explore_rl.types import Group, Status, Trace


def empty_groups(problems):
    return [Group(p, []) for p in problems]


def run_step(strategy, problems, draft, context):
    strategy.check(context.config, problems)
    groups = empty_groups(problems)
    kept = strategy.plan(draft, groups, 0, context)
    strategy.inject(groups, context)
    return groups, kept


def test_a_trace_takes_the_place_of_a_draw_in_every_group(problems, draft, step):
    groups, kept = run_step(TraceInjection(), problems, draft, step())
    assert len(kept) == len(draft) - len(problems)
    for group in groups:
        (sample,) = group.samples
        assert (
            sample.rollout.request.source == "trace"
            and sample.verdict.status is Status.CORRECT
            and sample.reward == 1.0
        )
        assert sample.terms == {"shaped_trace": 1.0} and sample.rollout.tokens[-1] == 19
        assert sample.rollout.text in countdown.enumerate_answers(
            group.problem.answer["numbers"], group.problem.answer["target"]
        )


def test_switched_off_it_changes_nothing(problems, draft, step):
    groups, kept = run_step(TraceInjection(rate=0.0), problems, draft, step())
    assert kept == draft and all(not g.samples for g in groups)


def test_the_same_step_injects_the_same_traces_again(problems, draft, step):
    texts = [
        [s.rollout.text for g in run_step(TraceInjection(rate=0.5), problems, draft, step(3))[0] for s in g.samples]
        for _ in range(2)
    ]
    assert texts[0] == texts[1] and 0 < len(texts[0]) < len(problems)


def test_only_groups_without_success_get_one_if_so_asked(problems, draft, failed_groups, step, sample_of):
    strategy, context = TraceInjection(when="no_success"), step()
    strategy.check(context.config, problems)
    failed_groups[0].samples.append(sample_of(problems[0], 0, "1+1", Status.CORRECT))
    assert strategy.plan(draft, failed_groups, 0, context) == draft
    strategy.inject(failed_groups, context)
    assert [sum(s.rollout.request.source == "trace" for s in g.samples) for g in failed_groups] == [0] + [1] * (
        len(problems) - 1
    )


def test_statistics_over_on_policy_samples_only(problems, draft, step):
    groups, _ = run_step(TraceInjection(statistics="on_policy"), problems, draft, step())
    assert not any(s.rollout.request.in_baseline for g in groups for s in g.samples)


def test_a_wrong_trace_is_reported_and_left_out(problems, draft, step, caplog):
    problems[0] = replace(problems[0], traces=(Trace("1+1", "nobody"),))
    context = step()
    with caplog.at_level(logging.WARNING):
        groups, kept = run_step(TraceInjection(), problems, draft, context)
    assert problems[0].id in caplog.text and "nobody" in caplog.text
    assert not groups[0].samples and sum(r.group == 0 for r in kept) == 4 and context.metrics["left_out_wrong"] == 1


def test_a_trace_over_the_limit_is_left_out_never_cut(problems, draft, step, config):
    config.rollout.max_new_tokens = 3
    context = step()
    groups, kept = run_step(TraceInjection(), problems, draft, context)
    assert kept == draft and context.metrics["left_out_too_long"] == sum(len(p.traces) for p in problems)


def test_a_region_can_be_left_out(problems, draft, step):
    strategy = TraceInjection(leave_out=["division"])
    assert any(t.region == "division" for p in problems for t in p.traces)
    groups, _ = run_step(strategy, problems, draft, step())
    assert not any("/" in s.rollout.text for g in groups for s in g.samples)


def test_the_least_likely_trace(problems, draft, step):
    seen = {}

    def read(sequences, readouts):
        found = [(np.array([-float(tokens.sum())]),) for tokens, _ in sequences]
        seen.update({tuple(t[p:]): values[0] for (t, p), (values,) in zip(sequences, found, strict=True)})
        return found

    groups, _ = run_step(TraceInjection(which="least_likely"), problems, draft, step(read=read))
    several = [g for g in groups if len(g.problem.traces) > 1]
    for group in several:
        chosen = group.samples[0].rollout.tokens
        rivals = [
            v
            for tokens, v in seen.items()
            if any(tokens == (*(step().encode_completion(t.text)),) for t in group.problem.traces)
        ]
        assert seen[chosen] == min(rivals)


def test_likelihood_alone_draws_nothing_and_feeds_its_own_term(problems, draft, step):
    groups, kept = run_step(Likelihood(only=True), problems, draft, step())
    assert kept == [] and all(s.terms == {"likelihood": 1.0} for g in groups for s in g.samples)


def test_problems_without_traces_are_refused(problems, config):
    with pytest.raises(InputError, match="none of the training problems has a trace"):
        TraceInjection().check(config, [replace(p, traces=()) for p in problems])
    with pytest.raises(InputError, match="below algorithm.group_size=4"):
        TraceInjection(per_group=4).check(config, problems)
