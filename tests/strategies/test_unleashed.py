"""Detours and lift, alone and together: gradients by hand, what is tried, what is remembered, what stays as it was."""

from types import SimpleNamespace

import numpy as np
import pytest
from one_step import OneStep, drawn

from analysis.errors import InputError
from explore_rl.models import load_tokenizer
from explore_rl.strategies.checks import check_strategy
from explore_rl.strategies.methods.detours import DETOUR, Detours
from explore_rl.strategies.methods.lift import Lift
from explore_rl.testing import digits_config, run_steps

UNIFORM = [[0.25] * 4] * 2


def test_the_gradient_of_lift_is_the_one_by_hand():
    one = OneStep(Lift(coefficient=0.3, floor=0.3), [[0.25, 0.5, 0.125, 0.125]])
    shown = [drawn([0], 1), drawn([1], 1)]
    for sample in shown:
        sample.terms = {"lift": 0.3}
    # The second is above the floor: it pulls at nothing, and counts in the mean. -.15 (e_0 - p).
    assert one.step(shown).gradient[0] == pytest.approx([-0.1125, 0.075, 0.01875, 0.01875], abs=1e-6)


def test_the_gradient_of_detours_is_the_one_by_hand():
    one = OneStep(Detours(coefficient=0.3), UNIFORM)
    detour = drawn([2, 0], 1)
    detour.terms = {"detours": 0.3}
    update = one.step([detour])
    assert update.gradient[0] == pytest.approx([0.0375, 0.0375, -0.1125, 0.0375], abs=1e-6)
    assert update.gradient[1] == pytest.approx([-0.1125, 0.0375, 0.0375, 0.0375], abs=1e-6)


@pytest.mark.parametrize("rarity", [0.0, 1.0, 2.0])
def test_what_is_drawn_least_is_tried_most(rarity):
    config = digits_config()
    strategy = Detours(rarity=rarity)
    strategy.count([np.array([3, 3, 4])], SimpleNamespace(config=config))
    q = strategy.count([np.array([3])], SimpleNamespace(config=config))
    assert q.sum() == pytest.approx(1) and q[19] == q[20] == 0  # the end and the padding are no detour
    assert (q[5] / q[3], q[5] / q[4]) == pytest.approx((4**rarity, 2**rarity))


def test_only_what_is_named_is_tried():
    config = digits_config()
    q = Detours(among=["3", "7"]).count([np.array([3, 3, 4])], SimpleNamespace(config=config))
    tokenizer = load_tokenizer(config.model.path)
    assert {tokenizer.decode([i]) for i in np.flatnonzero(q)} == {"3", "7"} and q.sum() == pytest.approx(1)
    with pytest.raises(InputError, match="among: '37' is 2 tokens"):
        Detours(among=["37"]).check(config, [], [])


def test_a_right_detour_differs_by_a_token_and_the_draws_stay_as_they_were(tmp_path):
    plain = run_steps(tmp_path / "plain", config=digits_config("run.steps=2"))
    strategies = [Detours(per_group=64, rarity=0.0), Lift()]
    both = run_steps(tmp_path / "both", strategies, config=digits_config("run.steps=2"))
    ours, theirs = both.samples(0), plain.samples(0)
    own = [sample for sample in ours if sample["source"] == "policy"]
    assert [(s["text"], s["advantage"]) for s in own] == [(s["text"], s["advantage"]) for s in theirs]
    found = [sample for sample in ours if sample["source"] == DETOUR]
    assert found and both.metrics[0]["detours/right"] == len(found)
    for detour in found:
        draws = [s["tokens"] for s in own if s["group"] == detour["group"]]
        assert min(sum(a != b for a, b in zip(detour["tokens"], d, strict=True)) for d in draws) <= 1
        assert detour["verdict"] == "correct" and not detour["in_baseline"]
    # Every token that was drawn or tried is counted.
    groups = len({s["group"] for s in theirs})
    assert (
        sum(strategies[0].seen)
        == sum(len(s["tokens"]) for step in (0, 1) for s in both.samples(step) if s["source"] == "policy")
        + 2 * 64 * groups
    )


def test_lift_shows_the_least_likely_of_what_was_right_and_never_two_of_a_mode(tmp_path):
    outcome = run_steps(tmp_path, [Lift(count=2, choice=50, floor=1.0)], config=digits_config("run.steps=4"))
    lift = next(s for s in outcome.trainer.strategies if s.name == "lift")
    for kept in lift.bank.kept.values():
        assert len({one.mode for one in kept}) == len(kept)
    shown = [s for s in outcome.samples(3) if s["source"] == "replay"]
    assert len(shown) == 2 and all(s["verdict"] == "correct" and s["reward"] == 1.0 for s in shown)
    assert len({s["problem_id"] for s in shown}) == 2


@pytest.mark.parametrize("kind", [Detours, Lift])
def test_they_act_rest_repeat_and_resume(kind):
    report = check_strategy(kind)
    assert report.ok, report


def test_a_recipe_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="per_group=-1: expected a whole number of at least 0"):
        Detours(per_group=-1)
    with pytest.raises(ValueError, match="floor=0: expected a finite number above 0"):
        Lift(floor=0)
