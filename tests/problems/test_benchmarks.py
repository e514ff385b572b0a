"""The six public evaluation files, where they are at hand: EXPLORE_RL_BENCHMARKS names their folder."""

import os
from pathlib import Path

import pytest

from explore_rl.problems import load_problems

FOLDER = os.environ.get("EXPLORE_RL_BENCHMARKS")
pytestmark = pytest.mark.skipif(
    not FOLDER, reason="EXPLORE_RL_BENCHMARKS does not name a folder with the public benchmark files"
)


@pytest.mark.parametrize(
    "name, size, first_id, first_answer",
    [
        ("aime24", 30, "aime24-60", "204"),
        ("amc23", 40, "amc23-0", "27"),
        ("math500", 500, "test/precalculus/807.json", r"\left( 3, \frac{\pi}{2} \right)"),
        ("minerva_math", 272, "minerva_math-0", "1.6"),
        ("olympiadbench", 675, "olympiadbench-1606", "2"),
        ("gsm8k", 1319, "gsm8k-0", "18"),
    ],
)
def test_every_problem_is_read(name, size, first_id, first_answer):
    problems = load_problems(Path(FOLDER) / f"{name}.jsonl")
    assert len(problems) == size
    assert (problems[0].id, problems[0].answer) == (first_id, first_answer)
    assert {p.benchmark for p in problems} == {name} and {p.verifier for p in problems} == {"math"}
    assert all(isinstance(p.answer, str) and p.answer for p in problems)
    if name != "amc23":  # which has no solutions
        assert all(p.traces for p in problems)


def test_olympiadbench_tolerance():
    problems = load_problems(Path(FOLDER) / "olympiadbench.jsonl")
    assert {p.id: p.metadata["tolerance"] for p in problems if "tolerance" in p.metadata} == {"olympiadbench-2592": 0.1}
