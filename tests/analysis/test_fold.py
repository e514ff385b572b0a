"""Clear gains beside losses, and faster against wider: the null's two tests, the folds, and what draws are worth."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from analysis.counts import Counts
from analysis.fold import efficiency_equivalent, odds_ratio_bounds, support_at_budgets
from analysis.null import SUREST, direction, exact_null, one_side_only, upper_tail
from analysis.pair import AuditSettings, BenchmarkPair
from analysis.records import ModelSamples
from analysis.verdict import Rules, beyond, evidence, judge_all, judge_counts, judge_folds, least_problems, meaning


def counts(n, correct):
    correct = np.asarray(correct)
    return Counts(np.broadcast_to(np.asarray(n), correct.shape).copy(), correct)


def samples(name, counted, **more):
    ids = [str(i) for i in range(len(counted.n))]
    return ModelSamples(name, ids, ["b"] * len(ids), counted.n, counted.correct, np.zeros(len(ids), dtype=int), **more)


@pytest.mark.parametrize("odds", [0.3, 1.0, 4.0, 100.0])
@pytest.mark.parametrize("least", [(1, 1), (2, 1), (1, 3), (3, 3)])
def test_chance_of_one_side_only_is_fishers_noncentral_hypergeometric(odds, least):
    for n_one, n_other, c in ((6, 6, 4), (3, 9, 5), (9, 3, 5), (4, 4, 8), (5, 5, 0)):
        x = np.arange(0, min(c, n_one) + 1)
        pmf = stats.nchypergeom_fisher(n_one + n_other, n_one, c, odds).pmf(x) if c else np.ones(1)
        expected = pmf[(x >= least[0]) & (c - x < least[1])].sum()
        found = one_side_only(n_one, n_other, correct=c, odds=odds, least_one=least[0], least_other=least[1])
        assert float(found) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_the_joint_p_is_the_chance_that_the_smallest_p_is_as_small():
    chance = np.array([0.3, 0.25, 0.008, 0.0002, 0.5])

    def smallest(happened):
        """Of all three tests, the chance of any problem as sure worked out by listing."""
        least = chance[happened].min(initial=1.0)
        surest = 1 - np.prod(1 - chance[chance <= least]) if happened.any() else 1.0
        return min(upper_tail(chance, happened.sum()), upper_tail(chance[2:4], happened[2:4].sum()), SUREST * surest)

    every = [np.array(happened) for happened in product([False, True], repeat=5)]
    each = np.array([smallest(happened) for happened in every])
    likely = np.array([np.where(happened, chance, 1 - chance).prod() for happened in every])
    for happened, p in zip(every, each, strict=True):
        found = direction(chance, happened)
        assert found.p == pytest.approx(likely[each <= p * (1 + 1e-9)].sum(), rel=1e-9)
        assert min(found.all.p, found.clear.p, SUREST * found.surest) == pytest.approx(p, rel=1e-9)


def test_one_sure_gain_is_not_hidden_by_the_clear_ones_of_others():
    """From 0 to 116 of 1,024, beside problems of seven and eight correct draws that chance might have left so."""
    base = counts(1024, [102, 0, 820, 3, 2, 311, 4, 284, 2] + [4, 3] * 4)
    tuned = counts(1024, [118, 116, 816, 4, 7, 350, 3, 306, 5] + [4, 4] * 4)
    null = exact_null(base, tuned)
    assert null.expanded.clear.p > 0.025 and null.expanded.surest < 1e-30
    assert judge_counts(base, tuned).verdict == "expanded"


def test_a_gain_is_not_hidden_by_losses_at_the_edge():
    lost = ([1] * 40, [0] * 40)  # forty lucky draws of the base, which can say nothing of gains
    base = counts(128, lost[0] + [0] * 3 + [60] * 100)
    tuned = counts(128, lost[1] + [64] * 3 + [60] * 100)
    null = exact_null(base, tuned)
    assert null.expanded.all.p > 0.9 and null.expanded.clear.p < 1e-6
    assert judge_counts(base, tuned).verdict == "traded"
    assert judge_counts(counts(128, lost[0] + [60] * 100), counts(128, lost[1] + [60] * 100)).verdict == "shrank"


def test_no_page_says_that_nothing_was_gained_where_gains_are_certified():
    assert "certified" not in meaning("shrank") and "3 problems are certified as gained" in meaning(
        "shrank", certified_gains=3, certified_losses=0
    )
    assert "1 problem is certified as lost" in meaning(
        "held", certified_gains=0, certified_losses=1
    ) and "certified" not in meaning("traded", certified_gains=3, certified_losses=3)


def doubled(p, factor):
    odds = factor * p / np.maximum(1 - p, 1e-12)
    return odds / (1 + odds)


def test_a_speed_up_is_called_expanded_but_not_beyond_one():
    rng = np.random.default_rng(0)
    p = np.where(rng.random(400) < 0.2, 0.0, 10 ** rng.uniform(-4, 0, 400))
    base = counts(128, rng.binomial(128, p))
    faster = judge_folds(base, counts(128, rng.binomial(128, doubled(p, 2.0))))
    assert faster.verdict == "expanded" and faster.gain_fold == 1 and faster.loss_fold is None
    assert "not beyond a speed-up" in beyond(faster)
    wider = np.where(p == 0, 0.3, p)
    found = judge_folds(base, counts(128, rng.binomial(128, wider)))
    assert found.gain_fold >= 10 and "beyond a speed-up" in beyond(found)


def test_one_sure_problem_of_few_is_beyond_a_speed_up():
    """One of 30 goes from 0 to half of the draws; the others, easy and equal, are clear at 4 times the odds in number:
    by their count alone the gain reached a speed-up of 2."""
    base = counts(128, [0, *range(12, 41)])
    tuned = counts(128, [64, *range(12, 41)])
    found = judge_folds(base, tuned)
    assert found.gain_fold == 10 and found.loss_fold is None
    assert direction(np.array([0.001, 0.001, 0.5]), np.array([True, False, True])).surest == pytest.approx(1 - 0.999**2)


def test_folds_stop_at_the_first_that_is_not_refuted_and_share_holm():
    base = counts(64, [0] * 8 + [30] * 20)
    tuned = counts(64, [20] * 8 + [30] * 20)
    null = exact_null(base, tuned, folds=Rules().folds)
    gains = [test.p_gain for test in null.folds]
    assert gains == sorted(gains) and gains[0] == null.expanded.p
    assert [test.fold for test in null.folds] == [1, 2, 4, 10, 100]
    alone, *_ = judge_all([null], [28])
    shared = judge_all([null] * 3, [28] * 3)[0]
    assert shared.folds[0].p_gain == pytest.approx(3 * alone.folds[0].p_gain)
    assert alone.gain_fold == max(test.fold for test in alone.folds if test.p_gain <= 0.025)
    assert judge_counts(base, tuned).gain_fold is None  # without folds nothing is said of them


def test_odds_ratio_bounds_are_exact_and_hold_both_ways():
    base = counts([20, 20, 12, 8, 8], [0, 3, 12, 0, 4])
    tuned = counts([20, 16, 12, 8, 8], [6, 9, 2, 0, 4])
    low, high = odds_ratio_bounds(base, tuned, confidence=0.95)
    for i in range(5):
        c = int(base.correct[i] + tuned.correct[i])
        split = lambda psi, i=i, c=c: stats.nchypergeom_fisher(  # noqa: E731
            int(base.n[i] + tuned.n[i]), int(tuned.n[i]), c, psi
        )
        if low[i] > 0:
            assert split(low[i]).sf(tuned.correct[i] - 1) == pytest.approx(0.05, rel=1e-5)
        if np.isfinite(high[i]):
            assert split(high[i]).cdf(tuned.correct[i]) == pytest.approx(0.05, rel=1e-5)
    assert low[0] > 1 and high[0] == np.inf and low[2] == 0 and high[2] < 1 and (low[3], high[3]) == (0, np.inf)
    swapped = odds_ratio_bounds(tuned, base, confidence=0.95)
    assert swapped[0] == pytest.approx(1 / high, rel=1e-6) and swapped[1][1] == pytest.approx(1 / low[1], rel=1e-6)


def test_draws_of_the_tuned_model_are_worth_so_many_of_the_base():
    rng = np.random.default_rng(2)
    p = rng.beta(0.4, 3, 300)
    base = counts(256, rng.binomial(256, p))
    tuned = counts(64, rng.binomial(64, 1 - (1 - p) ** 2))  # each draw is worth exactly two of the base
    pair = BenchmarkPair(samples("base", base), samples("tuned", tuned), settings=AuditSettings(replicates=200))
    worth = efficiency_equivalent(pair)
    assert worth["n"] == 64 and worth["base"]["low"] <= 128 <= (worth["base"]["high"] or 256)
    assert 90 < worth["base"]["value"] < 180 and worth["tuned"]["high"] <= 64
    rows = {row["label"]: row for row in support_at_budgets(pair)}
    assert rows["equal draws"]["expanded"] > rows["base with 2 times the draws"]["expanded"]
    assert rows["base with 4 times the draws"]["k_base"] == 256 and "equal tokens" not in rows
    long = samples("tuned", tuned, num_tokens=np.full(300, 200.0))
    short = samples("base", base, num_tokens=np.full(300, 100.0))
    tokens = support_at_budgets(BenchmarkPair(short, long, settings=AuditSettings(replicates=200)))[-1]
    assert tokens["label"] == "equal tokens" and (tokens["k_base"], tokens["k_tuned"]) == (128, 64)
    nothing = BenchmarkPair(
        samples("a", counts(8, [0] * 5)), samples("b", counts(8, [3] * 5)), settings=AuditSettings()
    )
    assert efficiency_equivalent(nothing)["base"]["value"] is None  # beyond the draws there are


def test_held_says_when_it_cannot_be_reached():
    base = counts(64, [20] * 30)
    found = judge_counts(base, base)
    text = evidence(
        exact_null(base, base),
        found,
        problems=30,
        draws="64",
        rules=Rules(),
        adjusted=False,
        others={},
    )
    assert found.verdict == "inconclusive" and "fewer than 149" in text and least_problems() == 149
    enough = counts(64, [20] * 149)
    assert judge_counts(enough, enough).verdict == "held"
    fewer = counts(64, [20] * 148)
    assert judge_counts(fewer, fewer).verdict == "inconclusive"


def test_lost_problems_are_the_gained_ones_of_the_swapped_pair():
    rng = np.random.default_rng(3)
    base = counts(32, rng.binomial(32, rng.beta(0.2, 1, 60)))
    tuned = counts(48, rng.binomial(48, rng.beta(0.2, 1, 60)))
    one = exact_null(base, tuned, folds=(1.0, 4.0))
    other = exact_null(tuned, base, folds=(1.0, 4.0))
    assert one.shrunk == other.expanded and one.folds[1].p_loss == pytest.approx(other.folds[1].p_gain)


def test_relabelling_by_hand():
    # 2 + 3 draws, 2 of them correct: choose which two
    pairs = list(combinations(range(5), 2))
    assert float(one_side_only(2, 3, correct=2)) == pytest.approx(sum(max(pair) < 2 for pair in pairs) / len(pairs))
    assert float(one_side_only(3, 2, correct=2)) == pytest.approx(sum(min(pair) >= 2 for pair in pairs) / len(pairs))
