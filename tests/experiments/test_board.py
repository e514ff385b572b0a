"""The exact board on two problems and four answers whose figures can be worked out by hand."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explore_rl.config.loading import load_config, to_yaml
from explore_rl.experiments import board
from explore_rl.lab.exact import ExactAudit, Index

# Problem 0: mode A in two writings, mode B by division. Problem 1: mode C.
ANSWER_PROBLEM, ANSWER_MODE, MODE_PROBLEM = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 2]), np.array([0, 0, 1])
REGIONS = ("common", "division", "product_of_sum")
INDEX = Index(("a1", "a2", "b", "c"), ANSWER_PROBLEM, ANSWER_MODE, ("A", "B", "C"), MODE_PROBLEM, REGIONS)


def audit(*probabilities):
    with np.errstate(divide="ignore"):
        return ExactAudit(("p0", "p1"), INDEX, np.log(probabilities))


BASE = audit(0.25, 0.25, 0.001, 0.0)  # at eps = 3/1024 = 0.0029 it holds A, not B
TUNED = audit(0.001, 0.001, 0.25, 0.0)  # A has 0.002 and is lost, B is found


def test_figures_by_hand():
    row = board.figures(board.Entry("m", 0, TUNED), BASE)
    assert row["pass@1"] == pytest.approx(0.252 / 2)
    assert row["pass@16"] == pytest.approx((1 - 0.748**16) / 2)
    assert row["pass@1024"] == pytest.approx(0.5)
    assert row["delta_se"] == pytest.approx((1 - 0.499**256) / 2 - 0.126)  # the base at 256 less the row at 1
    by_mode = {name: row[f"mode_{name}"] for name in ("preserved", "shrunk", "expanded", "out", "srr", "ndr")}
    assert by_mode == {"preserved": 0, "shrunk": 1, "expanded": 1, "out": 1, "srr": 0.0, "ndr": 1.0}
    by_problem = {name: row[f"problem_{name}"] for name in ("preserved", "shrunk", "expanded", "out", "srr", "ndr")}
    assert by_problem == {"preserved": 1, "shrunk": 0, "expanded": 0, "out": 1, "srr": 1.0, "ndr": 0.0}
    assert row["mass_division"] == pytest.approx(0.125) and row["mass_product_of_sum"] == 0.0
    assert (row["division_modes_held"], row["division_modes_expanded"], row["common_modes_held"]) == (1, 1, 0)


def test_more_draws_raise_pass_at_k_and_nothing_else():
    plain, matched = (board.figures(board.Entry("base", None, BASE, extra), BASE) for extra in (0.0, 10.0))
    assert matched["pass@1"] == pytest.approx((1 - 0.499**11) / 2)
    assert matched["pass@16"] == pytest.approx((1 - 0.499**26) / 2)
    changed = {name for name in plain if plain[name] != matched[name]}
    assert changed <= {"extra_draws", "pass@1", "pass@16", "pass@256", "pass@1024", "delta_se"}


def test_a_certain_answer_is_found_and_an_impossible_one_is_not():
    row = board.figures(board.Entry("m", 0, audit(1.0, 0.0, 0.0, 0.0)), BASE)
    assert [row[f"pass@{k}"] for k in board.KS] == [0.5, 0.5, 0.5, 0.5]


def put_rollouts(folder, *rows):
    (folder / "rollouts").mkdir(parents=True)
    for step, count in enumerate(rows):
        columns = {"text": ["x"] * count, "weight_version": [-1] + [step] * (count - 1)}  # one trace, which none drew
        pq.write_table(pa.table(columns), folder / "rollouts" / f"step-{step:06d}.parquet")


def test_matched_draws_by_hand(tmp_path):
    put_rollouts(tmp_path, 3, 5)
    assert board.matched_draws(tmp_path, audit_problems=4) == 5 * 8 / 4


def test_traces_are_no_draws(tmp_path):
    put_rollouts(tmp_path, 3, 5)
    assert board.draws(tmp_path) == 2 + 4


def test_where_the_base_says_what_is_rare_its_regions_fill_the_same_columns():
    by_base = replace(INDEX, regions=("often", "rarely", "never"))
    base, tuned = (replace(one, index=by_base) for one in (BASE, TUNED))
    row = board.summary("m", [board.figures(board.Entry("m", 0, tuned), base)])
    shown = dict(zip(("method", *(column.heading for column in board.COLUMNS)), board.cells(row), strict=True))
    assert (shown["left-out mass"], shown["rare mass"]) == ("0.0e+00", "1.2e-01")
    assert board.left_out({"often": 0.1, "rarely": 0.2, "never": 0.3}) == 0.3


def test_a_rate_without_denominator_is_left_out_of_the_mean_and_said():
    nothing = audit(0.001, 0.001, 0.0, 0.0)
    without = board.figures(
        board.Entry("m", 0, TUNED), nothing
    )  # this base holds nothing, so nothing could be retained
    assert without["mode_srr"] is None and without["mode_ndr"] == 1.0
    row = board.summary("m", [without])
    assert row["mode_srr"] is None and board.cells(row)[6] == "-"
    assert "seed" not in row and "method" in row and "support" not in row
    full = board.figures(board.Entry("m", 1, TUNED), BASE)
    assert [board.summary("m", runs)["mode_srr"] for runs in ([without, full, full], [full, without, full])] == [
        {"mean": 0.0, "low": 0.0, "high": 0.0, "runs": 2}
    ] * 2
    assert board.cells(board.summary("m", [without, full, full]))[6] == "0.000 [0.000, 0.000, 2 runs]"


def test_mean_and_range_by_hand():
    row = board.summary(
        "m", [{"method": "m", "seed": seed, "pass@1": value} for seed, value in enumerate((0.2, 0.7, 0.3))]
    )
    assert row == {"method": "m", "runs": 3, "pass@1": {"mean": pytest.approx(0.4), "low": 0.2, "high": 0.7, "runs": 3}}


def test_rows_in_order_with_seeds_put_together(tmp_path, monkeypatch):
    monkeypatch.setattr(
        board, "audit_of", lambda model, asked, temperature: BASE if "base_model" in str(model) else TUNED
    )
    folders = []
    for seed in (0, 1):
        for name, draws in (("grpo", 20 + 20 * seed), ("other", 7)):
            folder = tmp_path / f"{name}-seed{seed}"
            put_rollouts(folder, draws)
            small = "run.exact_problems=lab:countdown?level=3&split=audit&size=10"
            (folder / "config.yaml").write_text(
                to_yaml(load_config("configs/lab/grpo.yaml", [f"name={name}", f"seed={seed}", small]))
            )
            folders.append(folder)
    found = board.build(folders)
    rows = {row["method"]: row["runs"] for row in found["rows"]}
    hot = {"base at T=1.25": 1, "base at T=1.5": 1}
    assert list(rows.items()) == list(
        {
            "base": 1,
            "base, compute matched": 1,
            **hot,
            "grpo": 2,
            "grpo at T=1.25": 2,
            "grpo at T=1.5": 2,
            "other": 2,
        }.items()
    )
    assert found["rows"][1]["extra_draws"]["mean"] == 5 * 30 / 10
    board.write(found, tmp_path)
    assert len((tmp_path / "board.csv").read_text().splitlines()) == 1 + len(found["runs"]) == 13
    assert "| other (2 runs) |" in (tmp_path / "board.md").read_text()
