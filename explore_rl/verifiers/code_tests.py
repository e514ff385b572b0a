"""The tests of a programming problem: read from the forms in which they are distributed, and run on the side that is
trusted."""

from __future__ import annotations

import ast
import base64
import builtins
import contextlib
import importlib
import io
import json
import math
import pickle
import re
import sys
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from analysis.errors import InputError
from explore_rl.types import Problem
from explore_rl.verifiers.sandbox import NotPlainResult, ProgramEnded, ProgramRaised, SandboxFault, Starved
from explore_rl.verifiers.sandbox_child import NotPlain


@dataclass(frozen=True)
class Asserts:
    """Unit tests: Python source with asserts on functions of the program, or with `check(candidate)`.

    setup: run before them. stub: the beginning of a program that the completion continues or repeats (HumanEval's
    prompt).
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
    given, expected, name = answer["inputs"], answer["outputs"], answer.get("fn_name")
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


@dataclass
class Outcome:
    """failure: why the program is wrong. fault: why the tests say nothing. Both empty: all held. share: of the asserts
    that ran, held."""

    failure: str = ""
    fault: str = ""
    share: float = 1.0


class _Raised(Exception):
    """Mixed into the exception that a stand-in raises, to tell it from one of the tests' own."""


class _Unequal:
    """Stands for a result that did not come: equal to nothing. An __eq__ alone leaves it without a hash."""

    def __eq__(self, other: object) -> bool:
        return False


class _Calls:
    """Makes stand-ins for the program's functions, and keeps what went wrong where tests may swallow exceptions."""

    def __init__(self, call: Callable, go_on: bool):
        self.call, self.go_on = call, go_on
        self.made, self.ended, self.first_failure = 0, "", ""
        self.trouble: Exception | None = None

    def stand_in(self, name: str) -> Callable:
        def function(*args: Any, **kwargs: Any) -> Any:
            if self.trouble or self.ended:
                return self._fail(Exception, self.ended)
            try:
                self.made += 1
                return self.call(name, args, kwargs)
            except ProgramRaised as error:
                kind = getattr(builtins, error.kind, Exception)
                return self._fail(
                    kind if isinstance(kind, type) and issubclass(kind, Exception) else Exception, str(error)
                )
            except NotPlainResult as error:
                if name[:1].isupper():  # a class: the tests ask for an object of the program's own
                    self.trouble = NotPlain(f"{name} of the program's own")
                    raise self.trouble from error
                return self._fail(Exception, f"returned a {error}, which is not plain data")
            except ProgramEnded as error:
                self.ended = str(error)
                return self._fail(Exception, self.ended)
            except (NotPlain, Starved, SandboxFault) as error:
                self.trouble = error
                raise

        function.__name__ = name
        return function

    def _fail(self, kind: type[Exception], message: str) -> _Unequal:
        self.first_failure = self.first_failure or message
        if self.go_on:
            return _Unequal()
        try:
            error = type(kind.__name__, (_Raised, kind), {})(message)
        except TypeError:  # UnicodeDecodeError and its kin take other arguments
            error = _Raised(message)
        raise error


def run_asserts(tests: Asserts, call: Callable, *, partial: bool) -> Outcome:
    """Runs the tests here; `call(name, args, kwargs)` gives what the program's function gives.

    partial: go on after a failure, to count the asserts that hold. Raises Starved and SandboxFault of `call`.
    """
    tree = ast.parse(tests.source)
    handles = any(
        isinstance(node, (ast.Try, ast.With)) for node in ast.walk(tree)
    )  # tests that expect exceptions need to see them
    calls = _Calls(call, go_on=partial and not handles)
    counts = {"passed": 0, "failed": 0}
    first = ""

    def count(error: Exception | None = None) -> None:
        nonlocal first
        if error is None:
            counts["passed"] += 1
        else:
            counts["failed"] += 1
            first = first or _reason(error, tests.source, calls=calls)

    names: dict[str, Any] = {"__name__": "tests", "__count__": count}
    outcome = Outcome()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            # helpers come from the stub itself, so that the tests never depend on the program's own version of them
            exec(compile(tests.stub_program, "<stub>", "exec", dont_inherit=True), names)
            exec(compile(tests.setup, "<setup>", "exec", dont_inherit=True), names)
            for name in _program_names(tree, names, entry_point=tests.entry_point):
                names[name] = calls.stand_in(name)
            if partial:
                tree = ast.fix_missing_locations(_Counting().visit(tree))
            exec(compile(tree, "<tests>", "exec", dont_inherit=True), names)
            if tests.entry_point and callable(names.get("check")):
                names["check"](names[tests.entry_point])
    except (NotPlain, Starved, SandboxFault) as error:
        calls.trouble = calls.trouble or error
    except Exception as error:  # noqa: BLE001 - test code may raise anything, and what it raises is the finding
        if not isinstance(error, _Raised) and (
            not calls.made or isinstance(error, (NameError, ImportError, SyntaxError))
        ):
            outcome.fault = f"{type(error).__name__}: {error}"
        count(error)
    if isinstance(calls.trouble, NotPlain):
        return Outcome(fault=f"a test passes a {calls.trouble}, which is not plain data")
    if calls.trouble:
        raise calls.trouble
    if not calls.made and not outcome.fault:
        outcome.fault = "they never called the program"
    total = counts["passed"] + counts["failed"]
    outcome.share = counts["passed"] / total if total else 0.0
    outcome.failure = calls.ended or first
    return outcome


def _reason(error: Exception, source: str, *, calls: _Calls) -> str:
    if isinstance(error, _Raised):
        return str(error)
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == "<tests>" and frame.lineno
    ]
    where = source.splitlines()[lines[0] - 1].strip()[:160] if lines else ""
    what = "" if isinstance(error, AssertionError) and not str(error) else f"{type(error).__name__}: {error}"[:160]
    return "; ".join(filter(None, [calls.first_failure, f"failed: {where}" if where else "", what]))


def _program_names(tree: ast.AST, names: dict[str, Any], *, entry_point: str | None) -> set[str]:
    """Names that the tests use and nothing of theirs defines: the program's. Standard modules that they only name are
    imported."""
    used, bound, modules, called = set(), set(names), set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            modules.add(node.value.id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called.add(node.func.id)
    free = used - bound - set(dir(builtins))
    for name in free & modules & sys.stdlib_module_names - called:
        names[name] = importlib.import_module(name)
        free.discard(name)
    if entry_point:
        return free | {entry_point}
    return free or called - bound  # MBPP has functions that are called as built-in ones are, such as `sum`


class _Counting(ast.NodeTransformer):
    """assert X  ->  try: assert X; __count__()  except Exception as __error__: __count__(__error__)"""

    def visit_Assert(self, node: ast.Assert) -> ast.Try:
        count = ast.Name("__count__", ast.Load())
        handler = ast.ExceptHandler(
            ast.Name("Exception", ast.Load()),
            "__error__",
            [ast.Expr(ast.Call(count, [ast.Name("__error__", ast.Load())], []))],
        )
        return ast.copy_location(ast.Try([node], [handler], [ast.Expr(ast.Call(count, [], []))], []), node)


# --- input and output ------------------------------------------------------------------------------------------------

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")


def compare_output(printed: str, expected: str, *, tolerance: float = 0.0) -> str:
    """Why the outputs differ; empty if they agree: the same lines but for space at the ends, where numbers may be
    written differently.

    >>> compare_output("1.0 a\\n\\n", "1 a"), compare_output("2", "3")
    ('', "line 1: expected '3', got '2'")
    """
    got, want = ([line.strip() for line in text.strip().splitlines()] for text in (printed, expected))
    for number, (a, b) in enumerate(zip(got, want, strict=False), start=1):
        if a != b and not _same_tokens(a.split(), b.split(), tolerance=tolerance):
            return f"line {number}: expected {b[:60]!r}, got {a[:60]!r}"
    return "" if len(got) == len(want) else f"{len(got)} lines, expected {len(want)}"


def _same_tokens(got: list[str], want: list[str], *, tolerance: float) -> bool:
    return len(got) == len(want) and all(
        a == b or _same_number(a, b, tolerance=tolerance) for a, b in zip(got, want, strict=False)
    )


def _same_number(a: str, b: str, *, tolerance: float) -> bool:
    if not (NUMBER.fullmatch(a) and NUMBER.fullmatch(b)):
        return False
    return Decimal(a) == Decimal(b) or (tolerance > 0 and abs(float(a) - float(b)) <= tolerance)


def compare_result(got: Any, expected: Any, *, tolerance: float = 0.0) -> str:
    """Why a function's result differs from the expected JSON value; empty if it does not. Tuples count as lists.

    >>> compare_result((1, 2), [1, 2]), compare_result([1], [2])
    ('', 'expected [2], got [1]')
    """
    if _same_value(_as_json(got), _as_json(expected), tolerance=tolerance):
        return ""
    return f"expected {_short(expected)}, got {_short(got)}"


def _as_json(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):  # JSON has text keys alone
        return {str(key): _as_json(item) for key, item in value.items()}
    return value


def _same_value(a: Any, b: Any, *, tolerance: float) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same_value(x, y, tolerance=tolerance) for x, y in zip(a, b, strict=False))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same_value(a[key], b[key], tolerance=tolerance) for key in a)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)) and tolerance > 0:
        return a == b or math.isclose(a, b, rel_tol=0.0, abs_tol=tolerance)
    return a == b


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of too many digits, or too deep
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
