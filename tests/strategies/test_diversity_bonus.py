"""Counts of answers: worked numbers, groups without signal still get the bonus, a restored state goes on as it was."""

import json
import math

import pytest

from explore_rl.strategies.methods.diversity_bonus import DiversityBonus
from explore_rl.types import Group, Status


@pytest.mark.parametrize(
    ("visits", "expected"), [(0, 0.5), (1, 0.5), (2, math.sqrt(1 / 2) - 0.5), (4, 0.0), (16, -0.25)]
)
def test_worked_bonus_of_the_constant_baseline(visits, expected):
    strategy = DiversityBonus(coefficient=1.0)
    strategy.counts = {"p": {"a": visits}} if visits else {}
    assert strategy.bonus("p", "a", in_group=1, group_size=4) == pytest.approx(expected)


def test_worked_bonus_within_the_batch():
    assert DiversityBonus(kind="batch").bonus("p", "a", in_group=3, group_size=8) == -2 / 8


def test_it_is_active_where_all_rewards_are_equal(problems, sample_of, step):
    problem = problems[0]
    group = Group(problem, [sample_of(problem, 0, a, Status.WRONG) for a in ("1+1", "1+1", "2+2", "3*3")])
    strategy, context = DiversityBonus(coefficient=0.2, kind="batch"), step()
    strategy.advantage([group], context)
    assert [s.advantage for s in group.samples] == pytest.approx([-0.05, -0.05, 0.0, 0.0])
    assert context.metrics["revisited"] == 0.0


def test_counts_exclude_the_current_batch_and_accumulate_over_steps(problems, sample_of, step):
    problem, strategy = problems[0], DiversityBonus(coefficient=1.0, kind="ucb")
    for visits in (0, 3, 6):
        group = Group(problem, [sample_of(problem, 0, "1+1", Status.WRONG) for _ in range(3)])
        context = step()
        strategy.advantage([group], context)
        assert group.samples[0].advantage == pytest.approx(min(1.0, math.sqrt(1 / visits)) if visits else 1.0)
        assert context.metrics["revisited"] == (1.0 if visits else 0.0)


def test_writings_of_one_mode_count_as_one(problems, sample_of, step):
    problem, strategy = problems[0], DiversityBonus(kind="batch", coefficient=1.0)
    group = Group(problem, [sample_of(problem, 0, a, Status.CORRECT, mode="+1+2") for a in ("1+2", "2+1")])
    strategy.advantage([group], step())
    assert [s.advantage for s in group.samples] == [-0.5, -0.5]


@pytest.mark.parametrize("status", [Status.NO_ANSWER, Status.TIMEOUT, Status.ERROR])
def test_no_answer_and_errors_earn_none(problems, sample_of, step, status):
    problem, strategy = problems[0], DiversityBonus(coefficient=1.0)
    group = Group(problem, [sample_of(problem, 0, "1+1", status)])
    strategy.advantage([group], step())
    assert group.samples[0].advantage == 0.0 and not strategy.counts[problem.id]


def test_a_restored_state_goes_on_as_it_was(problems, sample_of, step):
    def one_more(strategy):
        groups = [
            Group(p, [sample_of(p, g, "1+1", Status.WRONG), sample_of(p, g, "2+2", Status.WRONG)])
            for g, p in enumerate(problems)
        ]
        strategy.advantage(groups, step())
        return [s.advantage for g in groups for s in g.samples]

    first = DiversityBonus()
    one_more(first)
    restored = DiversityBonus()
    restored.load_state(json.loads(json.dumps(first.state())))
    assert one_more(restored) == one_more(first)


def test_a_coefficient_of_zero_leaves_every_advantage_as_it_was(problems, sample_of, step):
    problem = problems[0]
    group = Group(problem, [sample_of(problem, 0, a, Status.WRONG) for a in ("1+1", "2+2")])
    group.samples[0].advantage = 0.123456789
    DiversityBonus(coefficient=0.0).advantage([group], step())
    assert [s.advantage for s in group.samples] == [0.123456789, 0.0]


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="expected one of"):
        DiversityBonus(kind="ucbs")
    with pytest.raises(ValueError, match="no effect"):
        DiversityBonus(kind="batch", b0=0.3)
