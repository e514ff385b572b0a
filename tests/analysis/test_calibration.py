"""The short version of scripts/calibrate_analysis.py: fewer simulations of fewer shapes, the same targets within the
simulation's own error.
"""

from __future__ import annotations

import calibration_light
import numpy as np
import pytest
from calibrate_analysis import read_cells, run_missing
from calibration_boards import method_boards, run_differences
from calibration_cells import Cell, cells
from calibration_intervals import coverage, skewed_coverage
from calibration_kit import AROUND, HALF_ZERO, MATH, NEAR_ZERO, Line, smallest_after_holm
from calibration_notes import NOTES, TITLES
from calibration_scenarios import name_of, scenario_table, scenarios
from calibration_words import (
    RAGGED,
    certified_errors,
    false_benchmarks,
    false_words,
    fold_power,
    held_in_vain,
    lucky_verdicts,
    power,
    refuted_folds,
    verdict_shares,
)


def kept(lines):
    return [f"{line.row}, {line.column}: {line.share}" for line in lines if line.missed]


@pytest.mark.parametrize("shape", ["rare: 90 % zero, else Beta(.5, 20)", "near one Beta(5, .1)"])
def test_intervals_cover(shape):
    lines = coverage(60, np.random.default_rng(1), shape=shape, problems=100, population=100_000)
    assert not kept(lines) and any(line.at_least == 0.93 for line in lines)


@pytest.mark.parametrize(
    "problems, n", [(8, (16, 16)), (30, (128, 128)), (100, RAGGED), (100, (64, 256)), (500, (128, 128))]
)
def test_one_model_drawn_twice_is_seldom_called_changed(problems, n):
    lines = false_words(120, np.random.default_rng(2), shape=NEAR_ZERO, problems=problems, n=n)
    assert not kept(lines) and lines[0].at_most == 0.05


@pytest.mark.parametrize("law", ["head only: square root of p above .1", "worse everywhere: odds halved"])
def test_no_word_is_said_of_what_a_law_does_not_do(law):
    shape = "bimodal: Beta(2, 80) or Beta(80, 2)"
    assert not kept(false_words(100, np.random.default_rng(3), shape=shape, problems=200, n=(128, 128), law=law))


def test_certified_categories_and_planted_changes():
    rng = np.random.default_rng(3)
    trade = "trade: 5 % gained, 5 % lost, .05"
    assert not kept(certified_errors(40, rng, shape=AROUND, law=trade))
    for law in ("gain: 5 % from 0 to .05", "loss: 5 % from .05 to 0", trade):
        found = power(40, rng, shape=HALF_ZERO, problems=500, n=(1024, 1024), law=law)
        assert not kept(found) and found[0].column == "found" and found[0].share >= 0.9
    shares = {line.column: line.share for line in verdict_shares(40, rng, shape=HALF_ZERO, law="nothing changed")}
    assert shares["held"] >= 0.6


def test_held_is_not_said_of_a_loss_above_the_margin():
    rng = np.random.default_rng(4)
    assert not kept(held_in_vain(40, rng, shape=MATH, problems=500, n=(1024, 1024), share=0.03, at=0.05))


@pytest.mark.parametrize(
    "law", ["2 % from 0 to .5, rest sharpened", "5 % from 0 to .02, rest sharpened", "trade: 1 % gained, 10 % lost, .3"]
)
def test_a_gain_beside_losses_is_found(law):
    line = power(20, np.random.default_rng(4), shape=HALF_ZERO, problems=500, n=(1024, 1024), law=law)[0]
    assert line.share > 0.9


def test_several_benchmarks_share_the_error_of_their_words():
    sizes = (10, 30, 60)
    lines = false_benchmarks(60, np.random.default_rng(12), shape=NEAR_ZERO, sizes=sizes, n=(64, 256))
    assert not kept(lines) and {line.at_most for line in lines} == {0.05}


@pytest.mark.parametrize(
    "change",
    ["odds doubled, at F = 2", "log-odds shaken by sd .5, at F = 4", "temperature: odds to .8, at F = 10"],
)
def test_a_speed_up_is_not_beyond_itself(change):
    wrong, called = refuted_folds(25, np.random.default_rng(5), shape=NEAR_ZERO, change=change, problems=300)
    assert not kept([wrong]) and called.share > wrong.share
    (found,) = fold_power(15, np.random.default_rng(6), shape=NEAR_ZERO, at=0.5, problems=300)
    assert found.share > 0.9


@pytest.mark.parametrize("graded", [0, 300])
def test_lucky_guesses_decide_no_word_where_their_rates_are_given(graded):
    shape = "30 % zero, else log-uniform, 1e-5 to 1"
    given, blind = lucky_verdicts(
        25, np.random.default_rng(7), shape=shape, rates=(0.01, 0.003), problems=200, graded=graded
    )
    assert not kept([given]) and blind.share > 0.5


@pytest.mark.parametrize("sd", [0.0, 0.2])
@pytest.mark.parametrize("runs", [2, 3])
def test_methods_of_one_law_seldom_differ_whatever_their_seeds_do(sd, runs):
    lines = run_differences(100, np.random.default_rng(7), shape=MATH, runs=runs, sds=(sd, sd))
    assert not kept(lines) and any(line.at_most == 0.05 for line in lines)


def test_boards_of_methods_that_change_nothing_seldom_hold_a_false_word():
    words, alone = method_boards(8, np.random.default_rng(8), shape=HALF_ZERO, problems=60)
    assert not kept([words]) and words.at_most == 0.05 and words.share < alone.share


def test_a_gain_of_every_run_is_found():
    law = "gain: 5 % from 0 to .05"
    lines = method_boards(6, np.random.default_rng(9), shape=HALF_ZERO, methods=2, runs=3, sd=0.1, law=law)
    assert not kept(lines) and lines[-1].column == "found" and lines[-1].share >= 0.8


@pytest.mark.parametrize("quantity", ["entropy: log-normal, sd 1", "perplexity: 1 + gamma(.5)"])
def test_means_of_skewed_quantities_are_covered(quantity):
    bootstrap_t, percentile = skewed_coverage(100, np.random.default_rng(7), quantity=quantity, problems=10)
    assert not kept([bootstrap_t]) and bootstrap_t.share > percentile.share


def test_the_light_path_refuses_to_differ_from_the_verdict(monkeypatch):
    never = lambda one, other, correct, odds: 0.0 * correct  # chances of a wrong null
    monkeypatch.setattr(calibration_light, "one_side_only", never)
    with pytest.raises(AssertionError, match="the light path says traded, the verdict"):
        false_words(5, np.random.default_rng(11), shape=MATH, problems=500, n=(128, 128))


def test_a_missed_target_is_seen():
    assert Line("x", "y", 0.90, 1000, at_least=0.93).missed and not Line("x", "y", 0.92, 1000, at_least=0.93).missed
    assert Line("x", "y", 0.08, 1000, at_most=0.05).missed and not Line("x", "y", 0.06, 1000, at_most=0.05).missed
    fine = [Line("x", "y", 0.05, 1000, at_most=0.05)] * 9
    assert smallest_after_holm([*fine, Line("x", "y", 0.1, 1000, at_most=0.05)]) < 1e-6 < smallest_after_holm(fine)


def test_a_calibration_that_was_ended_goes_on_where_it_stopped(tmp_path, capsys):
    one, two = (Cell("false", false_words, {"shape": MATH, "problems": problems, "n": (16, 16)}) for problems in (5, 8))
    path = tmp_path / "cells.jsonl"
    run_missing({one.key: (one, 20)}, {}, path=path, seed=0, workers=1)
    run_missing({c.key: (c, 20) for c in (one, two)}, read_cells(path, 0), path=path, seed=0, workers=1)
    done = read_cells(path, 0)
    assert [done[c.key][1] for c in (one, two)] == [c.run(20, 0) for c in (one, two)]
    assert capsys.readouterr().err.count(one.key) == 1 and not read_cells(path, 1)


def test_every_cell_has_a_table_and_a_key_of_its_own():
    every = list(cells())
    assert len({cell.key for cell in every}) == len(every)
    assert {cell.table for cell in every} == set(TITLES) == set(NOTES)


def test_cells_of_one_law_are_one_scenario_whatever_their_shape():
    def line(share, trials=1000):
        return Line("x", "called changed", share, trials, at_most=0.05)

    law = {"law": "worse everywhere"}
    cells_ = [("false", {"shape": MATH, "n": (8, 8)}, line(0.08)), ("false", {"shape": AROUND, "n": (9, 9)}, line(0.0))]
    one, other, found = scenarios(
        [*cells_, ("false", law, line(0.2, 50)), ("hidden", law, Line("x", "found", 0.8, 1000, at_least=0.95))]
    )
    assert (one.cells, one.sets, one.hits, one.thinnest, one.worst) == (2, 2000, 80, 1000, 0.08) and not one.missed
    assert other.missed and other.thinnest == 50 and found.missed and found.p < 1e-9
    page = "\n".join(scenario_table([one, other, found]))
    assert "| one model drawn twice | 2 | 2,000 | 1,000 | 4.00% |" in page and page.count("**missed**") == 2
    assert "missed by more than two standard errors: 2." in page and "thinnest single cell has 50" in page


def test_every_target_of_a_cell_has_a_scenario_in_words():
    names = {cell.table: name_of(cell.table, cell.kwargs, column="pass@1") for cell in cells()}
    without = {table for table, name in names.items() if name.startswith(f"{table}: ")}
    assert without == {"shares", "fold power", "cluster power", "mode power"}  # which have no target
