"""Every kind of mistake that public bug reports found in verifiers of mathematics, with inputs of our own beside
each."""

from __future__ import annotations

import math_cases
import pytest

from explore_rl.types import Problem, Status
from explore_rl.verifiers.math import MathVerifier

VERIFY = MathVerifier()
WANTED = {True: Status.CORRECT, False: Status.WRONG, None: Status.NO_ANSWER}


def status(completion: str, answer: str) -> Status:
    return VERIFY(completion, Problem("p", "", answer, "math")).status


@pytest.mark.parametrize("kind", math_cases.CASES)
def test_answers_in_a_box(kind):
    for answer, given, right in math_cases.CASES[kind]:
        found = status(f"So it is $\\boxed{{{given}}}$.", answer)
        assert found is WANTED[right], f"{answer!r} answered by {given!r}"


@pytest.mark.parametrize("kind", math_cases.SAID)
def test_whole_completions(kind):
    for answer, completion, right in math_cases.SAID[kind]:
        assert status(completion, answer) is WANTED[right], f"{answer!r} answered by {completion!r}"
