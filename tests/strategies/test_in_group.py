"""What a group's members are worth: the page's worked gradients, and what each closed form is an expectation of."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from one_step import OneStep, drawn

from analysis.errors import InputError
from explore_rl.strategies import in_group
from explore_rl.strategies.methods import pass_at_k
from explore_rl.strategies.methods.alpha_dpg import AlphaDpg, against_target
from explore_rl.strategies.methods.bbg import Bbg, gate
from explore_rl.strategies.methods.darling import Darling
from explore_rl.strategies.methods.ds_grpo import DsGrpo
from explore_rl.strategies.methods.entropy_advantage import EntropyAdvantage
from explore_rl.strategies.methods.f_grpo import FGrpo
from explore_rl.strategies.methods.mara import Mara
from explore_rl.strategies.methods.mode_partition import ModePartition
from explore_rl.strategies.methods.novelty import Novelty
from explore_rl.strategies.methods.pkpo import Pkpo, added_to_the_best
from explore_rl.strategies.methods.polychromic import Polychromic
from explore_rl.strategies.methods.ucpo import Ucpo
from explore_rl.strategies.methods.unlikeliness import Unlikeliness
from explore_rl.strategies.methods.w_reinforce import WReinforce
from explore_rl.strategies.novelty_network import NoveltyNetwork, features

UNIFORM = [[0.25] * 4]
HALVES = [[0.5, 0.25, 0.125, 0.125]]
DR_GRPO = ("algorithm.advantage=dr_grpo",)


def group(right, n=8):
    """`right` of n completions are right and give token 0, the others token 1."""
    return [drawn([0], 1) for _ in range(right)] + [drawn([1], 0) for _ in range(n - right)]


def told(sample, mode):
    sample.verdict = replace(sample.verdict, answer=mode, mode=mode)
    return sample


@pytest.mark.parametrize(
    ("strategy", "samples", "expected"),
    [
        (pass_at_k.PassAtK(k=4), group(2), [-0.130558, 0.130558, 0, 0]),
        (Pkpo(k=4), group(2), [-0.428571, 0.142857, 0.142857, 0.142857]),
        (WReinforce(), group(2), [-0.20625, 0.56875, -0.18125, -0.18125]),
        (WReinforce(positive=0.0), group(2), [-0.1875, 0.5625, -0.1875, -0.1875]),  # NSR
        (FGrpo(gamma=0.5), group(2), [-0.162380, 0.162380, 0, 0]),
        (Bbg(k=16), group(2), [-0.059659, 0.059659, 0, 0]),
        (Bbg(k=16), group(0), [-0.25, 0.75, -0.25, -0.25]),
        (Bbg(k=16), group(4), [0, 0, 0, 0]),
        (
            ModePartition(),
            [told(drawn([k], 1), str(k)) for k in (0, 0, 0, 1)] + [drawn([2], 0) for _ in range(4)],
            [-0.138678, -0.111322, 0.25, 0],
        ),
        (
            Polychromic(k=2),
            [told(drawn([0], 1), "0"), told(drawn([0], 1), "0"), told(drawn([1], 1), "1"), told(drawn([2], 0), "2")],
            [0, -0.0416667, 0.0416667, 0],
        ),
        (AlphaDpg(alpha=0.5), [drawn([0], 1), drawn([1], 0)], [-0.7071068, 0.7071068, 0, 0]),
        (Darling(), [told(drawn([k], 1), str(k)) for k in (0, 0, 0, 1)], [0.125, -0.125, 0, 0]),
        (EntropyAdvantage(alpha=0.1), [drawn([0], 1), drawn([1], 0)], [-0.284657, 0.215343, 0.034657, 0.034657]),
        (EntropyAdvantage(), [drawn([0], 1), drawn([1], 0)], [-0.3125, 0.1875, 0.0625, 0.0625]),  # |A| / kappa
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_the_gradient_is_the_one_by_hand(strategy, samples, expected):
    update = OneStep(strategy, UNIFORM, DR_GRPO).step(samples)
    assert update.gradient[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Ucpo(), [-0.116667, -0.133333, 0.25, 0]),
        (Unlikeliness(), [-0.08984375, -0.10546875, 0.1953125, 0]),
        (Mara(beta=0.1), [-0.1206678, -0.1379965, 0.2586643, 0]),
        (DsGrpo(spread=0.1, sharpen=0.2), [-0.2203077, -0.1986469, 0.4384494, -0.0194948]),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_the_unlikely_success_pulls_more(strategy, expected):
    samples = [drawn([0], 1), drawn([1], 1), drawn([2], 0), drawn([2], 0)]
    update = OneStep(strategy, HALVES, DR_GRPO).step(samples)
    assert update.gradient[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "found", "expected"),
    [
        ("distillation", [0.9, 0.1, 0.5], [-0.2013889, 0.1319444, 0.0486111, 0.0208333]),  # .25 for the newer failure
        ("coins", [1.0, 0.25, 0.25], [-0.3055556, 0.1388889, 0.1388889, 0.0277778]),
    ],
)
def test_novelty_pays(kind, found, expected):
    strategy = Novelty(kind=kind)
    strategy.network.novelty = lambda x: np.array(found)
    samples = [drawn([0], 1), drawn([1], 0), drawn([2], 0)]
    update = OneStep(strategy, UNIFORM, DR_GRPO).step(samples)
    assert update.gradient[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["distillation", "coins"])
def test_what_was_seen_often_is_not_novel_and_the_rest_still_is(kind):
    strategy = Novelty(kind=kind, scale=0.0)
    strategy.load_state(strategy.state())  # lists and arrays are the same network
    one = OneStep(strategy, [[0.25] * 4] * 3)
    for _ in range(40):
        one.step([drawn([0, 1, 2], 1), drawn([0, 1, 2], 1)])
    seen, new = (features(np.array([0]), np.array(tokens), width=64) for tokens in ([0, 1, 2], [3, 2, 1]))
    old_one, new_one = strategy.network.novelty(np.stack([seen, new]))
    assert old_one < 0.25 and new_one > 2 * old_one
    assert NoveltyNetwork(width=64, outputs=8, rate=0.1).novelty(np.stack([seen, new])) == pytest.approx([1.0, 1.0])


def test_alpha_dpg_raises_what_the_policy_has_less_than_the_base():
    """Half and twice what the base has, both right: the base's rate is 1, and the pseudo-rewards are .4142, -.2929."""
    made = against_target(np.array([2.0, 0.5]), np.ones(2, dtype=bool), np.ones(2, dtype=bool), alpha=0.5, cap=10.0)
    assert made == pytest.approx([0.7071068, -0.7071068])


# --- what the closed forms are ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "c", "k"), [(8, 1, 4), (8, 2, 4), (8, 5, 4), (6, 3, 2), (6, 0, 3)])
def test_pass_at_k_is_the_mean_over_all_sets_of_k(n, c, k):
    rewards = np.array([1.0] * c + [0.0] * (n - c))
    sets = [set(chosen) for chosen in itertools.combinations(range(n), k)]
    best = np.array([max(rewards[i] for i in chosen) for chosen in sets])
    scale = best.std() + 1e-6 if best.std() > 1e-6 else 1.0
    of_right, of_wrong = pass_at_k.advantages(n, c, k=k)
    for member, expected in ((0, of_right), (n - 1, of_wrong)):
        if c or member:
            own = [value for chosen, value in zip(sets, best, strict=True) if member in chosen]
            assert (np.mean(own) - best.mean()) / scale == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_pkpo_is_the_gradient_of_pass_at_k_in_expectation(k):
    """Exact over all groups of 5: the mean of A d log pi / dp is d/dp of 1 - (1 - p)^k."""
    p, n, total = 0.3, 5, 0.0
    for right in range(n + 1):
        chance = math.comb(n, right) * p**right * (1 - p) ** (n - right)
        values = added_to_the_best(np.array([1.0] * right + [0.0] * (n - right)), np.ones(n, dtype=bool), k=k)
        scores = np.array([1 / p] * right + [-1 / (1 - p)] * (n - right))
        total += chance * (values * scores).mean()
    assert total == pytest.approx(k * (1 - p) ** (k - 1))


def test_pkpo_of_any_rewards_is_the_mean_over_the_sets_of_others():
    rewards = np.array([0.2, 0.9, 0.4, 0.4, -0.3])
    found = added_to_the_best(rewards, np.ones(5, dtype=bool), k=3)
    for i, reward in enumerate(rewards):
        others = itertools.combinations(np.delete(rewards, i), 2)
        assert found[i] == pytest.approx(3 * np.mean([max(reward, *o) - max(o) for o in others]))


@pytest.mark.parametrize("k", [2, 16, 256])
def test_the_gate_of_bbg_is_an_expectation_over_the_posterior(k):
    grid = (np.arange(200_000) + 0.5) / 200_000
    slopes = []
    for right in (1, 3):
        density = grid**right * (1 - grid) ** (8 - right)
        slopes.append(np.sum(density * k * (1 - grid) ** (k - 1)) / np.sum(density))
    assert gate(8, 3, k=k, tau=0.0) == pytest.approx(slopes[1] / slopes[0], rel=1e-3)


def test_a_random_partition_has_the_sizes_of_the_modes_and_other_members():
    modes = [told(drawn([k], 1), str(k)) for k in (0, 0, 0, 1)]
    by_mode = OneStep(ModePartition(), UNIFORM, DR_GRPO)
    by_lot = OneStep(ModePartition(partition="random"), UNIFORM, DR_GRPO)
    wrong = [drawn([2], 0) for _ in range(4)]
    by_mode.step([*modes, *wrong])
    expected = sorted(sample.advantage for sample in modes)
    assert modes[3].advantage == max(expected)
    again = [told(drawn([k], 1), str(k)) for k in (0, 0, 0, 1)]
    by_lot.step([*again, *(drawn([2], 0) for _ in range(4))])
    assert sorted(s.advantage for s in again) == pytest.approx(expected)


# --- what makes no sense ----------------------------------------------------------------------------------------------


def test_what_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="k=9: expected at most algorithm.group_size=8"):
        OneStep(Pkpo(k=9), UNIFORM)
    with pytest.raises(InputError, match="k=9: expected at most algorithm.group_size=8"):
        OneStep(pass_at_k.PassAtK(k=9), UNIFORM)
    with pytest.raises(ValueError, match="nothing would be learnt"):
        WReinforce(positive=0, negative=0)
    with pytest.raises(ValueError, match="kappa=1: expected a finite number above 1"):
        EntropyAdvantage(kappa=1)
    with pytest.raises(InputError, match="kl_place=loss"):
        OneStep(Darling(), UNIFORM, ("algorithm.kl=k1", "algorithm.kl_coefficient=0.1", "algorithm.kl_place=reward"))
    with pytest.raises(NotImplementedError):
        in_group.InPlace().of_group([])
