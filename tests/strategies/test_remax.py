"""ReMax: its worked gradient, a share of 0 is GRPO, resume, and what happens without a baseline."""

import pytest
from fixed_batch import coin_table, gradient_of_groups, group, sample
from resuming import goes_on

from explore_rl.strategies.methods.remax import Remax
from explore_rl.testing import digits_config, run_steps


def two_and_greedy(greedy):
    return group(sample((0, 0), 1.0), sample((1, 1), 0.0), sample((0, 0), greedy, source="greedy"))


def test_each_is_measured_against_the_greedy_completion():
    """Advantages 0 and -1 over 4 tokens of probability 1/2: -(1/4) (-1) (-1/2); the greedy one teaches nothing."""
    groups = [two_and_greedy(1.0)]
    found = gradient_of_groups(groups, [Remax()], config=digits_config(), table=coin_table(2))
    assert [s.advantage for s in groups[0].samples[:2]] == pytest.approx([0.0, -1.0])
    assert found[:, 0] == pytest.approx([-0.125, -0.125], abs=1e-6)


def test_a_group_whose_greedy_completion_has_no_verdict_is_left_out():
    groups = [two_and_greedy(None)]
    assert not gradient_of_groups(groups, [Remax()], config=digits_config(), table=coin_table(2)).any()
    assert all(s.reward is None for s in groups[0].samples)


def test_with_a_share_of_0_it_is_grpo_bit_for_bit(tmp_path):
    plain = run_steps(tmp_path / "plain")
    off = run_steps(tmp_path / "off", [Remax(share=0.0)])
    assert (off.table == plain.table).all()
    on = run_steps(tmp_path / "on", [Remax()])
    assert (on.table != plain.table).any()


def test_there_is_one_greedy_draw_a_group_and_it_is_the_likeliest(tmp_path):
    outcome = run_steps(tmp_path, [Remax()], config=digits_config("run.steps=1"))
    samples = outcome.samples(0)
    greedy = [s for s in samples if s["source"] == "greedy"]
    assert len(samples) == 36 and sorted(s["group"] for s in greedy) == [0, 1, 2, 3]
    for baseline in greedy:
        drawn = [s for s in samples if s["group"] == baseline["group"] and s["source"] == "policy"]
        assert all(s["advantage"] == pytest.approx(s["reward"] - baseline["reward"]) for s in drawn)
        assert sum(baseline["logprobs"]) >= max(sum(s["logprobs"]) for s in drawn) - 1e-6
    assert len(outcome.updates[0].rows) == sum(s["advantage"] != 0 for s in samples if s["source"] == "policy")


def test_it_goes_on_where_it_stopped(tmp_path):
    goes_on(tmp_path, lambda: [Remax()])
