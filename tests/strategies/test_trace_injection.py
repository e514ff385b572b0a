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
    strategy.check(context.config, problems, [])
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
    strategy.check(context.config, problems, [])
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
        seen.update({tuple(tokens[start:].tolist()): -float(tokens.sum()) for tokens, start in sequences})
        return [(np.array([-float(tokens.sum())]),) for tokens, _ in sequences]

    groups, _ = run_step(TraceInjection(which="least_likely"), problems, draft, step(read=read))
    several = [g for g in groups if len(g.problem.traces) > 1]
    for group in several:
        chosen = tuple(group.samples[0].rollout.tokens.tolist())
        rivals = [
            v
            for tokens, v in seen.items()
            if any(tokens == tuple(step().encode_completion(t.text).tolist()) for t in group.problem.traces)
        ]
        assert seen[chosen] == min(rivals)


def test_a_problem_that_comes_twice_in_a_step_has_its_traces_once(problems, config, step):
    """At the turn of an epoch one step may hold a problem twice."""
    twice = [problems[0], problems[1], problems[0]]
    source = TraceInjection().source
    context = step()
    source.prepare(twice, context)
    for problem in problems[:2]:
        assert [u.trace for u in source.usable[problem.id]] == list(problem.traces)
    config.rollout.max_new_tokens = 3
    short = TraceInjection().source
    short.prepare(twice, context)
    assert short.too_long == len(problems[0].traces) + len(problems[1].traces)


@pytest.mark.parametrize("made", [TraceInjection, Likelihood])
def test_the_learner_is_asked_once_for_all_groups(problems, draft, step, made):
    asked = []

    def read(sequences, readouts):
        asked.append(len(sequences))
        return [(-np.ones(len(tokens) - start),) for tokens, start in sequences]

    groups, _ = run_step(made(which="least_likely"), problems, draft, step(read=read))
    several = [len(g.problem.traces) for g in groups if len(g.problem.traces) > 1]
    assert len(several) > 1 and asked == [sum(several)]


def test_likelihood_alone_draws_nothing_and_feeds_its_own_term(problems, draft, step):
    groups, kept = run_step(Likelihood(only=True), problems, draft, step())
    assert kept == [] and all(s.terms == {"likelihood": 1.0} for g in groups for s in g.samples)


def test_problems_without_traces_are_refused(problems, config):
    with pytest.raises(InputError, match="none of the training problems has a trace"):
        TraceInjection().check(config, [replace(p, traces=()) for p in problems], [])
    with pytest.raises(InputError, match="below algorithm.group_size=4"):
        TraceInjection(per_group=4).check(config, problems, [])


def test_a_budget_gives_traces_to_a_share_of_the_problems_drawn_once(problems, draft, step):
    """The same problems whatever the method and the run's step; the others are drawn and learnt from as before."""
    taught = {}
    for share in (0.25, 0.5):
        for kind, number in ((TraceInjection, 0), (TraceInjection, 7), (Likelihood, 3)):
            strategy = kind(traces={"share_of_problems": share})
            groups, _ = run_step(strategy, problems, draft, step(number))
            ids = {group.problem.id for group in groups if group.samples}
            assert taught.setdefault(share, ids) == ids
    assert [len(ids) for ids in taught.values()] == [2, 4] and taught[0.25] < taught[0.5]
    other = TraceInjection(traces={"share_of_problems": 0.5, "seed": 1})
    groups, _ = run_step(other, problems, draft, step())
    assert {group.problem.id for group in groups if group.samples} != taught[0.5]


@pytest.mark.parametrize(
    ("traces", "said"),
    [
        ({"share": 0.1}, "unknown key 'share'; known: file, seed, share_of_problems"),
        ({"share_of_problems": 5}, "share between 0 and 1"),
        ({"share_of_problems": 0}, "leave the strategy out"),
        ({"seed": -1}, "traces.seed"),
        (3, "expected text, or null"),
    ],
)
def test_a_budget_without_meaning_is_refused(traces, said):
    with pytest.raises(ValueError, match=said):
        Likelihood(traces=traces)
