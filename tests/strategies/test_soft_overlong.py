"""DAPO's soft overlong punishment: its worked gradient, nothing at 0, and that it goes on where it stopped."""

import pytest
from fixed_batch import coin_table, gradient_of_groups, group, sample

from analysis.errors import InputError
from explore_rl.strategies.methods.soft_overlong import SoftOverlong
from explore_rl.testing import digit_table, digits_config, make_trainer, run_steps


def test_the_longer_of_two_right_answers_loses():
    """Budget 4, buffer 2: rewards 1 and 1 - .5, advantages .25 and -.25; 6 tokens, of probability 1/2."""
    config = digits_config("rollout.max_new_tokens=4", "algorithm.advantage=dr_grpo")
    groups = [group(sample((0, 0), 1.0), sample((1, 1, 1, 1), 1.0))]
    found = gradient_of_groups(groups, [SoftOverlong(buffer=2)], config=config, table=coin_table(4))
    assert [s.reward for s in groups[0].samples] == [1.0, 0.5]
    assert found[:, 0] == pytest.approx([-0.25 / 6, -0.25 / 6, -0.125 / 6, -0.125 / 6], abs=1e-6)


def table_of_two_lengths():
    """Where the end may come after one digit already."""
    table = digit_table()
    table.logits[1::3, table.logits[2].argmax()] = 0.0
    return table


def test_with_a_coefficient_of_0_it_is_grpo_bit_for_bit(tmp_path):
    table = table_of_two_lengths()
    plain = run_steps(tmp_path / "plain", table=table)
    off = run_steps(tmp_path / "off", [SoftOverlong(buffer=1, coefficient=0.0)], table=table)
    assert (off.table == plain.table).all()
    on = run_steps(tmp_path / "on", [SoftOverlong(buffer=1)], table=table)
    assert (on.table != plain.table).any()
    assert 0 < on.metrics[0]["soft_overlong/punished"] < 1


def test_dapo_goes_on_where_it_stopped(tmp_path):
    dapo = ("algorithm.clip_high=0.28", "algorithm.epochs=2", "algorithm.dynamic_sampling_rounds=3")
    settings = {
        "config": digits_config(*dapo, "run.steps=6", "learner.learning_rate=20"),
        "table": table_of_two_lengths(),
    }
    whole = run_steps(tmp_path / "whole", [SoftOverlong(buffer=1)], **settings)
    run_steps(tmp_path / "broken", [SoftOverlong(buffer=1)], **settings, stop_after=3)
    resumed = run_steps(tmp_path / "broken", [SoftOverlong(buffer=1)], **settings)
    assert (resumed.table == whole.table).all()


def test_a_buffer_above_the_budget_is_refused(tmp_path):
    with pytest.raises(InputError, match="buffer=4: above rollout.max_new_tokens=3"):
        make_trainer(tmp_path, [SoftOverlong(buffer=4)])
