"""Whatever order words stand in, and whatever else they name, is understood or answered with what to type."""

import pytest

from explore_rl.cli import main

TEN = "problems.train=lab:countdown?level=3&split=train&size=10"


def said(capsys, *words):
    """The exit code and all that was said."""
    try:
        code = main(list(words))
    except SystemExit as error:
        code = error.code
    shown = capsys.readouterr()
    return code, shown.out + shown.err


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.yaml").write_text("base: lab/grpo\noutput: ~/sweeps\nruns: [{name: a}]\n")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("name: a")
    (tmp_path / "raises.py").write_text("\nraise KeyError('x')")
    (tmp_path / "exits.py").write_text("raise SystemExit(3)")
    (tmp_path / "none.py").write_text("from explore_rl.strategies.base import Strategy\nclass Mine(Strategy): pass")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["train", "run"], "the folder of a run and no recipe; explore-rl resume run goes on with it"),
        (["train", "lab/board"], "a sweep of several runs and no recipe; explore-rl sweep "),
        (["sweep", "lab/grpo"], "a recipe of one run and no sweep; explore-rl train "),
        (["train", "lab"], "of lab there are lab/adaptive_entropy"),
        (["train", "Lab/Grpo"], "did you mean lab/grpo?"),
        (["train", "nothing_like_it"], "begin with ablations/, lab/, math/"),
        (["models"], "show this help"),
        (["lab"], "show this help"),
        (["sweep", "--seeds", "0", "sweep.yaml"], "the sweep's file stands before --seeds"),
        (["train", "lab/grpo", "problems.train=openai/gsm8k", "--check"], "openai/gsm8k:train"),
        (["train", "lab/grpo", "strategies=[{name: 'raises.py:A'}]", "--check"], "KeyError: 'x' (line 2 of "),
        (["train", "lab/grpo", "strategies=[{name: 'exits.py:A'}]", "--check"], "ends the process when it is imported"),
        (["train", "lab/grpo", "strategies=[{name: 'none.py:A'}]", "--check"], "holds no A; strategies in it: Mine"),
        (
            ["sample", "run/checkpoints/step-000003", "--problems", TEN[15:], "--out", "a"],
            "no checkpoint after 3 steps",
        ),
        (["sample", "lab:base", "--problems", TEN[15:], "--out", "$X/a"], "$X is not filled in here"),
    ],
)
def test_the_answer_says_what_to_type(capsys, here, words, answer):
    code, text = said(capsys, *words)
    assert code == 2 and answer in text


def test_settings_stand_anywhere(capsys, here):
    code, text = said(capsys, "train", "--check", "run.steps=7", "lab/grpo", TEN, "run.exact_every=0")
    assert code == 0 and ", 7 steps, seed 0" in text
    for words in (
        ["sweep.yaml", "--seeds", "1", "2", "run.steps=7"],
        ["run.steps=7", "sweep.yaml", "--seeds", "1", "2"],
    ):
        code, text = said(capsys, "sweep", *words, TEN, "run.exact_every=0", "--check")
        assert code == 0 and "a, seed 2: 7 steps" in text and "~" not in text
