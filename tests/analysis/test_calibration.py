"""The short version of scripts/calibrate_analysis.py: fewer simulations of fewer shapes, the same targets within the
simulation's own error.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "scripts" / "calibrate_analysis.py"


@pytest.fixture(scope="module")
def calibrate():
    spec = importlib.util.spec_from_file_location("calibrate_analysis", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def kept(lines):
    return [f"{line.row}, {line.column}: {line.share}" for line in lines if line.missed]


@pytest.mark.parametrize("shape", ["rare: 90 % zero, else Beta(.5, 20)", "near one Beta(5, .1)"])
def test_intervals_cover(calibrate, shape):
    lines = calibrate.coverage(shape, 100, 60, np.random.default_rng(1), population=100_000)
    assert not kept(lines) and any(line.at_least == 0.93 for line in lines)


@pytest.mark.parametrize("problems", [30, 500])
def test_one_model_drawn_twice_is_seldom_called_changed(calibrate, problems):
    assert not kept([calibrate.false_verdicts("near zero Beta(.1, 10)", problems, 150, np.random.default_rng(2))])


def test_certified_categories_and_planted_changes(calibrate):
    rng = np.random.default_rng(3)
    assert not kept(
        calibrate.certified_errors("around .01: log-uniform, .003 to .03", "trade: 5 % gained, 5 % lost", 40, rng)
    )
    background = "half zero, half Beta(.3, 2)"
    assert (
        calibrate.verdict_shares(background, "gain: 5 % of problems from 0 to .05", 40, rng).get("expanded", 0) >= 0.9
    )
    assert calibrate.verdict_shares(background, "loss: 5 % of problems from .05 to 0", 40, rng).get("shrank", 0) >= 0.9
    assert calibrate.verdict_shares(background, "trade: 5 % gained, 5 % lost", 40, rng).get("traded", 0) >= 0.9
    assert calibrate.verdict_shares(background, "nothing changed", 40, rng).get("held", 0) >= 0.6


@pytest.mark.parametrize("scenario", ["2 % from 0 to .5, rest sharpened", "5 % from 0 to .02, rest sharpened"])
def test_a_gain_beside_losses_is_found(calibrate, scenario):
    line = calibrate.hidden_gain("half zero, half Beta(.3, 2)", 500, 20, np.random.default_rng(4), scenario)
    assert not kept([line]) and line.share > 0.9


@pytest.mark.parametrize("scenario", ["odds doubled, at F = 2", "log-odds shaken by sd .5, at F = 4"])
def test_a_speed_up_is_not_beyond_itself(calibrate, scenario):
    wrong, called = calibrate.refuted_folds("near zero Beta(.1, 10)", 300, 25, np.random.default_rng(5), scenario)
    assert not kept([wrong]) and called.share > wrong.share
    power = calibrate.fold_power("near zero Beta(.1, 10)", 300, 15, np.random.default_rng(6), at=0.5)
    assert power.share > 0.9


@pytest.mark.parametrize("sd", [0.0, 0.2])
@pytest.mark.parametrize("runs", [2, 3])
def test_methods_of_one_law_seldom_differ_whatever_their_seeds_do(calibrate, sd, runs):
    lines = calibrate.run_differences(
        "like MATH500: 3 % zero, else Beta(.8, .5)", runs, 100, np.random.default_rng(7), (sd, sd)
    )
    assert not kept(lines) and any(line.at_most == 0.05 for line in lines)


def test_boards_of_methods_that_change_nothing_seldom_hold_a_false_word(calibrate):
    lines = calibrate.method_boards("half zero, half Beta(.3, 2)", 60, 8, np.random.default_rng(8))
    words, alone = lines
    assert not kept(lines) and words.at_most == 0.05 and words.share < alone.share


def test_a_gain_of_every_run_is_found(calibrate):
    gain = "gain: 5 % of problems from 0 to .05"
    lines = calibrate.method_boards("half zero, half Beta(.3, 2)", 500, 6, np.random.default_rng(9), 2, 3, 0.1, gain)
    assert not kept(lines) and lines[-1].column == "found" and lines[-1].share >= 0.8


@pytest.mark.parametrize("quantity", ["entropy: log-normal, sd 1", "perplexity: 1 + gamma(.5)"])
def test_means_of_skewed_quantities_are_covered(calibrate, quantity):
    bootstrap_t, percentile = calibrate.skewed_coverage(quantity, 10, 100, np.random.default_rng(7))
    assert not kept([bootstrap_t]) and bootstrap_t.share > percentile.share


def test_a_missed_target_is_seen(calibrate):
    assert (
        calibrate.Line("x", "y", 0.90, 1000, at_least=0.93).missed
        and not calibrate.Line("x", "y", 0.92, 1000, at_least=0.93).missed
    )
    assert (
        calibrate.Line("x", "y", 0.08, 1000, at_most=0.05).missed
        and not calibrate.Line("x", "y", 0.06, 1000, at_most=0.05).missed
    )
