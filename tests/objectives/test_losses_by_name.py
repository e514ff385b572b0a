"""CISPO, GSPO, Clip-Cov and KL-Cov: worked gradients, GRPO bit for bit where it is that, resume, and micro-batches."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from fixed_batch import gradient_of_rows
from resuming import goes_on

from analysis.errors import InputError
from explore_rl.learner.loss import Outputs, add_parts, joined_parts, loss_of
from explore_rl.objectives.readouts import logprob
from explore_rl.strategies.base import Strategy
from explore_rl.strategies.builtin.group_advantage import policy_gradient
from explore_rl.testing import digits_config, run_steps
from explore_rl.types import Row

TWICE = ("algorithm.epochs=2", "learner.learning_rate=20")  # the second epoch is off the policy
OPTIONS = {
    "cispo": "{clip_high: 0.1}",
    "gspo": "{clip_low: 0.003, clip_high: 0.004}",
    "clip_cov": "{cov_low: 0.2, share: 0.1}",
    "kl_cov": "{share: 0.1}",
}


def loss_settings(name, options):
    return f"algorithm.loss={name}", f"algorithm.loss_options={options}"


def loss_config(name, options, *more):
    return digits_config(*loss_settings(name, options), *more)


def worked(name, options, **batch):
    config = loss_config(name, options)
    return gradient_of_rows(**batch, term=policy_gradient(config.algorithm), config=config)


# --- active: the numbers of the pages ---------------------------------------------------------------------------------


def test_cispo_caps_the_weight_and_drops_no_token():
    """rho = 8 and 2 with A = 1: weights 5 and 2, where PPO gives neither token any."""
    batch = {"probabilities": [0.25, 0.25], "old": [1 / 32, 1 / 8], "advantage": [1.0, 1.0]}
    found = worked("cispo", "{}", **batch)
    assert found == pytest.approx([-5 * 0.75 / 2, -2 * 0.75 / 2], abs=1e-6)
    config = digits_config()
    assert not gradient_of_rows(**batch, term=policy_gradient(config.algorithm), config=config).any()


def test_gspo_gives_the_tokens_of_a_sequence_one_ratio():
    """Ratios 2 and 1/2 make s = 1: both pull with weight 1. The second sequence has s = 2 and is clipped."""
    batch = {"probabilities": [0.25, 0.25, 0.25], "old": [1 / 8, 1 / 2, 1 / 8], "advantage": [1.0, 1.0, 1.0]}
    found = worked("gspo", "{}", **batch, lengths=[2, 1])
    assert found == pytest.approx([-0.25, -0.25, 0.0], abs=1e-6)


def test_clip_cov_leaves_out_the_token_of_large_covariance():
    """Covariances 4.94 and .55: the first token is the one between 1 and 5. GRPO would pull it with -3 x .1 / 4."""
    p = [0.9, 0.1, 0.1, 0.1]
    found = worked("clip_cov", "{share: 0.25}", probabilities=p, old=p, advantage=[3.0, -1.0, -1.0, -1.0])
    assert found == pytest.approx([0.0, 0.225, 0.225, 0.225], abs=1e-6)


def test_kl_cov_pulls_back_the_token_of_the_largest_covariance():
    """All have become twice as likely. The first: (-A rho + 1) (1 - p) / 3 = (-2 + 1) x .2 / 3."""
    batch = {"probabilities": [0.8, 0.2, 0.4], "old": [0.4, 0.1, 0.2], "advantage": [1.0, 0.0, 0.0]}
    found = worked("kl_cov", "{share: 0.34}", **batch)
    assert found == pytest.approx([-0.2 / 3, 0.0, 0.0], abs=1e-6)


def test_kl_cov_pulls_nothing_back_before_the_policy_has_moved():
    p = [0.8, 0.2, 0.4]
    found = worked("kl_cov", "{share: 0.34}", probabilities=p, old=p, advantage=[1.0, 0.0, 0.0])
    assert found == pytest.approx([-0.2 / 3, 0.0, 0.0], abs=1e-6)


# --- inert ------------------------------------------------------------------------------------------------------------


class FirstTokenAlone(Strategy):
    """With one token a sequence, the sequence's ratio is the token's."""

    def advantage(self, groups, context):
        for sample in (s for g in groups for s in g.samples):
            sample.columns["mask"] = (np.arange(len(sample.rollout.tokens)) == 0).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "options", "grpo", "strategy"),
    [
        ("cispo", "{clip_high: .inf}", ["algorithm.clip=false"], Strategy),
        ("gspo", "{clip_low: 0.2, clip_high: 0.2}", [], FirstTokenAlone),
        ("clip_cov", "{clip_low: 0.2, clip_high: 0.2, share: 0}", [], Strategy),
        ("kl_cov", "{coefficient: 0}", ["algorithm.clip=false"], Strategy),
    ],
)
def test_where_it_is_grpo_it_is_that_bit_for_bit(tmp_path, name, options, grpo, strategy):
    plain = run_steps(tmp_path / "plain", [strategy()], config=digits_config(*TWICE, *grpo))
    same = run_steps(tmp_path / "same", [strategy()], config=loss_config(name, options, *TWICE))
    assert (same.table == plain.table).all()
    other = run_steps(tmp_path / "other", [strategy()], config=loss_config(name, OPTIONS[name], *TWICE))
    assert (other.table != plain.table).any()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("gspo", "{clip_low: abc}", "clip_low=abc: gspo wants a number there"),
        ("cispo", "{clip_high: -3}", "clip_high=-3: cispo wants at least 0"),
        ("clip_cov", "{share: -1}", "share=-1: clip_cov wants 0 to 1"),
        ("kl_cov", "{coefficient: true}", "kl_cov wants a number there"),
    ],
)
def test_values_that_a_loss_cannot_have_are_refused(name, options, said):
    with pytest.raises(InputError, match=f"algorithm.loss_options.{said}" if "=" in said else said):
        policy_gradient(loss_config(name, options).algorithm)


# --- resume -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIONS)
def test_it_goes_on_where_it_stopped(tmp_path, name):
    goes_on(tmp_path, settings=(*loss_settings(name, OPTIONS[name]), *TWICE))


# --- the mini-batch however it is cut ---------------------------------------------------------------------------------


def gradient_by_cuts(term, ranks):
    """Of the log-probabilities of 12 sequences. ranks: of each rank its micro-batches, of each the sequences."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 5, 12)
    rows = []
    for length in lengths:
        old = (-3 * rng.random(length)).astype(np.float32)
        advantage = np.full(length, rng.normal(), dtype=np.float32)
        columns = {"old_logprob": old, "advantage": advantage}
        rows.append(Row(np.zeros(length + 1), 1, {term.name: 0.1}, columns, np.ones(length, dtype=np.float32)))
    moved = [torch.from_numpy(row.columns["old_logprob"] + 0.2 * rng.normal(size=len(row.mask))) for row in rows]
    leaves = [tokens.requires_grad_() for tokens in moved]
    first = logprob()

    def outputs(part):
        return Outputs([rows[i] for i in part], [int(lengths[i]) for i in part], first, {first: joined(part)})

    def joined(part):
        return torch.cat([leaves[i] for i in part])

    of_ranks = []
    for micro_batches in ranks:
        of_ranks.append({})
        for part in micro_batches:
            add_parts([term], outputs(part), parts=of_ranks[-1])
    whole = joined_parts(of_ranks, leaves[0].detach())
    figures = defaultdict(float)
    for part in (part for micro_batches in ranks for part in micro_batches):
        loss_of([term], outputs(part), whole=whole, sums=figures).backward()
    return torch.cat([leaf.grad for leaf in leaves]), figures


@pytest.mark.parametrize("name", OPTIONS)
def test_the_gradient_does_not_depend_on_micro_batches_or_ranks(name):
    term = policy_gradient(loss_config(name, OPTIONS[name]).algorithm)
    together, figures = gradient_by_cuts(term, [[range(12)]])
    for ranks in ([[[i] for i in range(12)]], [[range(6, 12)], [range(2), range(2, 6)]]):
        apart, again = gradient_by_cuts(term, ranks)
        assert torch.allclose(apart, together, atol=1e-12, rtol=0)
        assert again == pytest.approx(figures, abs=1e-9)
    chosen = {"clip_cov": "left_out", "kl_cov": "pulled_back"}.get(name)
    assert chosen is None or figures[f"policy_gradient/{chosen}"] >= 1
