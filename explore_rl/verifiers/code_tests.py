"""The tests of a programming problem: read from the forms in which they are distributed, and run on the side that is
trusted."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from analysis.errors import InputError
from explore_rl.types import Problem


@dataclass(frozen=True)
class Asserts:
    """Unit tests: Python source with asserts on functions of the program, or with `check(candidate)`.

    source: the tests.
    entry_point: the function that `check` is given.
    setup: runs before them.
    stub: the beginning of a program that the completion continues or repeats (HumanEval's prompt).
    """

    source: str
    entry_point: str | None = None
    setup: str = ""
    stub: str = ""

    @cached_property
    def stub_program(self) -> str:
        """The stub as a program of its own (imports, helpers, an empty entry point); empty if it is none."""
        for text in (self.stub, f"{self.stub}\n    pass\n"):
            try:
                compile(text, "<stub>", "exec", dont_inherit=True)
                return text
            except SyntaxError:
                continue
        return ""


@dataclass(frozen=True)
class Cases:
    """Pairs of what goes in and what must come out: texts on standard input and output, or a function's arguments and
    result."""

    cases: tuple[tuple[Any, Any], ...]
    function: str | None = None

    @property
    def entry_point(self) -> str | None:
        return self.function


# --- the forms in which tests come -----------------------------------------------------------------------------------


def read_tests(problem: Problem) -> Asserts | Cases:
    """The tests in `problem.answer`. Raises InputError naming the problem if there are none.

    {"test": source, "entry_point": name, "prompt": stub}            HumanEval, HumanEval+
    {"test_list": [asserts], "setup": source} or [asserts]           MBPP; MBPP+ has more under metadata["test"]
    {"inputs": [...], "outputs": [...], "fn_name": name or absent}   APPS, TACO, verl's code sets
    [{"input": ..., "output": ..., "testtype": "stdin" | "functional"}, ...]
                                                                     LiveCodeBench (metadata["func_name"]), or its
                                                                     packed text
    {"public": cases, "private": cases}                              LiveCodeBench's two columns, which it joins

    Text is taken as JSON, as LiveCodeBench's packed private cases, or else as test source.
    """
    answer: Any = _parsed(problem.answer)
    if isinstance(answer, dict) and {"public", "private"} <= answer.keys():
        answer = _joined_cases(answer, problem)
    if isinstance(answer, str) and "assert" in answer:
        answer = {"test": answer}
    if isinstance(answer, list) and answer and all(isinstance(item, str) for item in answer):
        answer = {"test_list": answer}
    if (
        isinstance(answer, list)
        and answer
        and all(isinstance(item, dict) and {"input", "output"} <= item.keys() for item in answer)
    ):
        return _livecodebench(answer, problem)
    if isinstance(answer, dict):
        if isinstance(answer.get("inputs"), list) and isinstance(answer.get("outputs"), list):
            return _apps(answer, problem)
        listed = answer.get("test_list")
        source = answer.get("test") or problem.metadata.get("test") or (listed and "\n".join(map(str, listed)))
        if isinstance(source, str) and source.strip():
            entry_point = answer.get("entry_point") or problem.metadata.get("entry_point")
            return Asserts(source, entry_point, answer.get("setup") or "", answer.get("prompt") or "")
    raise InputError(
        f"problem {problem.id!r}: no tests in its answer; expected test and entry_point, test_list, inputs and "
        f"outputs, or a list of "
        "cases with input and output"
    )


def _joined_cases(answer: dict, problem: Problem) -> list[dict]:
    joined = []
    for name in ("public", "private"):
        cases = _parsed(answer[name]) if answer[name] else []
        if not isinstance(cases, list):
            raise InputError(f"problem {problem.id!r}: its {name} tests are no list of cases")
        joined += cases
    return joined


def _parsed(answer: Any) -> Any:
    if not isinstance(answer, str):
        return answer
    try:
        return json.loads(answer)
    except ValueError:
        pass
    try:  # LiveCodeBench packs its private cases: base64 of zlib of a pickled text of JSON
        return json.loads(_TextOnly(io.BytesIO(zlib.decompress(base64.b64decode(answer, validate=True)))).load())
    except (ValueError, zlib.error, pickle.UnpicklingError, EOFError):
        return answer


class _TextOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"a packed text needs no {module}.{name}")


def _livecodebench(cases: list[dict], problem: Problem) -> Cases:
    kinds = {case.get("testtype", "stdin") for case in cases}
    if kinds != {"functional"}:
        if "functional" in kinds:
            raise InputError(f"problem {problem.id!r}: some of its cases call a function and some do not")
        return Cases(tuple((str(case["input"]), str(case["output"])) for case in cases))
    name = problem.metadata.get("func_name") or problem.metadata.get("fn_name")
    if not isinstance(name, str):
        raise InputError(f"problem {problem.id!r}: its cases call a function, but metadata has no func_name")
    return Cases(tuple((_json_lines(case["input"], problem), _json(case["output"], problem)) for case in cases), name)


def _apps(answer: dict, problem: Problem) -> Cases:
    given = answer["inputs"]
    expected = answer["outputs"]
    name = answer.get("fn_name")
    if not given or len(given) != len(expected):
        raise InputError(
            f"problem {problem.id!r}: {len(given)} inputs and {len(expected)} outputs; expected as many of both, "
            f"at least one"
        )
    if name is None:
        return Cases(tuple((_joined(a), _joined(b)) for a, b in zip(given, expected, strict=False)))
    arguments = [_json_lines(a, problem) if isinstance(a, str) else a for a in given]
    results = [
        _json(b, problem) if isinstance(b, str) and isinstance(a, str) else b
        for a, b in zip(given, expected, strict=False)
    ]
    if not all(isinstance(a, list) for a in arguments):
        raise InputError(f"problem {problem.id!r}: inputs of a function must be lists of arguments")
    if all(isinstance(b, list) and len(b) == 1 for b in results) and not all(isinstance(a, str) for a in given):
        results = [b[0] for b in results]  # APPS wraps each result in a list
    return Cases(tuple(zip(arguments, results, strict=False)), name)


def _joined(text: Any) -> str:
    return "\n".join(map(str, text)) if isinstance(text, list) else str(text)


def _json_lines(text: str, problem: Problem) -> list:
    return [_json(line, problem) for line in str(text).split("\n") if line.strip()]


def _json(text: str, problem: Problem) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"problem {problem.id!r}: a case holds {text[:60]!r}, which is not JSON") from error


# --- unit tests ------------------------------------------------------------------------------------------------------


# --- input and output ------------------------------------------------------------------------------------------------
