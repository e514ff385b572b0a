"""A reward function of the user's own, named "module:function" or "path.py:function", in one of two forms:

    TRL    f(prompts, completions, **columns) -> [score or None]    columns: the problem's metadata and `answer`, each a
           list of one
    verl   compute_score(data_source, solution_str, ground_truth, extra_info) -> score or {"score": ..., "acc": ...,
           "pred": ...}

An exception, a result that is no number, or a score outside low to high is an ERROR, never a score of 0.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from numbers import Real
from typing import Any

from analysis.errors import InputError
from explore_rl.own_code import load_module
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.base import correct, failed, no_answer, wrong

FORMS = {"trl": {"prompts", "completions"}, "verl": {"data_source", "solution_str", "ground_truth"}}
ANSWERS = (
    "answer",
    "solution",
    "ground_truth",
    "target",
    "label",
)  # names under which TRL functions ask for the reference


class PluginVerifier:
    """A function of the user's own, or of another trainer, as a verifier.

    target: the function.
    form: "trl" or "verl"; None: told from the names of its parameters.
    arguments: further keyword arguments.
    low, high: the range of the function's scores, mapped to [0, 1] (DAPO's gives -1 and 1).
    correct_from: the score, so mapped, from which an answer is CORRECT, unless a verl function says so itself ("acc").
    none: what a TRL function's None (not applicable) means: "error", which leaves the sample out of its group, or
        "no_answer".
    """

    def __init__(
        self,
        target: str,
        *,
        form: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        low: float = 0.0,
        high: float = 1.0,
        correct_from: float = 1.0,
        none: str = "error",
    ):
        self.name = f"verifier {target!r}"
        if not all(isinstance(x, Real) and math.isfinite(x) for x in (low, high, correct_from)) or not low < high:
            given = f"{low!r}, {high!r}, {correct_from!r}"
            raise InputError(f"{self.name}: low, high and correct_from must be numbers with low < high, got {given}")
        if form not in (None, *FORMS):
            raise InputError(f"{self.name}: form must be trl or verl, got {form!r}")
        if none not in ("error", "no_answer"):
            raise InputError(f"{self.name}: none must be error or no_answer, got {none!r}")
        self.function = load_function(target)
        self.low, self.high, self.correct_from, self.none = low, high, correct_from, none
        self.arguments = dict(arguments or {})
        parameters = self._parameters()
        self.accepts = None if any(p.kind is p.VAR_KEYWORD for p in parameters) else {p.name for p in parameters}
        self.form = form or self._form({p.name for p in parameters})

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        given = (
            self._trl(completion, problem, truncated=truncated)
            if self.form == "trl"
            else self._verl(completion, problem, truncated=truncated)
        )
        if self.accepts is not None:
            given = {name: value for name, value in given.items() if name in self.accepts}
        try:
            result = self.function(**given, **self.arguments)
            if inspect.isawaitable(result):
                result = _finished(result)
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything; it is reported, not hidden
            return failed(f"{self.name}: {type(error).__name__}: {error}"[:500])
        if self.form == "trl":
            if not isinstance(result, (list, tuple)) or len(result) != 1:
                return failed(
                    f"{self.name}: returned {_short(result)} for one completion, expected a list of one score"
                )
            result = result[0]
        return self._verdict(result)

    def _verdict(self, result: Any) -> Verdict:
        said = None
        answer = None
        if isinstance(result, Mapping):
            if "score" not in result:
                return failed(f"{self.name}: returned a mapping without 'score': {_short(result)}")
            said = result.get("acc")
            answer = result.get("pred")
            result = result["score"]
        if result is None:
            reason = f"{self.name}: gave None: not applicable"
            return failed(reason) if self.none == "error" else no_answer(reason)
        try:
            score = (float(result) - self.low) / (self.high - self.low)
        except (TypeError, ValueError):
            return failed(f"{self.name}: returned {_short(result)}, expected a number")
        if isinstance(result, str) or not 0.0 <= score <= 1.0:  # not a number is not in the range either
            wanted = f"a number from {self.low:g} to {self.high:g} (options low and high)"
            return failed(f"{self.name}: returned {_short(result)}, expected {wanted}")
        answer = None if answer is None else str(answer)
        is_correct = score >= self.correct_from if said is None else bool(said)
        return correct(answer, score=score) if is_correct else wrong(answer, score=score)

    # --- how it is called ---

    def _parameters(self) -> list[inspect.Parameter]:
        try:
            return list(inspect.signature(self.function).parameters.values())
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.name}: its parameters cannot be told: {error}") from error

    def _form(self, names: set[str]) -> str:
        fits = [form for form, wanted in FORMS.items() if ("completions" if form == "trl" else "solution_str") in names]
        if len(fits) == 1:
            return fits[0]
        raise InputError(
            f"{self.name}: cannot tell its form from its parameters ({', '.join(sorted(names)) or 'none'}); "
            f"expected prompts and "
            "completions (TRL), or data_source, solution_str, ground_truth and extra_info (verl); set form if they "
            "are taken by **kwargs"
        )

    def _trl(self, completion: str, problem: Problem, *, truncated: bool) -> dict[str, Any]:
        chat = not isinstance(problem.prompt, str)
        columns = {name: [value] for name, value in problem.metadata.items()}
        for name in ANSWERS if self.accepts else ANSWERS[:1]:
            columns.setdefault(name, [problem.answer])
        return columns | {
            "prompts": [problem.prompt],
            "completions": [[{"role": "assistant", "content": completion}] if chat else completion],
            "truncated": [truncated],
            "trainer_state": None,
            "log_extra": _ignore,
            "log_metric": _ignore,
        }

    def _verl(self, completion: str, problem: Problem, *, truncated: bool) -> dict[str, Any]:
        extra = problem.metadata.get("extra_info")
        return {
            "data_source": problem.metadata.get("data_source") or problem.benchmark or "",
            "solution_str": completion,
            "ground_truth": problem.answer,
            "extra_info": (extra if isinstance(extra, dict) else dict(problem.metadata)) | {"truncated": truncated},
        }


def load_function(target: str) -> Callable:
    """The function of "module:function" or "path.py:function". Raises InputError. A module may lie in the working
    directory."""
    place, _, attribute = target.rpartition(":")
    if not place or not attribute:
        raise InputError(f"verifier {target!r}: expected module:function or path.py:function")
    try:
        module = load_module(place)
    except Exception as error:  # noqa: BLE001 - importing the user's code may raise anything; it is reported, not hidden
        raise InputError(f"verifier {target!r}: cannot import {place}: {type(error).__name__}: {error}") from error
    try:
        function = functools.reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        raise InputError(f"verifier {target!r}: {place} has no {attribute!r}") from error
    if not callable(function):
        raise InputError(f"verifier {target!r}: {attribute} is not a function but {_short(function)}")
    return function


def _finished(awaitable: Awaitable[Any]) -> Any:
    """What it gives. A thread that runs a loop already (a notebook's does) may not start a second one, so another
    thread waits there."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_await(awaitable))
    with ThreadPoolExecutor(max_workers=1) as waiting:
        return waiting.submit(asyncio.run, _await(awaitable)).result()


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _ignore(*_: Any, **__: Any) -> None:
    """Stands for TRL's logging callbacks."""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
