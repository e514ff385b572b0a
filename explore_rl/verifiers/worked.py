"""Worked countdown and worked evaluation: accept exactly the chains that `explore_rl.lab` lists, without listing them.

A wrong chain's reason names the first step that fails, and how.
"""

from __future__ import annotations

import re

from analysis.errors import InputError
from explore_rl.lab import countdown, worked, worked_evaluation
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.base import correct, no_answer, wrong

REWARDS = ("chain", "end")
_LAST = re.compile(r"(?<![0-9])(0|[1-9][0-9]*)$")


class _ChainVerifier:
    """What both families have in common.

    reward: "chain": every step has to hold. "end": only the last number is looked at, whatever stands before it: a
        control, since it can be had without any reasoning.
    """

    def __init__(self, reward: str = "chain"):
        if reward not in REWARDS:
            raise InputError(f"reward={reward!r}: must be one of {', '.join(REWARDS)}")
        self.reward = reward

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        if truncated:
            return no_answer("cut off before the end token")
        if not completion:
            return no_answer("empty")
        # The answer is the last number. The chain's mode is known only where the chain is right.
        found = _LAST.search(completion)
        answer = found.group() if found else None
        fault, mode = self._fault(completion, problem)
        if fault is None:
            return correct(answer, mode=mode)
        if self.reward == "end" and answer == str(self.value(problem)):
            return correct(answer, reason=f"by its end alone: {fault}")
        return wrong(answer, mode=mode, reason=fault)

    def _fault(self, completion: str, problem: Problem) -> tuple[str | None, str | None]:
        """What is wrong with a chain, None if nothing is; and its mode, None where a step fails."""
        numbers = self.numbers(problem)
        try:
            steps = worked.read(completion)
        except worked.NotAChain as error:
            return str(error), None
        if len(steps) != len(numbers) - 1:
            return f"{len(steps)} steps; {len(numbers)} numbers take {len(numbers) - 1}", None
        fault = worked.fault(steps, numbers)
        if fault is not None:
            return fault, None
        mode = worked.mode(completion)
        if steps[-1].result != self.value(problem):
            return f"step {len(steps)}: comes to {steps[-1].result}, not {self.value(problem)}", mode
        return self.other_fault(steps, problem), mode

    def numbers(self, problem: Problem) -> tuple[int, ...]:
        """What the chain has to use, each number once."""
        raise NotImplementedError

    def value(self, problem: Problem) -> int:
        """What it has to come to."""
        raise NotImplementedError

    def other_fault(self, steps: list[worked.Step], problem: Problem) -> str | None:
        """What else is wrong with a chain of true steps that uses the numbers and comes to the value."""
        return None


class WorkedVerifier(_ChainVerifier):
    """problem.answer is {"numbers": [3, 5, 10], "target": 8}; the completion must be a chain such as "10-5=5 3+5=8".

    Nothing is stripped: a word, another space or a leading zero makes it wrong. `answer` is the last number, `mode` the
    chain's canonical form. Some twenty microseconds a chain.
    """

    def numbers(self, problem: Problem) -> tuple[int, ...]:
        return tuple(problem.answer["numbers"])

    def value(self, problem: Problem) -> int:
        return problem.answer["target"]


class WorkedEvaluationVerifier(_ChainVerifier):
    """problem.answer is {"expression": "5*(3+4)-2"}; the completion must be a chain that computes it.

    With reward "chain" a wrong verdict whose `answer` is the expression's value is an answer that is right by wrong
    reasoning.
    """

    def numbers(self, problem: Problem) -> tuple[int, ...]:
        return countdown.parse(problem.answer["expression"]).numbers

    def value(self, problem: Problem) -> int:
        value = countdown.parse(problem.answer["expression"]).value
        if value is None:
            raise InputError(f"{problem.id}: {problem.answer['expression']} divides by zero")
        return int(value)

    def other_fault(self, steps: list[worked.Step], problem: Problem) -> str | None:
        if worked_evaluation.computes(steps, problem.answer["expression"]):
            return None
        return "comes to the value, but computes another expression"
