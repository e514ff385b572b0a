"""The script of exact rows: figures of an audit against a base, the bars, the page between its marks."""

import exact_board
import numpy as np
import pytest

from analysis.errors import InputError
from explore_rl.lab.exact import ExactAudit, Index


def audit(*probabilities):
    """Two problems: the first with a common and a left-out mode, the second with a common one."""
    index = Index(
        ("a", "b", "c"), np.array([0, 0, 1]), np.array([0, 1, 2]), ("a", "b", "c"), np.array([0, 0, 1]),
        ("common", "division", "common"),
    )  # fmt: skip
    return ExactAudit(("one", "two"), index, np.log(np.array(probabilities)))


def test_figures_by_hand():
    found = exact_board.figures(audit(0.5, 0.01, 0.001), audit(0.25, 1e-9, 0.5))
    assert found["pass@1"] == pytest.approx((0.51 + 0.001) / 2)
    assert (found["mode_P@eps"], found["mode_S@eps"], found["mode_E@eps"]) == (1, 1, 1)
    assert (found["mode_S@eps/4"], found["mode_E@4eps"]) == (0, 0)  # .001 > 3/4096, .01 < 12/1024
    assert (found["mode_srr@eps"], found["problem_S@eps"], found["left_out_reached"]) == (0.5, 1, 1.0)
    assert found["left_out_mass"] == pytest.approx(0.005)


def run(method, seed, **figures):
    whole = exact_board.figures(audit(0.5, 0.01, 0.5), audit(0.5, 1e-9, 0.5))
    return exact_board.Run(method, seed, whole | figures)


def test_bars_say_what_is_met_and_what_is_not():
    runs = [run("grpo", seed, **{"pass@1": 0.3}) for seed in (1, 2)]
    runs += [run("ours", seed, **{"pass@1": 0.31 + seed / 1000, "mode_S@eps": 2}) for seed in (1, 2)]
    said = exact_board.bars("ours", runs, against="grpo", control=None)
    assert "A: met: pass@1 at most .01 below grpo's" in said and "B: met: pass@1 >= grpo's mean 0.300" in said
    assert "B: **not met**: at most one of the base's modes lost (most 2)" in said
    assert "no run yet" in exact_board.bars("theirs", runs, against="grpo", control=None)
    # Welch by hand: differences .0115, spread only in ours: t(.95, 1) = 6.314, standard error .0005.
    gap = exact_board._least_gap([0.311, 0.312], [0.3, 0.3])
    assert gap == pytest.approx(0.0115 - 6.3138 * 0.0005, abs=1e-6)


def test_the_page_changes_between_its_marks_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- rows -->\nold\n<!-- end of rows -->\nafter\n")
    exact_board.into_page(page, "new\n")
    exact_board.into_page(page, "newer\n")
    assert page.read_text() == "before\n<!-- rows -->\nnewer\n<!-- end of rows -->\nafter\n"
    page.write_text("no marks")
    with pytest.raises(InputError, match="expected the marks"):
        exact_board.into_page(page, "new\n")
