"""The lines of `explore_rl.real`: accepts exactly the completions that its families list, character by character."""

from __future__ import annotations

import re

from analysis.errors import InputError
from explore_rl.real import families
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.base import correct, no_answer, wrong

REWARDS = ("right", "form")
_FORM = {"pairs": re.compile(r" [0-9]+ \+ [0-9]+\n")}
_NUMBER = re.compile(r" [0-9]+\n")


class LineVerifier:
    """problem.answer is {"numbers": [...]}; the completion must be a space, a right answer and a newline.

    Nothing is stripped. The exact audit counts every sequence of tokens that writes such a text, so that what is right
    here is what is counted there. `answer` is the completion without space and newline; `mode` is known for right ones.

    reward: "right": as above. "form": any line that is written as an answer is; a control, which teaches no arithmetic.
    """

    def __init__(self, reward: str = "right"):
        if reward not in REWARDS:
            raise InputError(f"reward={reward!r}: must be one of {', '.join(REWARDS)}")
        self.reward = reward

    def check(self, problem: Problem) -> None:
        """Raises InputError if the problem's answer is not of this form."""
        numbers = problem.answer.get("numbers") if isinstance(problem.answer, dict) else None
        if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
            raise InputError(f"problem {problem.id}: expected an answer with numbers, got {problem.answer!r}")

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        if truncated:
            return no_answer("cut off before the end of its line")
        answer = completion.strip() or None
        if completion in families.completions(problem.verifier, problem.answer):
            return correct(answer, mode=families.mode(completion))
        if answer is None:
            return no_answer("empty")
        kind = families.VERIFIERS[problem.verifier]
        if self.reward == "form" and _FORM.get(kind, _NUMBER).fullmatch(completion):
            return correct(answer, reason="by its form alone")
        right = families.KINDS[kind].answers(tuple(problem.answer["numbers"]))
        return wrong(answer, reason="right, but not the line that was asked for" if answer in right else "not right")
