"""A single number, without algebra: quicker than `math`, and stricter about what an answer may look like."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from analysis.errors import InputError
from explore_rl.types import Problem, Verdict
from explore_rl.verifiers import math_units
from explore_rl.verifiers.base import correct, no_answer, wrong
from explore_rl.verifiers.extract import EXTRACTIONS, Extraction, final_answer
from explore_rl.verifiers.math_brackets import Unbalanced
from explore_rl.verifiers.math_forms import parse
from explore_rl.verifiers.math_values import Chain, Labelled, Number, Quantity


class NumericVerifier:
    """problem.answer: a number, or text that holds one (thousands separators, fractions, scientific notation, per cent,
    a unit).

    Right if |given - reference| <= max(absolute_tolerance, relative_tolerance * |reference|), in exact arithmetic.
    Units are left out. extract as in `explore_rl.verifiers.extract`. `mode` is the number as a fraction.
    """

    def __init__(
        self, relative_tolerance: float = 0.0, absolute_tolerance: float = 0.0, *, extract: Extraction = "lenient"
    ):
        if extract not in EXTRACTIONS:
            raise InputError(f"numeric verifier: extract must be one of {', '.join(EXTRACTIONS)}, got {extract!r}")
        for name, value in (("relative_tolerance", relative_tolerance), ("absolute_tolerance", absolute_tolerance)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise InputError(f"numeric verifier: {name} must be a number of at least 0, got {value!r}")
        self.extract: Extraction = extract
        self.relative, self.absolute = Fraction(str(relative_tolerance)), Fraction(str(absolute_tolerance))

    def __call__(self, completion: str, problem: Problem, *, truncated: bool = False) -> Verdict:
        if truncated:
            return no_answer("cut off before its end")
        gold, gold_unit = self.check(problem)
        answer = final_answer(completion, self.extract, of="value")
        if answer is None:
            return no_answer("no final answer found")
        found = _number(answer)
        if found is None:
            return wrong(answer, reason="is not a number")
        given, unit = found
        ratio = None if math_units.clash(gold_unit, unit) else math_units.ratio(unit, gold_unit)
        if ratio is None:
            return wrong(answer, mode=str(given), reason=f"is of another unit than {problem.answer}")
        given *= ratio
        if abs(given - gold) <= max(self.absolute, self.relative * abs(gold)):
            return correct(answer, mode=str(given))
        return wrong(answer, mode=str(given), reason=f"is not {problem.answer}")

    def check(self, problem: Problem) -> tuple[Fraction, math_units.Unit]:
        """The problem's answer as a number with its unit. Raises InputError if it is none."""
        gold = _number(problem.answer)
        if gold is None:
            raise InputError(
                f"problem {problem.id}: the numeric verifier needs an answer that is a number, got {problem.answer!r}"
            )
        return gold


def _number(answer: Any) -> tuple[Fraction, math_units.Unit] | None:
    if isinstance(answer, bool) or not isinstance(answer, (int, float, str)):
        return None
    try:
        value = parse(str(answer))
    except Unbalanced:
        return None
    unit = math_units.NONE
    # a label, a unit and a calculation before the number are left out
    while isinstance(value, (Labelled, Quantity, Chain)):
        if isinstance(value, Chain):
            value = value.sides[-1]
        elif isinstance(value, Labelled):
            value = value.value
        else:
            unit = value.unit
            value = value.amount
    if not isinstance(value, Number) or math_units.changes(unit):
        return None
    return value.value / 100 if value.percent else value.value, unit
