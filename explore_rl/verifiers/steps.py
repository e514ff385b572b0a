"""Sums worked out in written steps (explore_rl.real.steps): every step is read, and the first that fails is named."""

from __future__ import annotations

import re

from analysis.errors import InputError
from explore_rl.lab import worked, worked_evaluation
from explore_rl.real import steps as real
from explore_rl.real.families import END
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.base import correct, no_answer, wrong

REWARDS = ("steps", "end")
_VALUE = "(0|[1-9][0-9]{0,8})"
# Words may stand before a step: "First", "Next, we get:". They are not read.
_STEP = re.compile(rf"(?:[A-Za-z][A-Za-z,:' ]* )?{_VALUE} ([-+]) {_VALUE} = {_VALUE}")
_ANSWER = re.compile(rf"{real.ANSWER}{_VALUE}{END}?\Z")


class StepsVerifier:
    """problem.answer is {"numbers": [12, 30, -7]}; the completion must work the sum out and say its value.

    A space, steps such as "First 12 + 30 = 42." with a space between them, then "So the answer is 35" and the end: the
    newline, or the model's own end token, which instruct models prefer behind a sentence and which leaves no text.
    Steps may stand in any order, and use the numbers in any: they are right if each is true, uses what is at hand, and
    all of them compute this very sum (`worked.fault`, `worked_evaluation.computes`). `answer` is the number at the end;
    `mode` are the steps without their words and order, where they are right.

    reward: "steps": every step has to hold. "end": the number at the end alone is looked at, as in most of RLVR; where
        a step fails all the same, `reason` says so.
    """

    def __init__(self, reward: str = "steps"):
        if reward not in REWARDS:
            raise InputError(f"reward={reward!r}: must be one of {', '.join(REWARDS)}")
        self.reward = reward

    def check(self, problem: Problem) -> None:
        """Raises InputError if the problem's answer is not of this form."""
        numbers = problem.answer.get("numbers") if isinstance(problem.answer, dict) else None
        are_whole = isinstance(numbers, list) and all(type(number) is int and number != 0 for number in numbers)
        if not isinstance(numbers, list) or not are_whole or len(numbers) < 2 or numbers[0] < 0:
            raise InputError(
                f"problem {problem.id}: expected an answer with numbers other than 0, at least two and the first above"
                f" 0, got {problem.answer!r}"
            )

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        if truncated:
            return no_answer("cut off before the end of its line")
        found = _ANSWER.search(completion)
        if found is None:
            return no_answer(f"does not end with {real.ANSWER!r} and a number")
        answer = found.group(1)
        fault, mode = _fault(completion[: found.start()], problem.answer["numbers"], answer=int(answer))
        if fault is None:
            return correct(answer, mode=mode)
        if self.reward == "end" and int(answer) == sum(problem.answer["numbers"]):
            return correct(answer, reason=f"by its end alone: {fault}")
        return wrong(answer, reason=fault)


def _fault(text: str, numbers: list[int], *, answer: int) -> tuple[str | None, str | None]:
    """What is wrong first, None if nothing is; and the mode, None where a step fails.

    text: the completion as far as the sentence with the answer.
    """
    if not (text.startswith(" ") and text.endswith(". ")):
        return "step 1 is missing" if not text.strip() else "its steps do not stand between a space, and '. '", None
    steps = []
    for number, sentence in enumerate(text[1:-2].split(". "), start=1):
        found = _STEP.fullmatch(sentence)
        if found is None:
            return f"step {number} is not written as value, sign, value, =, value: {sentence[:30]!r}", None
        left, operator, right, result = found.groups()
        steps.append(worked.Step(left=int(left), operator=operator, right=int(right), result=int(result)))
    fault = worked.fault(steps, [abs(number) for number in numbers])
    if fault is not None:
        return fault, None
    if not worked_evaluation.computes(steps, real.expression(numbers)):
        return f"step {len(steps)}: its steps are true, but compute another sum", None
    if steps[-1].result != answer:
        return f"the answer: the steps come to {steps[-1].result}, not {answer}", None
    return None, worked.mode(" ".join(map(str, steps)))
