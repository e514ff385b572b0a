"""Whether a problem's reference answer is one that its verifier can work with. Asked when problems are loaded, before
anything is drawn."""

from __future__ import annotations

import ast

from analysis.errors import InputError
from explore_rl.types import Problem


def check_reference(problem: Problem) -> None:
    """Raises InputError, naming the problem, if a built-in verifier could not judge it. Verifiers of the user's own are
    not asked."""
    check = _CHECKS.get(problem.verifier)
    if check is not None:
        check(problem)


def _choice(problem: Problem) -> None:
    from explore_rl.verifiers.choice import ChoiceVerifier

    ChoiceVerifier().check(problem)


def _text(problem: Problem) -> None:
    from explore_rl.verifiers.text import TextVerifier

    TextVerifier().check(problem)


def _numeric(problem: Problem) -> None:
    from explore_rl.verifiers.numeric import NumericVerifier

    NumericVerifier().check(problem)


def _countdown(problem: Problem) -> None:
    from explore_rl.verifiers.countdown import CountdownVerifier

    CountdownVerifier().check(problem)


def _code(problem: Problem) -> None:
    from explore_rl.verifiers.code_tests import Asserts, read_tests

    # LiveCodeBench's packed cases take long to unpack, and are known to be cases
    answer = problem.answer
    packed = answer.get("private") if isinstance(answer, dict) else answer
    if (
        isinstance(packed, str)
        and len(packed) > 1000
        and packed.isascii()
        and packed[:1].isalnum()
        and " " not in packed[:1000]
    ):
        return
    tests = read_tests(problem)
    if isinstance(tests, Asserts):
        for what, source in (("tests", tests.source), ("set-up code", tests.setup)):
            try:
                ast.parse(source)
            except (SyntaxError, ValueError) as error:
                raise InputError(f"problem {problem.id}: its {what} are no Python program: {error}") from None


_CHECKS = {"choice": _choice, "text": _text, "numeric": _numeric, "code": _code, "countdown": _countdown}
