"""DAPO's soft overlong punishment: its worked gradient, nothing at 0, and that it goes on where it stopped."""

import pytest
from fixed_batch import coin_table, gradient_of_groups, group, sample
from resuming import goes_on

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


def test_all_four_parts_of_dapo():
    """The same answers twice over, beside a group that is all right at one length and goes; 6 tokens, not 10.

    The first update at a rate of 6 moves the logits' difference by .5 at the first two positions: the token 0 goes from
    1/2 to .6225, ratio 1.2449, which clip_high .28 lets through and .2 would not; the token 1 to .3775, ratio .755,
    which clip_low .2 stops. At the last two it is .25: .5622 and, for the token 1, ratio .8756.
    """
    settings = ("rollout.max_new_tokens=4", "algorithm.advantage=dr_grpo", "algorithm.aggregation=token")
    dapo = ("algorithm.epochs=2", "algorithm.dynamic_sampling_rounds=3", "learner.learning_rate=6")

    def second(high):
        groups = [
            group(sample((0, 0), 1.0), sample((1, 1, 1, 1), 1.0)),
            group(sample((0, 0), 1.0), sample((1, 1), 1.0)),
        ]
        config = digits_config(*settings, *dapo, f"algorithm.clip_high={high}")
        return gradient_of_groups(groups, [SoftOverlong(buffer=2)], config=config, table=coin_table(4), update=1)[:, 0]

    first = 0.25 * 1.2449187 * 0.3775407 / 6
    last = 0.25 * 0.8756480 * 0.5621765 / 6
    assert second(0.28) == pytest.approx([-first, -first, -last, -last], abs=1e-6)
    assert second(0.2) == pytest.approx([0, 0, -last, -last], abs=1e-6)


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
    goes_on(tmp_path, lambda: [SoftOverlong(buffer=1)], settings=dapo, table=table_of_two_lengths())


def test_a_buffer_above_the_budget_is_refused(tmp_path):
    with pytest.raises(InputError, match="buffer=4: above rollout.max_new_tokens=3"):
        make_trainer(tmp_path, [SoftOverlong(buffer=4)])
