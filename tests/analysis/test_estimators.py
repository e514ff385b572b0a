"""Estimators against slow, independent computations: every subset of draws written out, exact fractions, simulation."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from answer_tables import answers
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from analysis.beta_binomial import fit
from analysis.counts import Counts
from analysis.crossing import find_crossing, grid_up_to
from analysis.curves import pass_at_tokens
from analysis.draws_only import draw_moments, draws_only_interval
from analysis.errors import InputError
from analysis.intervals import PSEUDO_BASE, Bootstrap, clopper_pearson, wilson
from analysis.metrics import cover_at, majority_at_k
from analysis.null import exact_null, sum_of_bernoullis
from analysis.pass_at_k import (
    first_k,
    g_pass_at_k,
    log_miss,
    mg_pass_at_k,
    mixed_pass_at_k,
    pass_all_k,
    pass_at_k,
    unique_counts,
)
from analysis.significance import benjamini_hochberg, holm
from analysis.support import memberships, split_halves, suspicious_flips


def draws(n, c):
    return [1] * c + [0] * (n - c)


@given(st.integers(1, 9), st.data())
@settings(max_examples=60, deadline=None)
def test_pass_at_k_and_relatives_are_means_over_all_subsets(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    tau = data.draw(st.sampled_from([0.0, 0.3, 0.5, 0.75, 1.0]))
    solved = [sum(s) for s in combinations(draws(n, c), k)]
    assert pass_at_k(n, c, k=k) == pytest.approx(np.mean([s >= 1 for s in solved]))
    assert pass_all_k(n, c, k=k) == pytest.approx(np.mean([s == k for s in solved]))
    needed = max(1, int(np.ceil(Fraction(str(tau)) * k)))
    assert g_pass_at_k(np.array([n]), np.array([c]), k=k, tau=tau)[0] == pytest.approx(
        np.mean([s >= needed for s in solved])
    )
    if k % 2 == 0:  # the published sum is the integral for even k
        integral = 2 * sum(np.mean([s >= j for s in solved]) / k for j in range(k // 2 + 1, k + 1))
        assert mg_pass_at_k(np.array([n]), np.array([c]), k=k)[0] == pytest.approx(integral)


@given(st.integers(1, 400), st.data())
@settings(max_examples=80, deadline=None)
def test_pass_at_k_equals_exact_fractions(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    exact = 1 - Fraction(comb(n - c, k), comb(n, k))
    assert pass_at_k(n, c, k=k) == pytest.approx(float(exact), rel=1e-12, abs=1e-300)


@pytest.mark.parametrize(
    ("c", "k"), [(1, 1), (3, 100_000), (1000, 1000), (500_000, 1), (33, 2000), (100, 7), (70, 999_000), (2, 1_000_000)]
)
def test_pass_at_k_of_a_million_draws(c, k):
    n = 10**6
    few, many = min(c, k), max(c, k)
    miss = Fraction(1)
    for j in range(few):
        miss *= Fraction(max(n - many - j, 0), n - j)
    assert pass_at_k(n, c, k=k) == pytest.approx(float(1 - miss), rel=1e-11)


def test_pass_at_k_shapes_and_refusals():
    n, c = np.array([4, 8]), np.array([1, 0])
    assert pass_at_k(n, c, k=2).shape == (2,) and pass_at_k(n, c, k=[1, 2, 4]).shape == (2, 3)
    large = pass_at_k(np.tile(n, 100), np.tile(c, 100), k=[1, 2, 4])  # the path that works on distinct counts
    assert np.array_equal(large, np.tile(pass_at_k(n, c, k=[1, 2, 4]), (100, 1)))
    with pytest.raises(InputError, match="k = 5 is above n = 4"):
        pass_at_k(n, c, k=5)
    with pytest.raises(InputError, match="5 correct of n = 4"):
        pass_at_k(4, 5, k=1)
    with pytest.raises(InputError, match="NaN"):
        pass_at_k(np.array([4.0, np.nan]), np.array([1, 1]), k=1)
    with pytest.raises(InputError, match="at least 1"):
        pass_at_k(4, 1, k=0)


def test_real_k_lies_between_its_neighbours():
    k = np.linspace(1, 100, 397)
    for c in (1, 5, 80, 100):
        curve = log_miss(100, c, k=k)
        assert (np.diff(curve[np.isfinite(curve)]) < 0).all()
        assert np.allclose(
            np.exp(curve[::4]), [comb(100 - c, round(j)) / comb(100, round(j)) for j in k[::4]], rtol=1e-9, atol=1e-25
        )


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=100))
@settings(deadline=None)
def test_unique_counts_put_together_again(pairs):
    n, c = np.array([n for n, _ in pairs]), np.array([min(n, c) for n, c in pairs])
    u_n, u_c, where = unique_counts(n, c)
    assert (
        (u_n[where] == n).all()
        and (u_c[where] == c).all()
        and len(set(zip(u_n.tolist(), u_c.tolist(), strict=True))) == len(u_n)
    )


def test_first_k_of_n_reads_draws_in_order():
    correct, start = np.array([0, 0, 1, 0, 1, 0, 0, 0, 0]), np.array([0, 3, 6, 9])
    assert first_k(correct, start, k=[1, 2, 3]).tolist() == [[0, 0, 1], [0, 1, 1], [0, 0, 0]]


def test_mixed_pass_at_k_over_all_pairs_of_subsets():
    base, tuned = (5, 1), (4, 2)
    found = mixed_pass_at_k(
        (np.array([5]), np.array([1])),
        (np.array([4]), np.array([2])),
        k_base=np.array([0, 2]),
        k_tuned=np.array([3, 1]),
    )[0]
    for value, k1, k2 in zip(found, (0, 2), (3, 1), strict=True):
        every = [any(a) or any(b) for a in combinations(draws(*base), k1) for b in combinations(draws(*tuned), k2)]
        assert value == pytest.approx(np.mean(every))


def test_cover_gives_pass_at_k_back():
    p = np.random.default_rng(0).beta(0.5, 1.5, 400).round(3)
    n = np.full(400, 1000)
    tau = np.linspace(0, 1, 20_001)[1:]
    for k in (1, 4, 32):
        integral = integrate.trapezoid(
            k * (1 - tau) ** (k - 1) * cover_at(n, (p * 1000).round().astype(int), tau=tau).mean(axis=0), tau
        )
        assert integral == pytest.approx(np.mean(1 - (1 - p) ** k), abs=2e-3)


def test_majority_vote():
    rng = np.random.default_rng(0)
    votes = answers(
        (0, "a", 2, True),
        (0, "b", 2, False),
        (0, None, 3, False),
        (1, "x", 1, True),
        (1, "y", 6, False),
        (2, None, 7, False),
    )
    assert majority_at_k(votes, 4, k=7, rng=rng)[:3, 0].tolist() == [0.5, 0.0, 0.0]  # a tie; a clear loss; nobody votes
    assert np.isnan(majority_at_k(votes, 4, k=7, rng=rng)[3, 0])
    rows = ["a"] * 2 + ["b"] * 2 + [None] * 3
    shares = []
    for drawn in combinations(rows, 3):
        a, b = drawn.count("a"), drawn.count("b")
        shares.append(0.0 if a + b == 0 else 0.5 if a == b else float(a > b))
    assert majority_at_k(votes, 4, k=3, rng=rng, repeats=20_000)[0, 0] == pytest.approx(np.mean(shares), abs=0.02)


def test_null_by_writing_out_every_relabelling():
    base, tuned = [(3, 1), (3, 2), (3, 0)], [(2, 0), (2, 2), (2, 1)]  # unequal n
    s_pmf, e_pmf = np.zeros(4), np.zeros(4)
    every = [list(combinations(range(5), 3)) for _ in base]
    pooled = [draws(5, b[1] + t[1]) for b, t in zip(base, tuned, strict=True)]
    for i in every[0]:
        for j in every[1]:
            for k in every[2]:
                s = e = 0
                for chosen, pool in zip((i, j, k), pooled, strict=True):
                    of_base = sum(pool[x] for x in chosen)
                    s += of_base > 0 and sum(pool) == of_base
                    e += of_base == 0 and sum(pool) > 0
                s_pmf[s] += 1
                e_pmf[e] += 1
    s_pmf, e_pmf = s_pmf / s_pmf.sum(), e_pmf / e_pmf.sum()
    null = exact_null(Counts(*np.array(base).T), Counts(*np.array(tuned).T))
    assert (null.shrunk.all.observed, null.expanded.all.observed) == (1, 1)
    assert null.shrunk.all.expected == pytest.approx(
        s_pmf @ np.arange(4)
    ) and null.expanded.all.expected == pytest.approx(e_pmf @ np.arange(4))
    assert null.shrunk.all.p == pytest.approx(s_pmf[1:].sum()) and null.expanded.all.p == pytest.approx(e_pmf[1:].sum())


def test_sum_of_bernoullis_is_binomial_where_all_are_alike_and_exact_far_out():
    pmf = sum_of_bernoullis(np.full(50, 0.01))
    assert np.allclose(pmf, stats.binom.pmf(np.arange(51), 50, 0.01), rtol=1e-10, atol=0)


def test_support_at_k_below_n_over_all_subsets():
    base, tuned, k = (6, 2), (5, 1), 3
    found = memberships((np.array([6]), np.array([2])), (np.array([5]), np.array([1])), k=k)[0]
    cells = np.zeros(4)
    for a in combinations(draws(*base), k):
        for b in combinations(draws(*tuned), k):
            cells[0 if any(a) and any(b) else 1 if any(a) else 2 if any(b) else 3] += 1
    assert found == pytest.approx(cells / cells.sum())


def test_split_halves_over_all_splits():
    found = split_halves((np.array([6]), np.array([1])), (np.array([6]), np.array([3])))
    halves_b = [(set(a), set(range(6)) - set(a)) for a in combinations(range(6), 3)]
    solved = lambda half, c: any(i < c for i in half)  # noqa: E731
    tables = [(solved(a, 1), solved(b, 1), solved(x, 3), solved(y, 3)) for a, b in halves_b for x, y in halves_b]
    mean = lambda f: np.mean([f(*row) for row in tables])  # noqa: E731
    assert found["base_unsolved"].sum() == pytest.approx(mean(lambda a, b, x, y: not a))
    assert found["tuned_then_solves"].sum() == pytest.approx(mean(lambda a, b, x, y: not a and y))
    assert found["base_then_solves"].sum() == pytest.approx(mean(lambda a, b, x, y: not a and b))
    assert found["expanded_again"].sum() == pytest.approx(mean(lambda a, b, x, y: not a and x and not b and y))
    assert found["shrunk_again"].sum() == pytest.approx(mean(lambda a, b, x, y: a and not x and b and not y))
    assert found["corrected_loss"].sum() == pytest.approx(
        mean(lambda a, b, x, y: not x and b) - mean(lambda a, b, x, y: not x and y)
    )


def test_no_selection_effect_survives_the_split_of_one_model_drawn_twice():
    rng = np.random.default_rng(3)
    p = rng.beta(0.1, 5, 20_000)
    n = np.full(len(p), 64)
    halves = split_halves((n, rng.binomial(64, p)), (n, rng.binomial(64, p)))
    halves = {name: values.sum() for name, values in halves.items()}
    assert halves["tuned_then_solves"] > 900  # what a naive reader would call gained
    assert (
        abs(halves["corrected_gain"]) < 0.05 * halves["tuned_then_solves"]
        and abs(halves["corrected_loss"]) < 0.05 * halves["tuned_then_solves"]
    )


def test_suspicious_flips_are_all_or_nothing_with_enough_draws():
    base, tuned = (
        (np.array([128, 128, 128, 8, 128]), np.array([0, 0, 120, 0, 1])),
        (np.array([128, 128, 128, 8, 128]), np.array([126, 60, 0, 8, 128])),
    )
    assert suspicious_flips(base, tuned).tolist() == [True, False, True, False, False]


@pytest.mark.parametrize(("x", "n"), [(0, 10), (1, 10), (7, 10), (10, 10), (3, 465)])
def test_proportion_intervals_agree_with_scipy(x, n):
    for ours, method in ((clopper_pearson, "exact"), (wilson, "wilson")):
        theirs = stats.binomtest(x, n).proportion_ci(0.95, method)
        assert np.allclose(ours(x, n), (theirs.low, theirs.high))


@pytest.mark.parametrize("replicates", [2000, 101, 100])
def test_percentile_intervals_are_numpys_to_the_last_bit(replicates):
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(size=(replicates, 7)), 1)  # ties
    bootstrap = Bootstrap(np.empty(0), np.empty(0), confidence=0.9)
    for found in (bootstrap.interval(values), bootstrap.interval(values[:, 0])):
        columns = values if np.ndim(found[0]) else values[:, 0]
        assert (np.array(found) == np.quantile(columns, [(1 - 0.9) / 2, 1 - (1 - 0.9) / 2], axis=0)).all()


def test_benjamini_hochberg_and_holm():
    p = np.random.default_rng(1).random(200) ** 4
    assert (benjamini_hochberg(p, 0.05) == (stats.false_discovery_control(p) <= 0.05)).all()
    assert (
        benjamini_hochberg(p, 0.05, hypotheses=1000)
        == (stats.false_discovery_control(np.append(p, np.ones(800)))[:200] <= 0.05)
    ).all()
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])


def test_variance_of_the_draws_by_writing_out_every_count():
    n, k, a, b = 7, 3, 0.7, 1.3
    for c in range(n + 1):
        after = stats.beta(a + c, b + n - c)
        variance = after.expect(
            lambda p: (
                pass_at_k(n, np.arange(n + 1), k=k) ** 2 @ stats.binom.pmf(np.arange(n + 1), n, p)
                - (1 - (1 - p) ** k) ** 2
            )
        )
        miss, found = draw_moments(n, np.array([c]), k=k, a=a, b=b)
        assert found[0] == pytest.approx(variance, abs=1e-8) and miss[0] == pytest.approx(
            after.expect(lambda p: (1 - p) ** k), abs=1e-8
        )


def test_draws_only_interval_at_the_edge_is_the_exact_one_and_never_a_point():
    n = np.full(400, 8)
    k = np.array([1, 8])
    low, high = draws_only_interval(n, np.zeros(400, dtype=int), k=k)
    rate = 1 - 0.025 ** (1 / 3200)  # no success in 3,200 draws
    assert low.tolist() == [0, 0] and high == pytest.approx(1 - (1 - rate) ** k)
    low, high = draws_only_interval(n, np.full(400, 8), k=k)
    assert high.tolist() == [1, 1] and low[0] == pytest.approx(1 - rate) and low[1] < 1
    low, high = draws_only_interval(
        np.array([8]), np.array([3]), k=k
    )  # one problem, solved: pass@8 is estimated as 1, and may be far from it
    assert low[0] < 0.375 < high[0] and low[1] < 0.9 and high[1] == 1
    mixed = draws_only_interval(np.array([8, 16]), np.array([3, 5]), k=np.array([1]))
    assert mixed[0][0] < (3 / 8 + 5 / 16) / 2 < mixed[1][0]


def test_token_budgets_know_that_lengths_are_estimates():
    rng = np.random.default_rng(0)
    n, c = np.full(200, 64), rng.binomial(64, rng.beta(0.4, 2.0, 200))
    even, uneven = np.full(200, 1000.0), 1000.0 * rng.lognormal(0, 1.0, 200)
    uneven *= 1000 / uneven.mean()
    bootstrap = Bootstrap.draw(200, 500, rng=rng)
    width = {}
    for name, lengths in (("even", even), ("uneven", uneven)):
        table, _ = pass_at_tokens((n, c), (n, c), lengths=(lengths, even), largest=64, bootstrap=bootstrap, points=32)
        at = int(np.searchsorted(table["tokens"], 8000))
        k = table["tokens"][at] / 1000
        assert table["base"]["value"][at] == pytest.approx(-np.expm1(log_miss(n, c, k=np.full(200, k))).mean())
        width[name] = table["difference"]["high"][at] - table["difference"]["low"][at]
    assert width["uneven"] > 1.5 * width["even"]  # the same models: only the lengths differ, and are known or not
    assert pass_at_tokens((n, c), (n, c), lengths=(even, np.full(200, np.nan)), largest=64, bootstrap=bootstrap) is None
    assert (
        pass_at_tokens((n, c), (n, c), lengths=(even, 100 * even), largest=64, bootstrap=bootstrap) is None
    )  # no budget that both can spend


def test_bootstrap_is_paired_and_honest_at_the_edge():
    bootstrap = Bootstrap.draw(40, 4000, rng=np.random.default_rng(0))
    assert (bootstrap.problems.sum(axis=1) + bootstrap.pseudo.sum(axis=1) == 42).all()
    values = np.random.default_rng(1).random(40)
    assert np.allclose(bootstrap.means(values) - bootstrap.means(values - 0.25), 0.25)
    assert bootstrap.means(values).std() == pytest.approx(values.std() / np.sqrt(40), rel=0.06)
    low, high = bootstrap.interval(bootstrap.means(np.zeros(40), PSEUDO_BASE))
    assert low == 0 and 0.05 < high < 0.12  # nothing solved of 40 does not mean that nothing can be
    with_gap = np.where(np.arange(40) < 2, np.nan, values)
    assert bootstrap.means(with_gap).mean() == pytest.approx(np.nanmean(with_gap), abs=0.01)


def test_the_fit_finds_the_model_that_made_the_counts():
    rng = np.random.default_rng(0)
    p = np.where(rng.random(3000) < 0.3, 0.0, rng.beta(0.5, 2.0, 3000))
    n = np.full(3000, 256)
    model = fit(n, rng.binomial(256, p))
    assert (
        model.zero == pytest.approx(0.3, abs=0.05)
        and model.a == pytest.approx(0.5, rel=0.15)
        and model.b == pytest.approx(2.0, rel=0.15)
    )


def test_crossing_is_the_last_k_with_the_tuned_model_ahead():
    grid = grid_up_to(8192)
    assert grid[0] == 1 and grid[-1] == 8192 and np.diff(np.log(grid[40:])).max() < 0.05
    gap = lambda k: 0.2 - 0.03 * np.log2(k)  # noqa: E731  zero at 2^(20/3) = 101.6
    noise = np.random.default_rng(0).normal(0, 0.01, (400, 1))
    found = find_crossing(grid, gap(grid), replicates=gap(grid) + noise, exact=gap)
    assert (
        found.value == 101
        and isinstance(found.value, int)
        and 50 < found.low < 85
        and 120 < found.high < 200
        and found.share == 1.0
    )
    beyond = find_crossing(grid, gap(grid) + 0.18, replicates=gap(grid) + 0.18 + noise, exact=lambda k: gap(k) + 0.18)
    assert beyond.high is None and 0.05 < beyond.share < 0.9
    never = find_crossing(grid, np.full(len(grid), 0.1), replicates=np.full((50, len(grid)), 0.1))
    assert never.value is None and never.share == 0 and never.high is None and never.low == 8192
    behind = find_crossing(grid, np.full(len(grid), -0.1), replicates=np.full((50, len(grid)), -0.1))
    assert behind.value is None and (behind.low, behind.high, behind.share) == (0, 0, 0)
