"""Every file of examples/ does what its head says."""

import json
import re
from pathlib import Path

import pytest

from explore_rl.cli import main
from explore_rl.experiments.sweeps import check_runs, load_sweep
from explore_rl.strategies import class_of, make
from explore_rl.strategies.checks import check_strategy
from explore_rl.testing import run_steps

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_every_file_is_told_of():
    told = set(re.findall(r"^\| \[([^]]+)\]", (EXAMPLES / "README.md").read_text(), re.M))
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert told == files - {"README.md", "completions.jsonl"}


def test_the_strategy_is_one_and_rewards_what_the_base_seldom_says(tmp_path):
    name = f"{EXAMPLES}/base_likelihood.py:RareUnderBase"
    assert check_strategy(class_of(name)).ok
    outcome = run_steps(tmp_path, make([{"name": name, "size": 0.5}]))
    assert 0 < outcome.metrics[0]["rare_under_base/rarity"] <= 1
    right = [sample for sample in outcome.samples(0) if sample["verdict"] == "correct"]
    assert all(1 < sample["reward"] <= 1.5 for sample in right)


def test_the_verifier_grades_the_completions(tmp_path, capsys):
    out = tmp_path / "graded.jsonl"
    words = ["verify", f"{EXAMPLES}/completions.jsonl", "--problems", f"{EXAMPLES}/problems.jsonl", "--workers", "1"]
    assert main([*words, "--verifier", f"{EXAMPLES}/own_verifier.py:in_range", "--out", str(out)]) == 0
    verdicts = [json.loads(line)["correct"] for line in out.read_text().splitlines()]
    assert verdicts == [True, True, True, False, True, False]
    assert main(["problems", f"{EXAMPLES}/problems.jsonl"]) == 0
    assert "3" in capsys.readouterr().out


def test_the_recipe_and_the_sweep_are_read_from_anywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", f"{EXAMPLES}/own_run.yaml", "--check"]) == 0
    said = capsys.readouterr().out
    assert "strategies: rare_under_base" in said and "20 heldout x 16, 20 hot x 8" in said
    sweep = load_sweep(EXAMPLES / "sweep.yaml")
    assert [(c.name, c.seed) for c in sweep.configs] == [("plain", 0), ("rare_0.2", 0), ("plain", 1), ("rare_0.2", 1)]
    assert sum(need.base_model for need in check_runs(sweep.configs)) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.py:Mine", "cannot be imported: no file "),
        ("nowhere:Mine", "named as nowhere.py:Mine"),
        ("nowhere.Mine", "is nowhere:Mine meant, with a colon?"),
        ("trace_injektion", "did you mean trace_injection?"),
    ],
)
def test_a_strategy_that_is_not_found_says_how_it_is_named(name, said):
    from analysis.errors import InputError

    with pytest.raises(InputError, match=re.escape(said)):
        class_of(name)
