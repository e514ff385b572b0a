"""Countdown: accepts exactly the answers that `explore_rl.lab.countdown.enumerate_answers` lists, without listing
them."""

from __future__ import annotations

import re
from collections import Counter

from analysis.errors import InputError
from explore_rl.lab import countdown
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.base import correct, no_answer, wrong

_NUMBER = re.compile(r"[0-9]+")


class CountdownVerifier:
    """problem.answer is {"numbers": [3, 5, 10], "target": 8}; the completion must be the bare expression in minimal
    writing.

    Nothing is stripped: a space or a word around the expression makes it wrong, as the enumeration has no such answer.
    `answer` is the completion; `mode` its canonical form, also for a wrong expression over the right numbers. Some
    twenty microseconds an answer.
    """

    def check(self, problem: Problem) -> None:
        """Raises InputError if the problem's answer is not of this form."""
        answer = problem.answer
        whole = [*answer.get("numbers", ()), answer.get("target")] if isinstance(answer, dict) else [None]
        if len(whole) < 2 or not all(isinstance(number, int) and not isinstance(number, bool) for number in whole):
            raise InputError(
                f"problem {problem.id}: the countdown verifier needs an answer with numbers and target, whole numbers, "
                f"got {answer!r}"
            )

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        if truncated:
            return no_answer("cut off before the end token")
        if not completion:
            return no_answer("empty")
        numbers = problem.answer["numbers"]
        target = problem.answer["target"]
        if Counter(_NUMBER.findall(completion)) != Counter(map(str, numbers)):
            return wrong(completion, reason=f"does not use each of {', '.join(map(str, numbers))} exactly once")
        longest = sum(len(str(number)) for number in numbers) + 3 * (
            len(numbers) - 1
        )  # an operator and a pair of brackets each
        if len(completion) > longest:
            return wrong(completion, reason="longer than any expression in minimal writing")
        try:
            parsed = countdown.parse(completion)
        except countdown.NotMinimal as error:
            return wrong(completion, reason=f"not an expression in minimal writing: {error}")
        if parsed.value is None:
            return wrong(completion, mode=parsed.mode, reason="divides by zero")
        if parsed.value != target:
            return wrong(completion, mode=parsed.mode, reason=f"equals {parsed.value}, not {target}")
        return correct(completion, mode=parsed.mode)
