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


def test_other_orders_of_the_numbers_are_other_prompts_with_the_same_answers():
    plain = load("lab:countdown?level=3&split=train&size=20")
    found = load("lab:countdown?level=3&split=train&size=20&orders=6")
    assert found[:20] == plain and len({one.prompt for one in found}) == len({one.id for one in found}) == len(found)
    for one in found:
        first = next(other for other in plain if one.id.startswith(other.id))
        assert (one.answer, one.traces, one.metadata) == (first.answer, first.traces, first.metadata)
        numbers, target = one.prompt.rstrip(":").split("=")
        assert sorted(map(int, numbers.split())) == one.answer["numbers"] and int(target) == one.answer["target"]
    unequal = sum(len(set(one.answer["numbers"])) == 3 for one in plain)
    assert 20 < len(found) == 6 * unequal + 3 * (20 - unequal)  # no multiset here holds one number three times


@pytest.mark.parametrize("query", ["split=audit&orders=2", "orders=0", "orders=x"])
def test_orders_that_cannot_be_are_refused(query):
    with pytest.raises(InputError, match="orders="):
        load(f"lab:countdown?{query}")


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
