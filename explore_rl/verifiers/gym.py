"""Any task of Reasoning Gym (Stojanovski et al., 2025, arXiv 2505.24760): its generator makes the problems, its scorer
judges them.

    gym_problems("chain_sum", size=100, seed=0, min_terms=3)
    load("gym:chain_sum?size=100&seed=0&min_terms=3")
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl

from analysis.errors import InputError
from explore_rl.types import Problem, Trace, Verdict
from explore_rl.verifiers.base import correct, no_answer, wrong
from explore_rl.verifiers.extract import final_answer

TAGS = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
GymExtraction = Literal["tags", "boxed", "lenient"]
EXTRACTIONS = get_args(GymExtraction)
# Scorers that evaluate the model's answer as Python. They are given nothing that could call or reach anything. (Nor an
# unevaluated Integral(...), which intermediate_integration would take for the solution: some of its own references are
# no more than that.)
EVALUATED = {"string_insertion", "spiral_matrix", "binary_matrix", "n_queens"}
PARSED = {"countdown", "puzzle24", "simple_integration", "intermediate_integration", "polynomial_multiplication"}
FUNCTIONS = (
    "sin cos tan sec csc cot asin acos atan sinh cosh tanh asinh acosh atanh exp log ln sqrt Abs erf Si Ci Ei".split()
)
FUNCTIONS += ["pi", "Rational"]
EXPRESSION = re.compile(
    rf"(?:(?:{'|'.join(FUNCTIONS)}|[A-Za-z])(?![A-Za-z_0-9])|(?<![A-Za-z_])[0-9.]++(?!_)|[-+*/^(),=\s])*+"
)
MAX_EXPRESSION = 1000


class GymVerifier:
    """extract: "tags" (the last <answer>...</answer>, Reasoning Gym's own form), "boxed", or "lenient" (tags, a box,
    ####, "answer is").

    partial: the score is the task's own, which for some gives part of the credit (or 0.01 for any answer at all);
    False: 0 or 1. CORRECT is a score of 1 or, for tasks that never give 1, one from `correct_from`.
    """

    def __init__(self, *, extract: GymExtraction = "lenient", partial: bool = True, correct_from: float = 1.0):
        if extract not in EXTRACTIONS:
            raise InputError(f"verifier 'gym': extract must be one of {', '.join(EXTRACTIONS)}, got {extract!r}")
        if isinstance(correct_from, bool) or not isinstance(correct_from, (int, float)) or not 0 < correct_from <= 1:
            raise InputError(f"verifier 'gym': correct_from must be a number in (0, 1], got {correct_from!r}")
        self.extract: GymExtraction = extract
        self.partial, self.correct_from = partial, correct_from

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        task = problem.metadata.get("source_dataset")
        if not isinstance(task, str):
            raise InputError(
                f"problem {problem.id!r}: metadata has no source_dataset, the name of the Reasoning Gym task"
            )
        if truncated:
            return no_answer("the completion was cut off")
        answer = self._answer(completion.rpartition("</think>")[2])
        if answer is None:
            return no_answer("no final answer" if self.extract == "lenient" else f"no final answer in {self.extract}")
        if refused := _refused(task, answer):
            return wrong(answer, reason=refused)
        entry = {"question": problem.prompt, "answer": problem.answer, "metadata": problem.metadata}
        scorer = _scorer(task, json.dumps(problem.metadata.get("gym_params") or {}, sort_keys=True))
        try:
            score = float(scorer(answer, entry))
        except (ValueError, SyntaxError, ArithmeticError) as error:  # some scorers raise on what they cannot read
            if not isinstance(problem.answer, str):
                raise
            scorer(problem.answer, entry)  # raises if it is the scorer's fault
            return wrong(answer, reason=f"the scorer cannot read it: {type(error).__name__}: {error}"[:300])
        if not 0.0 <= score <= 1.0:
            raise ValueError(f"the scorer of {task} gave {score}, outside [0, 1]")
        if score >= self.correct_from:
            return correct(answer, score=score if self.partial else 1.0)
        return wrong(answer, score=score if self.partial else 0.0)

    def _answer(self, text: str) -> str | None:
        if self.extract != "boxed" and (found := TAGS.findall(text)):
            return found[-1].strip()
        return None if self.extract == "tags" else final_answer(text, self.extract)


def _refused(task: str, answer: str) -> str:
    """Why the task's scorer, which evaluates answers as code, is not given this one; empty if it is."""
    if task in EVALUATED and re.search(r"[()]|__", answer):
        return "not a plain list"
    if task in PARSED and (len(answer) > MAX_EXPRESSION or not EXPRESSION.fullmatch(answer)):
        return "not an expression"
    return ""


def gym_problems(task: str, size: int, *, seed: int = 0, **params: Any) -> Iterator[Problem]:
    """Problems of a Reasoning Gym task. params: of the task's own configuration (its difficulty).

    The entry's metadata is kept, so that the task's scorer can judge with it. Raises InputError for an unknown task or
    parameter.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"gym:{task}: size must be a whole number from 1, got {size!r}")
    dataset = _dataset(task, size=size, seed=seed, **params)
    setting = "".join(f"-{key}={value}" for key, value in sorted(params.items()))
    for index in range(size):
        entry = dataset[index]
        answer = entry["answer"]
        yield Problem(
            id=f"{task}{setting}-{seed}-{index}",
            prompt=entry["question"],
            answer=answer,
            verifier="gym",
            traces=() if answer is None else (Trace(f"<answer>{answer}</answer>", "reasoning-gym"),),
            benchmark=task,
            metadata=entry["metadata"] | {"source_dataset": task} | ({"gym_params": params} if params else {}),
        )


def load(spec: str) -> Iterator[Problem]:
    """Problems of "gym:TASK?size=100&seed=0&PARAM=VALUE"; values are read as JSON where they are JSON."""
    task, _, query = spec.removeprefix("gym:").partition("?")
    params: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        try:
            params[key] = json.loads(text)
        except ValueError:
            params[key] = text
    seed = params.pop("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"{spec}: seed must be a whole number, got {seed!r}")
    return gym_problems(task, params.pop("size", 100), seed=seed, **params)


def _dataset(task: str, **params: Any) -> Any:
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise InputError(
            f"gym:{task}: reasoning-gym is not installed (pip install 'explore-rl[verify]'): {error}"
        ) from error
    if task not in DATASETS:
        near = difflib.get_close_matches(task, DATASETS, n=1)
        raise InputError(f"gym:{task}: Reasoning Gym has no such task{f', did you mean {near[0]!r}?' if near else ''}")
    known = [field.name for field in dataclasses.fields(DATASETS[task][1])]
    for key in params:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise InputError(f"gym:{task}: unknown parameter {key!r}{hint}; it has {', '.join(known)}")
    try:
        return reasoning_gym.create_dataset(task, **params)
    except (AssertionError, TypeError, ValueError) as error:
        raise InputError(f"gym:{task}: {params}: {error}") from error


@functools.cache
def _scorer(task: str, params: str) -> Any:
    return _dataset(task, **json.loads(params)).score_answer
