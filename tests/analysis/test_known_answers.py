"""Published numbers come out of published counts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from analysis.audit import AuditSettings, audit
from analysis.counts import Counts
from analysis.metrics import avg_at_n, bayes_at_n, delta_se
from analysis.null import exact_null, relabelling_probabilities
from analysis.pass_at_k import g_pass_at_k, mg_pass_at_k, pass_all_k, pass_at_k
from analysis.readers import align, load
from analysis.records import write_samples
from analysis.significance import mcnemar
from analysis.support import SupportCounts, from_sets, support_counts

PUBLISHED = Path(__file__).parents[1] / "known_answers"
ROWS = list(csv.DictReader(open(PUBLISHED / "invisible_leash.csv")))
YUE = json.loads((PUBLISHED / "limit_of_rlvr.json").read_text())
RELATIVES = json.loads((PUBLISHED / "relatives.json").read_text())
TABLE_14 = list(csv.DictReader(open(PUBLISHED / "invisible_leash_table14.csv")))


def printed(text: str, value: float) -> bool:
    """Whether `value` rounds to what was printed, at as many digits."""
    digits = len(text.partition(".")[2])
    return abs(float(text) - value) <= 0.5 * 10**-digits + 1e-9


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"table {row['table']} {row['row']}")
def test_metrics_of_the_leash_tables_follow_from_their_counts(row):
    counts = SupportCounts(*(int(row[name]) for name in ("preserved", "shrunk", "expanded", "out")))
    for name in ("srr", "ndr", "sds", "nscr"):
        assert printed(row[name], getattr(counts, name)), name
    if row["base_percent"]:
        total = counts.preserved + counts.shrunk + counts.expanded + counts.out
        # the same numbers through the counts of correct draws, at k = n
        solved_b = np.repeat(
            [1, 1, 0, 0], [int(counts.preserved), int(counts.shrunk), int(counts.expanded), int(counts.out)]
        )
        solved_t = np.repeat(
            [1, 0, 1, 0], [int(counts.preserved), int(counts.shrunk), int(counts.expanded), int(counts.out)]
        )
        n = np.full(int(total), 8192)
        assert support_counts((n, solved_b), (n, solved_t), k=8192) == counts
        assert printed(row["base_percent"], 100 * solved_b.mean() - 1e-7) and printed(
            row["tuned_percent"], 100 * solved_t.mean() - 1e-7
        )


def test_aime24_index_lists_give_the_coverage_table():
    lists = YUE["aime24"]
    counts = from_sets(set(lists["base"]), set(lists["tuned"]), total=lists["problems"])
    assert (counts.preserved, counts.shrunk, counts.expanded, counts.out) == (19, 4, 0, 7)
    for name, key in (("preserved", "both"), ("shrunk", "base_only"), ("expanded", "tuned_only"), ("out", "neither")):
        assert getattr(counts, name) / 30 * 100 == pytest.approx(lists["percent"][key], abs=0.051)
    assert (
        counts.srr == pytest.approx(19 / 23)
        and counts.ndr == 0
        and counts.sds == 0
        and counts.nscr == pytest.approx(-4 / 23)
    )


def test_math500_row_of_the_coverage_table():
    row = YUE["math500"]
    both, base_only, tuned_only, neither = (
        round(row["percent"][key] * 5) for key in ("both", "base_only", "tuned_only", "neither")
    )
    base, tuned = np.arange(500) < both + base_only, (np.arange(500) < both) | (np.arange(500) >= 500 - tuned_only)
    n = np.full(500, 128)
    counts = support_counts((n, base.astype(int)), (n, tuned.astype(int)), k=128)
    assert (counts.preserved, counts.shrunk, counts.expanded, counts.out) == (
        462,
        18,
        5,
        15,
    ) and both + base_only + tuned_only + neither == 500
    assert (
        counts.srr == pytest.approx(0.9625)
        and counts.ndr == pytest.approx(5 / 467)
        and counts.nscr == pytest.approx(-13 / 485)
    )


def drawn_like(row: dict) -> pa.Table:
    """256 samples a problem, written in reverse; the first correct one comes where the curve says, and then every third
    is."""
    solved = [round(float(row[str(2**i)]) / 100 * int(row["problems"])) for i in range(9)]
    first = [0] * solved[0] + [2 ** (i - 1) for i in range(1, 9) for _ in range(solved[i] - solved[i - 1])]
    first = np.repeat(np.array(first + [256] * (int(row["problems"]) - solved[-1])), 256)
    sample = np.tile(np.arange(256)[::-1], int(row["problems"]))
    problem = np.repeat(np.arange(int(row["problems"])), 256).astype(str)
    correct = (sample >= first) & (sample % 3 == first % 3)
    return pa.table(
        {"problem_id": problem, "benchmark": [row["benchmark"]] * len(sample), "sample": sample, "correct": correct}
    )


@pytest.mark.parametrize("benchmark", dict.fromkeys(row["benchmark"] for row in TABLE_14))
def test_first_k_of_n_replicates_the_leash_curves(benchmark, tmp_path):
    """And the unbiased estimate from the same draws does not: at k = 1 it is the mean accuracy, not a share of
    problems."""
    rows = [row for row in TABLE_14 if row["benchmark"] == benchmark]
    for row in rows:
        write_samples(tmp_path / f"{row['model']}.parquet", drawn_like(row))
    base, tuned, _ = align(*(load([str(tmp_path / f"{row['model']}.parquet")]) for row in rows))
    block = audit(base, tuned, settings=AuditSettings(replicates=100))["benchmarks"][benchmark]
    for side, row in zip(("base", "tuned"), rows, strict=True):
        for k in (str(2**i) for i in range(9)):
            found = block["pass_at_first_k"][side][k]
            assert printed(row[k], 100 * found["value"]) and found["low"] <= found["value"] <= found["high"]
        assert abs(block["pass_at_k"][side]["1"]["value"] - block["pass_at_first_k"][side]["1"]["value"]) > 0.001
        assert block["pass_at_k"][side]["256"]["value"] == pytest.approx(block["pass_at_first_k"][side]["256"]["value"])


def test_g_pass_at_k_as_its_authors_print_it():
    published = RELATIVES["g_pass_at_k"]
    n, c = np.array([published["n"]]), np.array([published["c"]])
    for k, values in published["values"].items():
        assert {tau: g_pass_at_k(n, c, k=int(k), tau=float(tau))[0] for tau in values} == pytest.approx(
            values, rel=1e-9
        )
        assert mg_pass_at_k(n, c, k=int(k))[0] == pytest.approx(published["mean"][k], rel=1e-9)


def test_bayes_at_n_and_relatives_as_its_authors_library_prints_them():
    published = RELATIVES["scorio"]
    n, c = np.array(published["n"]), np.array(published["c"])
    mu, sigma = bayes_at_n(n, c)
    assert mu == pytest.approx(published["bayes"]["mu"], rel=1e-12) and sigma == pytest.approx(
        published["bayes"]["sigma"], rel=1e-12
    )
    assert avg_at_n(n, c).mean() == pytest.approx(published["avg"])
    for f, name in ((pass_at_k, "pass_at_k"), (pass_all_k, "pass_all_k"), (mg_pass_at_k, "mg_pass_at_k")):
        assert {k: f(n, c, k=int(k)).mean() for k in published[name]} == pytest.approx(published[name])
    assert {tau: g_pass_at_k(n, c, k=2, tau=float(tau)).mean() for tau in published["g_pass_at_2"]} == pytest.approx(
        published["g_pass_at_2"]
    )


def test_livecodebench_lists():
    lists = YUE["livecodebench_400_450"]
    assert lists["base"] == lists["preserved"] + len(lists["shrunk"]) and lists["tuned"] == lists["preserved"] + len(
        lists["expanded"]
    )
    assert SupportCounts(19, 4, 1, 26).nscr == pytest.approx(-3 / 24)


@pytest.mark.parametrize("method", ["GRPO", "PPO", "RLOO", "DAPO"])
def test_delta_se_of_the_rl_algorithms(method):
    for column, gap in enumerate(YUE["delta_se_percent"][method]):
        base, tuned = YUE["pass_at_1_and_256"]["Qwen2.5-7B"][column], YUE["pass_at_1_and_256"][method][column]
        solved = (np.arange(1000) < round(10 * base[1])).astype(
            int
        )  # base: that share solved in 256 draws; tuned: that mean accuracy
        found = delta_se((np.full(1000, 256), solved), (np.full(1000, 1000), np.full(1000, round(10 * tuned[0]))))
        assert 100 * found.mean() == pytest.approx(gap, abs=0.051)


@pytest.mark.parametrize(
    ("expanded", "shrunk", "p"),
    [
        (5, 56, 5.7e-12),
        (48, 175, 3.6e-18),
        (5, 9, 0.42),
        (28, 56, 0.003),
        (2, 34, 1.9e-8),
        (8, 23, 0.011),
        (16, 23, 0.34),
        (83, 104, 0.14),
        (0, 3, 0.25),
    ],
)
def test_mcnemar_of_the_leash_tables(expanded, shrunk, p):
    assert mcnemar(expanded, shrunk) == pytest.approx(p, rel=0.06)


def test_edge_cases_of_the_metrics():
    nothing = SupportCounts(0, 0, 0, 5)
    assert (nothing.srr, nothing.ndr, nothing.sds, nothing.nscr) == (None, None, None, None)
    assert SupportCounts(3, 1, 0, 0).sds == 0.0
    assert SupportCounts(0, 2, 2, 0).sds == 0.0 and SupportCounts(0, 2, 2, 0).nscr == 0.0


def test_the_real_pair_against_its_null():
    path = Path(__file__).parents[2] / "examples" / "simplerl_math500.csv"
    rows = list(csv.DictReader(open(path)))
    n, base, tuned = (np.array([int(row[name]) for row in rows]) for name in ("n", "base_correct", "simplerl_correct"))
    null = exact_null(Counts(n, base), Counts(n, tuned))
    assert (null.shrunk.all.observed, null.expanded.all.observed) == (19, 3)
    assert null.shrunk.all.expected == pytest.approx(5.19, abs=0.005) and null.expanded.all.expected == pytest.approx(
        5.19, abs=0.005
    )
    assert null.shrunk.all.p < 1e-10 and null.expanded.all.p == pytest.approx(0.942, abs=0.001)
    # the clear ones alone: 0 of 128 -> 23 and 0 -> 126 are gained, and the gain is no longer hidden by the losses
    assert null.expanded.clear.observed == 2 and null.expanded.clear.p == pytest.approx(1.8e-4, rel=0.01)


def test_floor_of_shrinkage_between_identical_models():
    """P(S) = (1 - (1-p)^k)(1-p)^k at k p = .05, .1, .3, 1, 3, 5; the relabelling null has the same mean."""
    k = 1000
    for kp, share in ((0.05, 0.046), (0.1, 0.086), (0.3, 0.192), (1, 0.232), (3, 0.047), (5, 0.006)):
        p = kp / k
        rng = np.random.default_rng(0)
        both = rng.binomial(k, p, size=(2, 200_000)).sum(axis=0)
        counts, weights = np.unique(both, return_counts=True)
        shrunk, _ = relabelling_probabilities(np.full(len(counts), k), np.full(len(counts), k), correct=counts)
        assert (shrunk @ weights) / weights.sum() == pytest.approx(share, abs=0.002)


def test_bayes_at_n_by_hand():
    mu, sigma = bayes_at_n(np.array([2]), np.array([1]))  # posterior Beta(2, 2)
    assert mu == 0.5 and sigma**2 == pytest.approx(0.05)
    mu, sigma = bayes_at_n(
        np.array([2, 2]), np.array([1, 2])
    )  # Beta(2, 2) and Beta(3, 1): means 1/2, 3/4, variances 1/20, 3/80
    assert mu == pytest.approx(0.625) and sigma**2 == pytest.approx((1 / 20 + 3 / 80) / 4)
