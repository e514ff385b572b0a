"""Runs unit tests on the side that is trusted, with stand-ins for the functions of the program."""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import io
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from explore_rl.verifiers.code_tests import Asserts
from explore_rl.verifiers.sandbox_limits import NotPlainResult, ProgramEnded, ProgramRaised, SandboxFault, Starved
from explore_rl.verifiers.sandbox_wire import NotPlain


@dataclass
class TestRun:
    """What running the tests gave.

    failure: why the program is wrong. fault: why the tests say nothing. Both empty: all held. share: of the asserts
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


def run_asserts(tests: Asserts, call: Callable, *, partial: bool) -> TestRun:
    """Runs the tests here; `call(name, args, kwargs)` gives what the program's function gives.

    partial: go on after a failure, to count the asserts that hold. Raises Starved and SandboxFault of `call`.
    """
    tree = ast.parse(tests.source)
    # tests that expect exceptions need to see them
    handles = any(isinstance(node, (ast.Try, ast.With)) for node in ast.walk(tree))
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
    run = TestRun()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            # helpers come from the stub itself, so that the tests never depend on the program's own version of them
            exec(compile(tests.stub_program, "<stub>", "exec", dont_inherit=True), names)
            exec(compile(tests.setup, "<setup>", "exec", dont_inherit=True), names)
            # what the tests call and nobody here defines is the program's
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
            run.fault = f"{type(error).__name__}: {error}"
        count(error)
    # whose fault it was, where something went wrong: the tests', the harness's, or the program's
    if isinstance(calls.trouble, NotPlain):
        return TestRun(fault=f"a test passes a {calls.trouble}, which is not plain data")
    if calls.trouble:
        raise calls.trouble
    if not calls.made and not run.fault:
        run.fault = "they never called the program"
    total = counts["passed"] + counts["failed"]
    run.share = counts["passed"] / total if total else 0.0
    run.failure = calls.ended or first
    return run


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
    used = set()
    bound = set(names)
    modules = set()
    called = set()
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
