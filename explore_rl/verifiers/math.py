r"""Mathematics: the final answer of a completion against a reference answer, by value rather than by writing."""

from __future__ import annotations

import logging
from fractions import Fraction
from functools import lru_cache
from typing import Any

from analysis.errors import InputError
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.base import correct, no_answer, wrong
from explore_rl.verifiers.extract import EXTRACTIONS, Extraction, final_answer
from explore_rl.verifiers.math_brackets import Unbalanced
from explore_rl.verifiers.math_dress import squeezed, undress
from explore_rl.verifiers.math_equal import same
from explore_rl.verifiers.math_forms import parse
from explore_rl.verifiers.math_keys import key
from explore_rl.verifiers.math_scalars import Tolerance
from explore_rl.verifiers.math_values import Listing, Number, Value, Words

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that it has no time limit of its own: the pool has


class MathVerifier:
    r"""problem.answer: LaTeX, plain text or a number; or a list of several answers that are all asked for (in any
    order).

    extract: "boxed" (strict: \boxed{} only), "lenient" (also "####" and "answer is") or "last_number" (see
    `explore_rl.verifiers.extract`).
    relative_tolerance: how far a number written with decimals may be from the reference, as a share of it. An integer
    reference has to be met exactly.
    absolute_tolerance: how far any number may be. A problem's own metadata["tolerance"] (absolute; a list gives one for
    each answer) and metadata["relative_tolerance"] come before these.

    Order counts in tuples, vectors and intervals, not in lists and sets. Units may be left out, but not be wrong. A
    completion that was cut off, or whose answer breaks off, has no answer. `mode` is the answer in canonical writing.
    """

    def __init__(
        self, extract: Extraction = "lenient", relative_tolerance: float = 1e-6, *, absolute_tolerance: float = 0.0
    ):
        if extract not in EXTRACTIONS:
            raise InputError(f"math verifier: extract must be one of {', '.join(EXTRACTIONS)}, got {extract!r}")
        self.extract: Extraction = extract
        self.relative = _tolerance("relative_tolerance", relative_tolerance)
        self.absolute = _tolerance("absolute_tolerance", absolute_tolerance)

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        if truncated:
            return no_answer("cut off before its end")
        answer = final_answer(completion, self.extract, of="value")
        if answer is None:
            return no_answer("no \\boxed{} answer" if self.extract == "boxed" else "no final answer found")
        gold, readings = _reference(problem)
        if squeezed(undress(answer)) in readings:
            return correct(answer, mode=key(gold))
        try:
            given = parse(answer)
        except Unbalanced as error:
            return no_answer(f"the answer breaks off: {error}")
        tolerance = self._tolerance(problem)
        if same(gold, given, tolerance=tolerance) or _as_list(gold, answer, problem=problem, tolerance=tolerance):
            return correct(answer, mode=key(gold))
        return wrong(answer, mode=key(given), reason=f"is not {problem.answer}"[:200])

    def _tolerance(self, problem: Problem) -> Tolerance:
        absolute = problem.metadata.get("tolerance", self.absolute)
        relative = problem.metadata.get("relative_tolerance", self.relative)
        each = absolute if isinstance(absolute, (list, tuple)) else [absolute]
        return Tolerance(
            _tolerance("relative_tolerance", relative), tuple(_tolerance("tolerance", value) for value in each)
        )


def _tolerance(name: str, value: Any) -> Fraction:
    try:
        fraction = Fraction(str(value)) if not isinstance(value, bool) else None
    except (ValueError, ZeroDivisionError):
        fraction = None
    if fraction is None or fraction < 0:
        raise InputError(f"math verifier: {name} must be a number of at least 0, got {value!r}")
    return fraction


def _reference(problem: Problem) -> tuple[Value, frozenset[str]]:
    """The reference as a form, and the writings that need no comparison."""
    answer = problem.answer
    if isinstance(answer, bool) or not isinstance(answer, (str, int, float, list, tuple)) or answer in ("", [], ()):
        raise InputError(
            f"problem {problem.id}: the math verifier needs an answer that is text, a number or a list of these, "
            f"got {answer!r}"
        )
    return _read(tuple(map(_text, answer)) if isinstance(answer, (list, tuple)) else _text(answer))


def _text(answer: Any) -> str:
    if isinstance(answer, float) and answer.is_integer() and abs(answer) < 2**53:
        answer = int(answer)  # AMC's answers come as floats
    return str(answer)


@lru_cache(maxsize=4096)
def _read(answer: str | tuple[str, ...]) -> tuple[Value, frozenset[str]]:
    answers = (answer,) if isinstance(answer, str) else answer
    values: list[Value] = []
    for text in answers:
        try:
            values.append(parse(text))
        except Unbalanced:  # a reference with a slip of the pen: it can be met in writing only
            values.append(Words(text, text))
    writings = frozenset({squeezed(undress(", ".join(answers)))} - {""})
    if len(values) == 1:
        return values[0], writings
    parts = (value.parts if isinstance(value, Listing) and not value.braces else (value,) for value in values)
    return Listing(parts=tuple(part for several in parts for part in several)), writings


def _as_list(gold: Value, answer: str, *, problem: Problem, tolerance: Tolerance) -> bool:
    """ "160,250,300" reads as one number and as three; an answer that spaces them means three."""
    if (
        not isinstance(gold, Number)
        or not isinstance(problem.answer, str)
        or "," not in problem.answer
        or "," not in answer
    ):
        return False
    one, other = (parse(text.replace(",", ", ")) for text in (problem.answer, answer))
    return isinstance(one, Listing) and isinstance(other, Listing) and same(one, other, tolerance=tolerance)
