"""REINFORCE++: worked gradients of both forms, Dr. GRPO and GRPO bit for bit without whitening, resume, refusals."""

from types import SimpleNamespace

import numpy as np
import pytest
from fixed_batch import coin_table, gradient_of_groups, group, sample
from resuming import goes_on

from analysis.errors import InputError
from explore_rl.cluster.faults import RunStopped
from explore_rl.strategies.base import Strategy
from explore_rl.strategies.methods.entropy_advantage import EntropyAdvantage
from explore_rl.strategies.methods.ppo import Ppo
from explore_rl.strategies.methods.reinforce_pp import ReinforcePP
from explore_rl.strategies.methods.remax import Remax
from explore_rl.strategies.methods.rs_grpo import RsGrpo
from explore_rl.strategies.methods.trajectory_balance import TrajectoryBalance
from explore_rl.testing import digits_config, make_trainer, run_steps


def test_kl_is_paid_token_by_token_and_the_batch_is_normalised():
    """Policy 1/2 and base 1/4 for the token 0: log 2 a token is paid for it, log 2/3 for the other."""
    groups = [group(sample((0, 0), 1.0), sample((1, 1), 0.0))]
    tables = {"table": coin_table(2), "base": coin_table(2, 0.25)}
    found = gradient_of_groups(groups, [ReinforcePP(kl_coefficient=0.1)], config=digits_config(), **tables)
    first, second = (s.columns["advantage"] for s in groups[0].samples)
    assert first == pytest.approx([0.914896, 1.080496], abs=1e-5)
    assert second == pytest.approx([-0.949259, -1.046132], abs=1e-5)
    assert found[:, 0] == pytest.approx([-0.2330194, -0.2658285], abs=1e-6)


def test_the_form_with_baseline_normalises_what_the_group_says():
    """Two problems, 3 of 4 and 1 of 4 right: r - mean is .25, -.75 and .75, -.25; their spread is sqrt(3) / 4."""
    one, two = ([group(*(sample((i % 2,), r) for i, r in enumerate(rs)))] for rs in ([1, 1, 1, 0], [1, 0, 0, 0]))
    config = digits_config("algorithm.advantage=dr_grpo", "algorithm.prompts_per_step=2")
    found = gradient_of_groups(one + two, [ReinforcePP(baseline="group")], config=config, table=coin_table(1))
    advantages = [float(s.columns["advantage"][0]) for g in one + two for s in g.samples]
    low, high = 1 / 3**0.5, 3**0.5
    assert advantages == pytest.approx([low, low, low, -high, high, -low, -low, -low], abs=1e-6)
    assert found[0, 0] == pytest.approx(-(high + low) / 8, abs=1e-6)


@pytest.mark.parametrize("advantage", ["grpo", "dr_grpo"])
def test_without_whitening_the_form_with_baseline_is_grpo_bit_for_bit(tmp_path, advantage):
    config = digits_config(f"algorithm.advantage={advantage}")
    plain = run_steps(tmp_path / "plain", config=config)
    off = run_steps(tmp_path / "off", [ReinforcePP(baseline="group", whiten=False)], config=config)
    assert (off.table == plain.table).all()
    on = run_steps(tmp_path / "on", [ReinforcePP()], config=config)
    assert (on.table != plain.table).any()


def test_the_batch_has_mean_0_and_spread_1_over_its_tokens(tmp_path):
    outcome = run_steps(tmp_path, [ReinforcePP()], config=digits_config("algorithm.importance_cap=null"))
    tokens = np.concatenate([row.columns["advantage"] for row in outcome.updates[0].rows])
    assert (tokens.mean(), tokens.std()) == pytest.approx((0, 1), abs=1e-5)


def test_with_dynamic_sampling_the_batch_is_normalised_over_all_its_draws(tmp_path):
    config = digits_config("algorithm.dynamic_sampling_rounds=6", "algorithm.group_size=4", "run.steps=1")
    outcome = run_steps(tmp_path, [ReinforcePP()], config=config)
    assert outcome.metrics[0]["dynamic_sampling/draws"] > 1 and outcome.metrics[0]["signal/groups_dropped"] > 0
    tokens = np.concatenate([row.columns["advantage"] for row in outcome.updates[0].rows])
    assert (tokens.mean(), tokens.std()) == pytest.approx((0, 1), abs=1e-5)


def test_what_is_added_after_it_stays_over_all_draws(tmp_path):
    class Adds(Strategy):
        turn = "last"

        def keep(self, groups, context):
            for s in (s for g in groups for s in g.samples if "advantage" in s.columns):
                s.columns["advantage"] = s.columns["advantage"] + np.float32(100)
            return groups, 0

    config = digits_config("run.steps=1", "algorithm.dynamic_sampling_rounds=6")
    outcome = run_steps(tmp_path, [ReinforcePP(), Adds()], config=config)
    assert outcome.metrics[0]["dynamic_sampling/draws"] > 1
    assert all((row.columns["advantage"] > 90).all() for row in outcome.updates[0].rows)


def test_with_a_share_of_0_it_is_grpo_bit_for_bit(tmp_path):
    plain = run_steps(tmp_path / "plain")
    off = run_steps(tmp_path / "off", [ReinforcePP(share=0.0, kl_coefficient=0.1)])
    assert (off.table == plain.table).all()
    half = run_steps(tmp_path / "half", [ReinforcePP(share=0.5)], config=digits_config("run.steps=1"))
    whole = run_steps(tmp_path / "whole", [ReinforcePP()], config=digits_config("run.steps=1"))
    first = run_steps(tmp_path / "first", config=digits_config("run.steps=1"))
    pulls = [outcome.updates[0].gradient for outcome in (first, half, whole)]
    assert pulls[1] == pytest.approx((pulls[0] + pulls[2]) / 2, abs=1e-7)


def test_a_sample_that_joined_after_the_columns_were_filled_pays_no_kl():
    late = sample((0,), 1.0)
    method, context = ReinforcePP(kl_coefficient=0.1), SimpleNamespace(config=digits_config(), metrics={}, kept={})
    kept, _ = method.keep([group(late)], context)
    assert kept[0].samples == [late] and "advantage" not in late.columns


def test_it_goes_on_where_it_stopped(tmp_path):
    goes_on(tmp_path, lambda: [ReinforcePP(kl_coefficient=0.1)])


def test_what_makes_no_sense_beside_it_is_refused(tmp_path):
    for other in (Remax(), RsGrpo(), Ppo()):
        with pytest.raises(InputError, match=f"{other.name} is a baseline"):
            make_trainer(tmp_path, [ReinforcePP(), other])
    with pytest.raises(InputError, match="algorithm.advantage=grpo: it divides by the spread of a group"):
        make_trainer(tmp_path, [ReinforcePP(baseline="group")])


# --- beside others that act last, over several draws ------------------------------------------------------------------

TWO_DRAWS = ("run.steps=1", "algorithm.dynamic_sampling_rounds=6", "algorithm.importance_cap=null")


class Learnt(Strategy):
    """Keeps the groups that were learnt from."""

    def after_update(self, groups, context):
        self.groups = groups


@pytest.mark.parametrize("order", [1, -1])
def test_log_z_is_of_the_advantages_that_are_learnt_from(tmp_path, order):
    """Before the update the brackets of a group have mean 0, whichever draw it is of, wherever the balance stands."""
    beta, learnt = 0.5, Learnt()
    # Rewards, normalised over the batch, have no mean of 0 in a group.
    strategies = [ReinforcePP(), TrajectoryBalance(beta=beta)][::order]
    outcome = run_steps(tmp_path, [*strategies, learnt], config=digits_config(*TWO_DRAWS))
    assert outcome.metrics[0]["dynamic_sampling/draws"] > 1
    assert len(learnt.groups) == outcome.trainer.config.algorithm.prompts_per_step
    for samples in (g.samples for g in learnt.groups):
        brackets = []
        for columns in (s.columns for s in samples):
            gap = float((columns["old_logprob"] - columns["base_logprob"]).sum())
            brackets.append(columns["log_z"][0] + gap - columns["advantage"].mean() / beta)
        assert np.mean(brackets) == pytest.approx(0, abs=1e-5) and np.abs(brackets).max() > 0.1


def test_the_entropy_is_added_to_the_advantages_of_the_whole_batch(tmp_path):
    alone, beside = (
        run_steps(tmp_path / str(len(more)), [ReinforcePP(), *more], config=digits_config(*TWO_DRAWS))
        for more in ([], [EntropyAdvantage(alpha=0.4, kappa=2.0)])
    )
    assert beside.metrics[0]["dynamic_sampling/draws"] > 1
    for plain, row in zip(alone.updates[0].rows, beside.updates[0].rows, strict=True):
        worth = plain.columns["advantage"]
        bonus = np.minimum(0.4 * row.columns["entropy"], np.abs(worth) / 2)
        assert row.columns["advantage"] == pytest.approx(worth + bonus, abs=1e-5) and bonus.any()


def test_whoever_acts_at_the_end_cannot_ask_for_another_draw(tmp_path):
    class Greedy(Strategy):
        turn = "end"

        def keep(self, groups, context):
            return groups, 3

    with pytest.raises(RunStopped, match=r'step 0: greedy asks for 3 problems more, but its turn is "end"'):
        run_steps(tmp_path, [Greedy()])
    Greedy.turn = "lats"
    with pytest.raises(InputError, match=r"greedy: turn='lats': expected first, scale, last, end, or nothing"):
        make_trainer(tmp_path / "unknown", [Greedy()])
