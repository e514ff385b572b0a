"""explore-rl verify, from files to files."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from analysis import readers
from explore_rl.cli import main

PROBLEMS = [
    {"id": "a", "prompt": "1+1?", "answer": "2", "verifier": "math"},
    {"id": "b", "prompt": "Half of three?", "answer": "\\frac{3}{2}", "verifier": "math"},
]
SAMPLES = [
    {"problem_id": "a", "sample": 0, "completion": "\\boxed{2}", "correct": True, "seed": 7},
    {"problem_id": "a", "sample": 1, "completion": "The answer is 2.", "correct": False},
    {"problem_id": "a", "sample": 2, "completion": "\\boxed{3}", "correct": False},
    {"problem_id": "b", "sample": 0, "completion": "\\boxed{1.5}", "correct": False},
    {"problem_id": "b", "sample": 1, "completion": "\\boxed{1.5}", "finish_reason": "length", "correct": True},
]


@pytest.fixture
def files(tmp_path):
    for name, rows in (("problems.jsonl", PROBLEMS), ("samples.jsonl", SAMPLES)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def verify(files, out="out.parquet", *further) -> int:
    paths = [str(files / "samples.jsonl"), "--problems", str(files / "problems.jsonl"), "--out", str(files / out)]
    return main(["verify", *paths, "--workers", "1", *further])


def rows(path) -> list[dict]:
    return (
        pq.read_table(path).to_pylist()
        if path.suffix == ".parquet"
        else [json.loads(line) for line in path.read_text().splitlines()]
    )


def test_grades_again_and_says_what_changed(files, capsys):
    assert verify(files) == 0
    graded = rows(files / "out.parquet")
    assert [row["verdict"] for row in graded] == ["correct", "correct", "wrong", "correct", "no_answer"]
    assert [row["correct"] for row in graded] == [True, True, False, True, False]
    assert [row["mode"] for row in graded] == ["2", "2", "3", "3/2", None]
    assert [row["completion"] for row in graded] == [row["completion"] for row in SAMPLES] and graded[0]["seed"] == 7
    printed = capsys.readouterr().out
    assert (
        "5 completions: correct 3 (60.0%), wrong 1 (20.0%), no_answer 1 (20.0%), timeout 0 (0.0%), error 0 (0.0%)"
        in printed
    )
    assert "changed from the file's own verdicts: 3 of 5" in printed and "wrong -> correct: 2" in printed
    samples = readers.load([str(files / "out.parquet")])
    assert samples.problem_ids == ["a", "b"] and samples.n.tolist() == [3, 2] and samples.correct.tolist() == [2, 1]


def test_options(files):
    assert verify(files, "strict.jsonl", "--set", "math.extract=boxed") == 0
    graded = [row["verdict"] for row in rows(files / "strict.jsonl")]
    assert graded == ["correct", "no_answer", "wrong", "correct", "no_answer"]


def test_a_verifier_of_ones_own(files):
    (files / "mine.py").write_text(
        "def score(data_source, solution_str, ground_truth, extra_info=None):\n    return 1 / solution_str.count('3')\n"
    )
    assert verify(files, "mine.jsonl", "--verifier", f"{files / 'mine.py'}:score") == 0
    graded = rows(files / "mine.jsonl")
    assert [row["verdict"] for row in graded] == ["error", "error", "correct", "error", "error"]
    assert "correct" not in graded[0] and "score" not in graded[0] and "ZeroDivisionError" in graded[0]["reason"]


def test_options_of_a_combination(files):
    parts = 'combine.parts=[{"verifier": "math", "weight": 3}, {"verifier": "format", "options": {"tags": ["answer"]}}]'
    assert verify(files, "both.jsonl", "--verifier", "combine", "--set", parts) == 0
    assert [row["score"] for row in rows(files / "both.jsonl")] == [0.75, 0.75, 0, 0.75, 0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"problem_id": "z", "completion": "x"}', "samples.jsonl:6: key 'problem_id': 'z' is none of the 2 problems"),
        ('{"completion": "x"}', "samples.jsonl:6: key 'problem_id': missing"),
        ('{"problem_id": "a"}', "samples.jsonl:6: key 'completion': missing"),
        ('{"problem_id": "a", "completion": 3}', "samples.jsonl:6: key 'completion': expected"),
        ('{"problem_id": "a", "comp', "samples.jsonl:6"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(files, capsys, row, message):
    with open(files / "samples.jsonl", "a") as file:
        file.write(row + "\n")
    assert verify(files) == 2
    assert message in capsys.readouterr().err
    assert not list(files.glob("*out.parquet*"))


def test_bad_arguments_are_said_in_one_line(files, capsys):
    (files / "there.parquet").write_text("precious")
    for out, further, message in [
        ("out.csv", [], "expected a name that ends in .parquet or .jsonl"),
        ("there.parquet", [], "exists already"),
        ("out.parquet", ["--verifier", "maths"], "unknown verifier 'maths', did you mean 'math'?"),
        ("out.parquet", ["--set", "math.extrct=boxed"], "unknown option 'extrct', did you mean 'extract'?"),
        ("out.parquet", ["--set", "extract"], "expected NAME.OPTION=VALUE"),
        ("out.parquet", ["--workers", "0"], "expected at least 1"),
    ]:
        assert verify(files, out, *further) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert (files / "there.parquet").read_text() == "precious"
