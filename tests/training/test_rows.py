"""From groups to rows: weights that add up over the mini-batch, masks, and which corrections reach the advantage."""

import pickle

import numpy as np
import pytest

from explore_rl.config.loading import load_config
from explore_rl.strategies import builtin
from explore_rl.strategies.base import StepContext
from explore_rl.strategies.together import terms_of
from explore_rl.training import rows
from explore_rl.types import Group, Problem, Request, Rollout, Sample, Status, Verdict

PROBLEM = Problem(id="p", prompt="", answer=None, verifier="countdown")


def sample(length, advantage=1.0, source="policy", gap=0.0, truncated=False, prefix=0, terms=None):
    engine = "base" if source == "base" else "policy"
    request = Request("p", 0, (1, 2, 3), max_tokens=24, source=source, engine=engine, prefix_ids=[9] * prefix)
    rollout = Rollout(
        request, tuple(range(length)), "", "length" if truncated else "stop", logprobs=np.full(length, -1.0, np.float32)
    )
    made = Sample(rollout, Verdict(Status.CORRECT, 1.0), reward=1.0, advantage=advantage)
    made.columns = {"old_logprob": np.full(length, -1.0 + gap, np.float32)}
    made.terms = terms or made.terms
    return made


def rows_of(samples, *overrides):
    config = load_config(None, list(overrides))
    made = rows.make_rows(valued(samples, config), terms_of(builtin.around([], config), config)[0], config=config)
    return [row for _, row in made]


def valued(samples, config):
    """The samples as the built-in strategies leave them that act after advantages."""
    context = StepContext(0, np.random.default_rng(0), config, None, None, None)
    for strategy in builtin.around([], config)[1:]:
        strategy.advantage([Group(PROBLEM, samples)], context)
    return samples


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("token", [1 / 12, 1 / 12]), ("sequence", [1 / (2 * 4), 1 / (2 * 8)]), ("constant", [1 / (2 * 32), 1 / (2 * 32)])],
)
def test_weights_by_aggregation(aggregation, expected):
    found = rows_of([sample(4), sample(8)], f"algorithm.aggregation={aggregation}")
    assert [r.terms["policy_gradient"] for r in found] == pytest.approx(expected)


def test_kl_and_entropy_go_with_policy_rows_times_their_coefficients():
    found = rows_of(
        [sample(4)], "algorithm.kl=k3", "algorithm.kl_coefficient=0.1", "algorithm.entropy_coefficient=0.01"
    )[0]
    assert found.terms == pytest.approx({"policy_gradient": 1 / 4, "kl": 0.1 / 4, "entropy": 0.01 / 4})


def test_a_given_prefix_is_masked_and_does_not_count():
    found = rows_of([sample(4, prefix=2), sample(2)])
    assert found[0].mask.tolist() == [0, 0, 1, 1] and found[0].terms["policy_gradient"] == pytest.approx(1 / 4)


def test_truncated_samples_teach_nothing_if_so_asked():
    found = rows_of([sample(4, truncated=True), sample(2)], "algorithm.mask_truncated=true")
    assert len(found) == 1 and found[0].terms["policy_gradient"] == pytest.approx(1 / 2)


def test_a_constant_divisor_does_not_follow_the_lengths():
    """Which samples are cut off, and so masked, follows from their lengths."""
    settings = ("algorithm.mask_truncated=true", "algorithm.aggregation=constant")
    (masked,) = rows_of([sample(4, truncated=True), sample(2)], *settings)
    both = rows_of([sample(4), sample(2)], *settings)
    assert masked.terms == both[1].terms == {"policy_gradient": pytest.approx(1 / (2 * 32))}


def test_the_engine_correction_is_truncated_and_only_for_what_the_policy_drew():
    (close, far, base) = rows_of([sample(2, gap=np.log(1.5)), sample(2, gap=5.0), sample(2, gap=5.0, source="base")])
    assert close.columns["advantage"] == pytest.approx([1.5, 1.5]) and far.columns["advantage"] == pytest.approx(
        [2.0, 2.0]
    )
    assert base.columns["advantage"] == pytest.approx([1.0, 1.0])
    off = rows_of([sample(2, gap=5.0)], "algorithm.importance_cap=null")
    assert off[0].columns["advantage"] == pytest.approx([1.0, 1.0])


def test_a_sample_that_left_its_group_makes_no_row_and_no_weight():
    config = load_config(None, ["algorithm.prompts_per_step=1"])
    left = sample(8)
    left.reward = None
    terms = terms_of(builtin.around([], config), config)[0]
    (minibatch,) = rows.make_minibatches([Group(PROBLEM, [sample(4), left])], terms, config=config, step=0)
    found = minibatch.rows
    assert len(found) == 1 and found[0].terms["policy_gradient"] == pytest.approx(1 / 4)


def test_minibatches_are_whole_groups_dealt_out_from_the_seed():
    config = load_config(None, ["algorithm.prompts_per_step=4", "algorithm.minibatches=2", "algorithm.epochs=2"])
    terms = terms_of(builtin.around([], config), config)[0]
    groups = [Group(PROBLEM, [sample(2 + g, advantage=g + 1.0) for _ in range(3)]) for g in range(4)]
    dealt = []
    for step in (0, 0, 1):
        minibatches = rows.make_minibatches(groups, terms, config=config, step=step)
        dealt.append([[row.columns["advantage"][0] for row in minibatch.rows] for minibatch in minibatches])
    assert dealt[0] == dealt[1] and dealt[0] != dealt[2]
    for epoch in (dealt[0][:2], dealt[0][2:]):
        assert sorted(a for rows in epoch for a in rows) == sorted([1.0, 2.0, 3.0, 4.0] * 3)
        assert all(rows.count(a) == 3 for rows in epoch for a in rows)


def minibatch_of(samples, *overrides):
    config = load_config(None, ["algorithm.prompts_per_step=1", *overrides])
    terms = terms_of(builtin.around([], config), config)[0]
    (found,) = rows.make_minibatches([Group(PROBLEM, valued(samples, config))], terms, config=config, step=0)
    return found


def test_a_row_that_pulls_at_nothing_is_counted_and_not_computed():
    samples = [sample(4), sample(8, advantage=0.0), sample(4, advantage=float("nan"))]
    found = minibatch_of(samples)
    assert found.samples == [samples[0], samples[2]] and found.idle == 1  # a NaN is a fault, and has to be met
    assert [row.terms["policy_gradient"] for row in found.rows] == [1 / 16, 1 / 16]
    for regulariser in (["algorithm.kl=k3", "algorithm.kl_coefficient=0.1"], ["algorithm.entropy_coefficient=0.1"]):
        assert minibatch_of([sample(4), sample(8, advantage=0.0)], *regulariser).idle == 0


def test_a_loss_that_does_not_say_so_is_computed_on_every_row():
    """kl_cov holds tokens back whatever their advantage; a loss of one's own may do anything."""
    samples = [sample(4), sample(8, advantage=0.0)]
    options = "algorithm.loss_options={share: 0.2, coefficient: 1.0}"
    assert minibatch_of(samples, "algorithm.loss=kl_cov", options).idle == 0
    assert minibatch_of(samples, "algorithm.loss=gspo", "algorithm.loss_options={}").idle == 1


def test_where_nothing_pulls_one_row_stays_for_the_optimizer():
    found = minibatch_of([sample(4, advantage=0.0), sample(8, advantage=0.0)])
    assert len(found.rows) == 1 and found.idle == 1 and found.rows[0].terms == {"policy_gradient": 1 / 12}


def test_nouns_are_compared_by_identity_and_ids_are_int32_arrays():
    """Two draws of the same tokens are two draws; compared by value, arrays would raise."""
    one, other = Group(PROBLEM, [sample(2)]), Group(PROBLEM, [sample(2)])
    assert one in [one] and one not in [other] and one.samples[0] not in other.samples
    first, second = (group.samples[0].rollout for group in (one, other))
    assert first not in [second] and first.request not in [second.request]
    rollout = sample(3, prefix=1).rollout
    ids = (rollout.tokens, rollout.request.prompt_ids, rollout.request.prefix_ids)
    assert {array.dtype for array in ids} == {np.dtype(np.int32)}
    assert rollout.given.tolist() == [True, False, False] and rollout.drawn
    trace = Rollout(rollout.request, [1, 2], "", "stop")
    assert trace.given.all() and not trace.drawn


def test_in_several_epochs_every_column_travels_once():
    """As Ray packs what a rank gets: arrays that are the same object once."""

    def travels(epochs):
        config = load_config(None, ["algorithm.minibatches=2", f"algorithm.epochs={epochs}"])
        groups = [Group(PROBLEM, valued([sample(2000, advantage=a) for a in (1.0, -1.0)], config)) for _ in range(4)]
        terms = terms_of(builtin.around([], config), config)[0]
        minibatches = rows.make_minibatches(groups, terms, config=config, step=0)
        buffers = []
        pickle.dumps([m.rows for m in minibatches], protocol=5, buffer_callback=buffers.append)
        assert sum(len(m.rows) for m in minibatches) == 8 * epochs
        return sum(buffer.raw().nbytes for buffer in buffers)

    assert travels(3) == travels(1) >= 4 * 4 * 8 * 2000  # ids, advantage, old log-probabilities and mask
