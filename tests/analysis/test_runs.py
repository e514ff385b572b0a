"""Runs as a sample: moderated variances, intervals over runs and problems, the word of a method, and what compare says
of them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from scipy import stats

from analysis.__main__ import main
from analysis.audit import AuditSettings
from analysis.compare import compare
from analysis.counts import Counts
from analysis.method_verdict import judge_methods, run_z
from analysis.moderated import moderate
from analysis.null import exact_null
from analysis.over_runs import RunLuck, majority_p, mean_z_p, widened
from analysis.records import ModelSamples
from analysis.report import write_comparison
from analysis.verdict import Rules

SETTINGS = AuditSettings(k=(1, 16), replicates=100, maj_repeats=1)


def model(correct, name, n=16):
    ids = [str(i) for i in range(len(correct))]
    return ModelSamples(
        name=name,
        problem_ids=ids,
        benchmarks=["b"] * len(ids),
        n=np.full(len(ids), n),
        correct=np.asarray(correct),
        excluded=np.zeros(len(ids), dtype=int),
    )


def block(base, tuned, bound=1.0):
    """What the word of a method reads of a run's audit."""
    counts = [Counts(np.full(len(c), 128), np.asarray(c)) for c in (base, tuned)]
    return {"null": exact_null(*counts).document(), "verdict_detail": {"upper_gain": bound, "upper_loss": bound}}


def words(boards, **more):
    found = judge_methods({"all": boards}, pooled="all", rules=Rules(**more))
    return {name: by["all"] for name, by in found.items()}


# --- variances --------------------------------------------------------------------------------------------------------


def test_moderated_variances_are_nearer_the_truth_than_own_or_pooled_ones():
    rng = np.random.default_rng(0)
    truth = 2.0 * 5 / rng.chisquare(5, 4000)  # s_0^2 = 2, d_0 = 5
    own = truth * rng.chisquare(2, 4000) / 2
    found = moderate(own, np.full(4000, 2.0))
    assert 2.5 < found.prior_df < 10 and found.prior_variance == pytest.approx(2, rel=0.15)
    off = [np.abs(np.log(guess / truth))[~found.apart].mean() for guess in (found.variance, own, own.mean())]
    assert off[0] < 0.9 * min(off[1:])
    assert (found.df[~found.apart] == 2 + found.prior_df).all()


def test_variances_that_differ_by_chance_are_pooled_and_one_run_borrows():
    found = moderate(np.array([1.0, 2.0, 3.0, np.nan]), np.array([2.0, 2.0, 2.0, 0.0]))
    assert found.variance.tolist() == [2, 2, 2, 2] and found.df.tolist() == [6, 6, 6, 6]
    assert np.isinf(found.prior_df) and found.methods == 3
    assert moderate(np.array([np.nan, np.nan]), np.zeros(2)) is None
    assert moderate(np.zeros(3), np.ones(3)).variance.tolist() == [0, 0, 0]


def test_a_method_whose_runs_differ_far_more_keeps_its_own():
    found = moderate(np.array([1.0, 1.2, 0.8, 1.0, 400.0]), np.full(5, 2.0))
    assert found.apart.tolist() == [False] * 4 + [True]
    assert found.variance[4] == 400 and found.df[4] == 2 and found.variance[0] == 1 and found.df[0] == 8


# --- intervals and p-values over runs ---------------------------------------------------------------------------------


def test_an_interval_over_problems_gets_wider_by_the_runs_and_keeps_its_lean():
    low, high = widened(1.0, (0.5, 3.0), luck=RunLuck(0.01, 4))
    reach = stats.t.ppf(0.975, 4) * 0.1
    assert 1 - low == pytest.approx(np.hypot(reach, 0.5)) and high - 1 == pytest.approx(np.hypot(reach, 2))
    assert widened(1.0, (0.5, 3.0), luck=None) == (0.5, 3.0)


def test_the_majority_has_to_show_it():
    assert majority_p(np.array([1e-9, 1e-9, 1.0])) == pytest.approx(2e-9)
    assert majority_p(np.array([1e-9, 1.0])) == 1 and majority_p(np.array([0.03])) == 0.03


def test_a_mean_z_counts_the_luck_of_draws_and_of_runs():
    assert mean_z_p(3.0, RunLuck(0.0, 2)) == pytest.approx(stats.norm.sf(3.0))
    p = [mean_z_p(3.0, RunLuck(variance, df)) for variance, df in ((0.3, 20), (0.3, 2), (3.0, 2))]
    assert stats.norm.sf(3.0) < p[0] < p[1] < p[2] < 0.5
    assert mean_z_p(-1.0, RunLuck(0.3, 2)) == 1 and mean_z_p(1e6, RunLuck(0.0, 2)) > 0


def test_a_run_gets_its_z_by_its_exact_p_and_below_the_middle_by_its_count():
    assert run_z(0.001, 30, expected=10.0) == pytest.approx(stats.norm.isf(0.001))
    assert run_z(1.0, 0, expected=9.0) < -4 and -0.5 < run_z(1.0, 0, expected=0.2) <= 0
    assert np.isfinite(run_z(0.0, 30, expected=0.0))


# --- the word of a method ---------------------------------------------------------------------------------------------

BASE = [0] * 30 + [100] * 70
GAINED = [40] * 10 + [0] * 20 + [100] * 70
LOST = [0] * 30 + [0] * 10 + [100] * 60


def test_runs_that_agree_give_their_word_and_runs_that_do_not_give_none():
    agree = words({"a": [block(BASE, GAINED)] * 3, "same": [block(BASE, BASE)] * 3})
    assert agree["a"]["verdict"] == "expanded" and agree["same"]["verdict"] == "inconclusive"
    assert agree["a"]["p_gain"] == pytest.approx(min(1, 2 * agree["a"]["gain"]["p"])) and agree["a"]["questions"] == 2
    one_of_three = words({"a": [block(BASE, GAINED), block(BASE, BASE), block(BASE, BASE)]})
    assert one_of_three["a"]["verdict"] == "inconclusive"
    both = words({"a": [block(BASE, GAINED), block(BASE, GAINED), block(BASE, LOST)]})["a"]
    assert both["gain"]["p_majority"] < 1e-6 and both["gain"]["p_spread"] > 0.025  # the third run says the contrary
    assert both["verdict"] == "inconclusive"


def test_holm_over_methods_takes_a_word_that_one_alone_would_have():
    weak = [0] * 25 + [1] * 5 + [100] * 70  # five problems from 0 to 1 of 128: a coin's toss each
    alone = words({"a": [block(BASE, weak)]})["a"]
    assert alone["p_gain"] == pytest.approx(2**-5)
    level = alone["p_gain"] * 1.5
    assert words({"a": [block(BASE, weak)]}, level=level)["a"]["verdict"] == "expanded"
    board = {"a": [block(BASE, weak)]} | {str(i): [block(BASE, BASE)] for i in range(4)}
    assert words(board, level=level)["a"]["verdict"] == "inconclusive"


def test_held_needs_every_run_below_the_margin():
    small = block(BASE, BASE, bound=0.01)
    assert words({"a": [small, small]})["a"]["verdict"] == "held"
    assert words({"a": [small, block(BASE, BASE, bound=0.1)]})["a"]["verdict"] == "inconclusive"


def test_one_run_each_is_about_the_checkpoint_and_says_so():
    found = words({"a": [block(BASE, GAINED)], "b": [block(BASE, LOST)]})
    assert [found[name]["verdict"] for name in "ab"] == ["expanded", "shrank"]
    assert found["a"]["gain"]["p_spread"] is None and "not about another seed" in found["a"]["evidence"]
    borrowed = words({"a": [block(BASE, GAINED)], "b": [block(BASE, GAINED), block(BASE, BASE)]})["a"]
    assert borrowed["gain"]["df"] == 1 and "taken from the other methods" in borrowed["evidence"]


# --- compare ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def board():
    """Two methods of two runs and one of one; the second is better, and the runs of the first differ."""
    rng = np.random.default_rng(0)
    p = rng.beta(1, 1, 60)
    methods = {
        name: [model(rng.binomial(16, np.clip(p + shift, 0, 1)), f"{name}/{i}") for i, shift in enumerate(shifts)]
        for name, shifts in (("a", (-0.04, 0.04)), ("b", (0.2, 0.22)), ("single", (0.2,)))
    }
    return compare(model(rng.binomial(16, p), "base"), methods, settings=SETTINGS)


def test_differences_are_over_problems_and_runs(board):
    pair = next(p for p in board["pairs"] if (p["first"], p["second"]) == ("a", "b"))
    row = pair["benchmarks"]["all"]["pass_at_k_difference"]["1"]
    low, high = row["over_problems"]
    assert row["low"] < low < row["value"] < high < row["high"]
    a, b = row["first_runs"], row["second_runs"]
    assert row["df"] == 2 and len(a) == len(b) == 2 and row["range"][0] <= row["value"] <= row["range"][1]
    pooled = (np.var(a, ddof=1) + np.var(b, ddof=1)) / 2
    reach = stats.t.ppf(0.975, 2) * np.sqrt(pooled)  # a difference of two means of two runs has variance s^2
    assert row["high"] - row["value"] == pytest.approx(np.hypot(reach, high - row["value"]))
    assert row["p_over_runs"] == pytest.approx(stats.ttest_ind(a, b).pvalue)
    spread = board["between_runs"]["all"]["1"]
    assert spread["methods"] == 2 and spread["pooled_df"] == 2 and spread["all_pooled"]
    assert spread["common_sd"] == pytest.approx(np.sqrt(pooled)) and spread["of"]["single"]["sd"] is None
    against = board["methods"]["b"]["against_base"]["all"]["1"]
    assert against["df"] == 2 and against["low"] < against["over_problems"][0]


def test_fewer_than_two_runs_are_said(board):
    (line,) = [line for line in board["warnings"] if "one run" in line]
    assert line.startswith("single has one run") and "taken from the methods with two or more" in line


def test_no_spread_where_no_method_has_two_runs():
    rng = np.random.default_rng(1)
    a, b, base = (model(rng.binomial(16, 0.5, 20), name) for name in ("a", "b", "base"))
    document = compare(base, {"a": [a], "b": [b]}, settings=SETTINGS)
    row = document["pairs"][0]["benchmarks"]["all"]["pass_at_k_difference"]["1"]
    assert [row["low"], row["high"]] == row["over_problems"] and row["df"] is None and row["p_over_runs"] is None
    assert document["between_runs"]["all"]["1"] is None
    assert any("another seed may say otherwise" in line for line in document["warnings"])


def test_one_run_given_twice_is_noticed(board, tmp_path, capsys):
    counts = tmp_path / "a.csv"
    counts.write_text("problem_id,n,correct\n1,4,2\n2,4,1\n")
    arguments = ["compare", "--base", str(counts), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--method", "m", str(counts), str(counts)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "given twice" in error
    assert not any("twice" in line for line in board["warnings"])
    same = model([3, 4, 5], "m")
    document = compare(model([3, 3, 3], "base"), {"m": [same, same]}, settings=SETTINGS)
    assert any(line.startswith("m: runs 0 and 1 have the same counts") for line in document["warnings"])


def test_words_of_run_against_run_share_the_level(board):
    pair = board["pairs"][0]["benchmarks"]["all"]
    assert pair["comparisons"] == 2 * 2 + 2 + 2
    assert [len(line) for line in pair["verdicts_run_by_run"]] == [2, 2]


def test_the_tables_hold_words_and_spreads(board, tmp_path):
    write_comparison(board, tmp_path)
    read = {
        name: list(csv.DictReader((tmp_path / "tables" / f"{name}.csv").open()))
        for name in ("words", "between_runs", "against_base", "pairs")
    }
    assert [row["word"] for row in read["words"]] == [m["verdict"]["all"]["verdict"] for m in board["methods"].values()]
    assert {row["methods"] for row in read["between_runs"]} == {"2"} and len(read["between_runs"]) == 6
    assert float(read["against_base"][0]["difference"]) == board["methods"]["a"]["against_base"]["all"]["1"]["value"]
    assert read["pairs"][0]["df"] == "2.0"
    page = (tmp_path / "report.html").read_text()
    assert (
        "Standard deviation of pass@1 between runs" in page and "from 2 methods of two or more runs, 2 degrees" in page
    )
    kept = json.loads((tmp_path / "compare.json").read_text())
    assert {key: value for key, value in kept.items() if key != "audits"} == {
        key: value for key, value in board.items() if key != "audits"
    }
    for name, runs in board["audits"].items():
        assert [json.loads((tmp_path / short["file"]).read_text()) for short in kept["audits"][name]] == runs


def test_a_word_of_a_method_says_within_which_draws_and_whether_it_is_more_than_a_speed_up():
    base = model([0] * 8 + [8] * 32, "base")
    wide = [model([16] * 8 + [8] * 32, f"wide/{i}") for i in range(2)]
    faint = [model([1] * 8 + [8] * 32, f"faint/{i}") for i in range(2)]
    found = compare(base, {"wide": wide, "faint": faint}, settings=SETTINGS)["methods"]
    said = {name: method["verdict"]["all"] for name, method in found.items()}
    assert {of["verdict"] for of in said.values()} == {"expanded"}
    assert all(of["within"] == "within 16 draws" and of["beyond"]["fold"] == 4 for of in said.values())
    assert "is beyond a speed-up of 4 in more than half of the runs" in said["wide"]["evidence"]
    assert "is not shown to be beyond a speed-up of 4" in said["faint"]["evidence"]
    assert said["wide"]["beyond"]["p_gain"] < 0.001 < 0.025 < said["faint"]["beyond"]["p_gain"]
