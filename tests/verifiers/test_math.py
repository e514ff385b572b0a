"""The math verifier: what is the same, what is nearly the same, and what is no answer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from math_cases.misses import near_misses
from math_cases.pairs import DIFFERENT, SAME

from analysis.errors import InputError
from explore_rl.types import Problem, Status
from explore_rl.verifiers.base import make_verifier
from explore_rl.verifiers.extract import EXTRACTIONS, final_answer
from explore_rl.verifiers.math import MathVerifier

VERIFY = MathVerifier()


def verdict(completion: str, answer, verifier=VERIFY, **metadata):
    return verifier(completion, Problem("p", "", answer, "math", metadata=metadata))


def grade(given_answer: str, answer, **metadata) -> Status:
    return verdict(f"So it is $\\boxed{{{given_answer}}}$.", answer, **metadata).status


@pytest.mark.parametrize(("answer", "given_answer"), SAME, ids=lambda v: str(v)[:40])
def test_same(answer, given_answer):
    assert grade(given_answer, answer) is Status.CORRECT


@pytest.mark.parametrize(("answer", "given_answer"), DIFFERENT, ids=lambda v: str(v)[:40])
def test_near_misses_are_wrong(answer, given_answer):
    assert grade(given_answer, answer) is Status.WRONG


def test_an_answer_that_breaks_off_is_no_answer():
    for completion in ("so \\boxed{12", "so \\boxed{\\frac{1}{2}", "so \\boxed{}", "so it is 12", ""):
        assert verdict(completion, "12").status is Status.NO_ANSWER, completion
    assert verdict("Answer: (1, 2", "(1,2)").status is Status.NO_ANSWER
    assert VERIFY("\\boxed{12}", Problem("p", "", "12", "math"), truncated=True).status is Status.NO_ANSWER


def test_extraction_levels():
    strict, last = MathVerifier(extract="boxed"), MathVerifier(extract="last_number")
    for completion in ("The answer is 12.", "so\n#### 12", "**Answer:** $12$"):
        assert verdict(completion, "12").status is Status.CORRECT, completion
        assert verdict(completion, "12", strict).status is Status.NO_ANSWER, completion
    assert verdict("we get 12 apples", "12", last).status is Status.CORRECT
    assert verdict("we get 12 apples", "12").status is Status.NO_ANSWER
    # the last box counts, and the box counts more than words
    assert verdict("\\boxed{12} wait, no: \\boxed{13}", "12").status is Status.WRONG
    assert verdict("the answer is 12, so \\boxed{13}", "12").status is Status.WRONG
    # boxing everything does not help
    assert verdict("\\boxed{11}, \\boxed{12}, \\boxed{13}", "12").status is Status.WRONG
    assert verdict("\\boxed{1} and \\boxed{-2}", "1,-2").status is Status.CORRECT


def test_tolerances():
    assert grade("4.2", "4.2", tolerance=0.1) is Status.CORRECT
    assert grade("4.29", "4.2", tolerance=0.1) is Status.CORRECT
    assert grade("4.31", "4.2", tolerance=0.1) is Status.WRONG
    assert grade("1.05, 7", "1, 7", tolerance=[0.1, 0]) is Status.CORRECT
    assert grade("1, 7.05", "1, 7", tolerance=[0.1, 0]) is Status.WRONG
    assert grade("1.62", "1.6", relative_tolerance=0.02) is Status.CORRECT
    assert grade("1.64", "1.6", relative_tolerance=0.02) is Status.WRONG
    assert verdict("\\boxed{2.22e6}", "2.19e6", MathVerifier(relative_tolerance=0.02)).status is Status.CORRECT
    assert (
        verdict("\\boxed{101}", "100", MathVerifier(relative_tolerance=0.02)).status is Status.WRONG
    )  # an integer is met exactly


def test_equal_answers_share_a_mode():
    modes = {verdict(f"\\boxed{{{text}}}", "0.5").mode for text in ("0.5", "\\frac12", "1/2", ".50")}
    assert modes == {"1/2"}
    assert verdict("\\boxed{3, 1}", "2").mode == verdict("\\boxed{1,3}", "2").mode


def test_what_cannot_be_used_is_said():
    for answer in (None, "", [], {"a": 1}, True):
        with pytest.raises(InputError, match="problem p"):
            grade("12", answer)
    with pytest.raises(InputError, match="did you mean 'extract'"):
        make_verifier("math", {"extrct": "boxed"})
    with pytest.raises(InputError, match="extract must be one of boxed, lenient, last_number"):
        make_verifier("math", {"extract": "any"})
    with pytest.raises(InputError, match="relative_tolerance"):
        make_verifier("math", {"relative_tolerance": -1})


# --- fuzzing ---------------------------------------------------------------------------------------------------------

PIECES = ["\\boxed", "{", "}", "(", ")", "[", "]", "\\frac", "\\sqrt", "\\pm", "1", "23", ",", ".", "-", "x", "=",
"<", "\\in", "\\cup", "\\text{", "and",
          " ", "\n", "$", "#### ", "answer is ", "%", "^", "_", "\\\\", "&", "\\begin{pmatrix}", "\\end{pmatrix}",
          "é", "\\infty", "e", "10^"]  # fmt: skip
texts = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))


@given(texts, st.sampled_from(EXTRACTIONS))
def test_extraction_never_fails(text, how):
    found = final_answer(text, how)
    assert found is None or (found and found == found.strip())


@given(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.sampled_from(["12", "(1,2)", "x=5", "\\frac{1}{2}", "1,2"]),
)
@settings(deadline=None, max_examples=150)
def test_any_box_gets_a_verdict(text, answer):
    assert verdict(f"\\boxed{{{text}}}", answer).status in (Status.CORRECT, Status.WRONG, Status.NO_ANSWER)


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_integers_are_equal_only_to_themselves(one, other):
    expected = Status.CORRECT if one == other else Status.WRONG
    assert grade(f"{one:,}", str(other)) is expected
    assert grade(str(one), f"{other}.0") is expected


# --- the real benchmarks, where they are -----------------------------------------------------------------------------

FOLDER = os.environ.get("EXPLORE_RL_BENCHMARKS")


@pytest.mark.skipif(
    not FOLDER, reason="EXPLORE_RL_BENCHMARKS does not name a folder with aime24.jsonl, ..., gsm8k.jsonl"
)
@pytest.mark.parametrize(
    ("name", "count", "rate"),
    [
        ("aime24", 30, 1.0),
        ("amc23", 40, 1.0),
        ("math500", 500, 0.99),
        ("minerva_math", 272, 0.97),
        ("olympiadbench", 675, 0.97),
        ("gsm8k", 1319, 0.99),
    ],
)
def test_reference_solutions_are_correct(name, count, rate):
    rows = [json.loads(line) for line in (Path(FOLDER) / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == count
    right, missed = 0, []
    for row in rows:
        problem, solution = _problem_and_solution(name, row)
        right += VERIFY(solution, problem).status is Status.CORRECT
        stated = final_answer(solution)
        for miss in near_misses(stated):
            if VERIFY(f"\\boxed{{{miss}}}", problem).status is Status.CORRECT:
                missed.append((problem.answer, miss))
        box = solution.rfind("\\boxed")
        if (
            box >= 0
            and VERIFY(solution[: solution.find(stated, box) + len(stated) - 1], problem).status is not Status.NO_ANSWER
        ):
            missed.append((problem.answer, "cut off"))
    assert right / count >= rate
    assert not missed


def _problem_and_solution(name: str, row: dict) -> tuple[Problem, str]:
    if name == "gsm8k":
        return Problem("p", "", row["answer"].rpartition("####")[2].strip(), "math"), row["answer"]
    if name == "olympiadbench":
        answer, metadata = row["final_answer"][0], {"tolerance": float(row["error"])} if row["error"] else {}
        return Problem("p", "", answer, "math", metadata=metadata), f"\\boxed{{{answer}}}"
    if name == "minerva_math":
        return Problem("p", "", final_answer(row["solution"], "boxed"), "math"), row["solution"]
    return Problem("p", "", row["answer"], "math"), row.get("solution", f"\\boxed{{{row['answer']}}}")
