"""Splits for honesty: choices see train and audit; the split `final` is for the last audit alone."""

import pytest

from analysis.errors import InputError
from explore_rl.cli import main
from explore_rl.config.loading import load_config
from explore_rl.config.recipes import folder
from explore_rl.lab import names
from explore_rl.lab.problems import load

FINAL = "lab:countdown?split=final"


def test_final_follows_the_problems_that_serve_evaluation_and_meets_no_other_split():
    final = load(FINAL)
    seen = {split: {one.id for one in load(f"lab:countdown?split={split}&size=all")} for split in ("train", "heldout")}
    assert len(final) == 500 and len(seen["heldout"]) == 100
    assert not {one.id for one in final} & (seen["train"] | seen["heldout"])
    numbers = {tuple(one.answer["numbers"]) for one in final}
    for split in ("train", "audit"):
        assert not numbers & {tuple(one.answer["numbers"]) for one in load(f"lab:countdown?split={split}&size=all")}
    with pytest.raises(InputError, match="at most 100"):
        load("lab:countdown?split=heldout&size=101")


@pytest.mark.parametrize("key", ["problems.train", "problems.heldout", "run.exact_problems"])
def test_a_run_that_would_see_final_is_refused(key):
    with pytest.raises(InputError, match=f"{key}.*final"):
        load_config("lab/grpo", [f"{key}={FINAL}&size=5"])


def test_a_sweep_whose_report_would_see_final_is_refused(capsys):
    assert main(["sweep", "lab/families", "--check", "--problems", FINAL]) == 2
    assert "kept for the last audit" in capsys.readouterr().err


def test_no_recipe_names_final():
    recipes = sorted(folder().glob("*/*.yaml"))
    assert len(recipes) > 20
    for recipe in recipes:
        assert f"split={names.FINAL}" not in recipe.read_text(), recipe
