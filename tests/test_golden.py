"""Every recipe of the board gives what the golden record says; scripts/golden_record.py explains, and records anew."""

import copy
from pathlib import Path

import golden_record
import pytest

from explore_rl.config.loading import load_config
from explore_rl.experiments.runs import run

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.engine
@pytest.mark.parametrize("name", golden_record.board())
def test_a_recipe_gives_the_recorded_tokens_gradient_and_metrics(actors, tmp_path, name):
    given = [*golden_record.SETTINGS, f"name={name}", f"run.output={tmp_path / name}"]
    shared = [f"{section}={value}" for section, value in (("devices.stall_timeout_s", 60), ("verifiers.workers", 1))]
    recipe = REPOSITORY / golden_record.board()[name]
    folder = run(load_config(recipe, [*given, *shared]), actors=actors)
    assert golden_record.differences(golden_record.load(name), golden_record.read(folder)) == []


def changed(record, path, change):
    """A copy of the record with one value changed."""
    copied = copy.deepcopy(record)
    *parents, last = path
    target = copied
    for key in parents:
        target = target[key]
    target[last] = change(target[last])
    return copied


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        (("steps", 3, "completions", 5), lambda text: text[:-2] + "7$", "step 3: 1 of 64 completions differ"),
        (("first_gradient", "norm"), lambda norm: norm * (1 + 2e-6), "first gradient: norm was"),
        (("first_gradient", "projections", 1), lambda p: p + 1e-5, "projection 1 was"),
        (("steps", 4, "metrics", "pass@1"), lambda value: value * (1 + 2e-5), "step 4: pass@1 was"),
        (("after", "exact", 1, "pass_at_k", "1"), lambda value: value + 1e-4, "exact after step 5: pass_at_k: 1 was"),
        (("steps", 0, "metrics"), lambda metrics: metrics | {"new": 1.0}, "step 0: new is there on one side only"),
    ],
)
def test_what_moves_is_named(path, change, said):
    record = golden_record.load("grpo")
    assert golden_record.differences(record, record) == []
    (found,) = golden_record.differences(record, changed(record, path, change))
    assert said in found


def test_on_another_processor_the_first_step_alone_is_held_to_rounding():
    record = golden_record.load("grpo")
    elsewhere = changed(record, ("machine", "processor"), lambda name: name + " of another make")
    rounded = changed(elsewhere, ("first_gradient", "norm"), lambda norm: norm * (1 + 1e-4))
    assert golden_record.differences(record, rounded) == []
    wrong = changed(elsewhere, ("first_gradient", "norm"), lambda norm: norm * 1.01)
    assert len(golden_record.differences(record, wrong)) == 1
    other_draws = changed(elsewhere, ("steps", 0, "completions"), lambda texts: [text + "1" for text in texts])
    assert "more than rounding explains" in golden_record.differences(record, other_draws)[0]
