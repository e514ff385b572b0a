"""Equality of single things: numbers, quantities, times of day, digits in a base, words and expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

import sympy

from explore_rl.verifiers import math_units
from explore_rl.verifiers.math_dress import MONEY, compact
from explore_rl.verifiers.math_expressions import EQUAL, Comparison, expression_of, same_expressions, to_sympy
from explore_rl.verifiers.math_matrices import matrix_of
from explore_rl.verifiers.math_single import plain_words
from explore_rl.verifiers.math_values import (
    Based,
    Clock,
    Expression,
    Matrix,
    Number,
    Quantity,
    Terms,
    Value,
    Words,
    one_of,
)


@dataclass(frozen=True)
class Tolerance:
    """A number given with decimals may be off by `relative` of the reference or by `absolute`, whichever is more; one
    given exactly, by `absolute`.

    absolute may hold one value for each part of the reference.
    """

    relative: Fraction = Fraction(1, 10**6)
    absolute: tuple[Fraction, ...] = ()

    def part(self, index: int) -> Tolerance:
        return self if len(self.absolute) <= 1 else replace(self, absolute=self.absolute[index : index + 1])

    @property
    def margin(self) -> Fraction:
        return self.absolute[0] if self.absolute else Fraction(0)


def same_numbers(gold: Number, given: Number, tolerance: Tolerance) -> bool:
    if gold.percent == given.percent:
        return _close(gold, given, gold_factor=1, given_factor=1, tolerance=tolerance)
    # "50 %", "50" and "0.5" all answer a question for a percentage; which is asked for, only the reference could tell,
    # and often does not.
    if _close(gold, given, gold_factor=_share(gold), given_factor=_share(given), tolerance=tolerance):
        return True
    # 1/4 % is no 1/4: a share has been asked for
    asked_for_share = given.percent and abs(gold.value) < 1
    return not asked_for_share and _close(gold, given, gold_factor=1, given_factor=1, tolerance=tolerance)


_ABBREVIATED = re.compile(r"([+-]?\d[\d,]*(?:\.\d+)?)\s*([kKMB])")


def abbreviated(gold: Number, given: Expression, tolerance: Tolerance) -> bool:
    """2.5M for 2,500,000."""
    match = _ABBREVIATED.fullmatch(given.text)
    size = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9}
    return match is not None and Fraction(match[1].replace(",", "")) * size[match[2]] == gold.value


def _share(number: Number) -> Fraction:
    return Fraction(1, 100) if number.percent else Fraction(1)


def _close(
    gold: Number, given: Number, *, gold_factor: Fraction | int, given_factor: Fraction | int, tolerance: Tolerance
) -> bool:
    wanted = gold.value * gold_factor
    got = given.value * given_factor
    difference = abs(wanted - got)
    if difference <= tolerance.margin:
        return True
    exact = not gold.decimal and (
        wanted.denominator == 1 or not given.decimal
    )  # 3 is 3; 1/3 may be given as 0.33333333
    return difference <= (0 if exact else tolerance.relative * abs(wanted))


def same_amounts(gold: Value, given: Value, *, tolerance: Tolerance) -> bool:
    """Of numbers and expressions alone."""
    if isinstance(gold, Number) and isinstance(given, Number):
        return same_numbers(gold, given, tolerance)
    return same_plain(gold, given, tolerance)


def same_quantities(gold: Quantity, given: Quantity, tolerance: Tolerance) -> bool:
    if math_units.clash(gold.unit, given.unit):
        products = all(quantity.plain and not _WORD.search(quantity.text) for quantity in (gold, given))
        return products and same_plain(Expression(gold.text), Expression(given.text), tolerance)
    ratio = math_units.ratio(given.unit, gold.unit)
    assert ratio is not None  # they would clash
    if ratio == 1:
        return same_amounts(gold.amount, given.amount, tolerance=tolerance)
    amount = given.amount
    if isinstance(amount, Number):
        scaled = replace(
            amount, value=amount.value * ratio, decimal=amount.decimal or gold.unit.size != given.unit.size
        )
        return same_amounts(gold.amount, scaled, tolerance=tolerance)
    parsed = expression_of(amount)
    if not isinstance(parsed, sympy.Expr):
        return False
    # sizes of units are decimals (degrees in a radian)
    how = Comparison(float(tolerance.relative), float(tolerance.margin))
    return same_expressions(expression_of(gold.amount), parsed * sympy.Rational(*ratio.as_integer_ratio()), how=how)


def quantity_for_value(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    """A unit may be left out; the words that are part of a value may not. `5 m` may be five times m where the other
    holds letters."""
    quantity = one_of(Quantity, gold, given=given)
    other = given if quantity is gold else gold
    if quantity.compound:  # 2 hours 30 minutes may be 2.5 or 150, but not the other way round
        return quantity is given and any(
            same_amounts(gold, _scaled(quantity.amount, ratio), tolerance=tolerance) for ratio in quantity.compound
        )
    if isinstance(other, Number) and other.percent and not getattr(quantity.amount, "percent", False):
        if quantity.unit.dimensions or math_units.counted_words(quantity.unit):  # 5 % are no 5 people
            return False
    if quantity.plain and isinstance(other, Expression):
        if same_plain(Expression(gold.text), Expression(given.text), tolerance):
            return True
        parsed = to_sympy(other.text)
        if parsed is None or getattr(parsed, "free_symbols", None):
            return False
    if quantity is gold:
        return (
            not quantity.unit.binding
            and quantity.unit.factor == 1
            and same_amounts(quantity.amount, given, tolerance=tolerance)
        )
    if quantity.unit.factor != 1 or math_units.changes(quantity.unit):
        return False
    return same_amounts(gold, quantity.amount, tolerance=tolerance)


def _scaled(amount: Value, ratio: Fraction) -> Value:
    return replace(amount, value=amount.value * ratio) if isinstance(amount, Number) else amount


def same_clocks(gold: Clock, given: Clock, tolerance: Tolerance) -> bool:
    return gold.minutes == given.minutes


def clock_for_text(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    """18:00 is 6 PM; 6:00 may be either, and is neither's answer."""
    clock = one_of(Clock, gold, given=given)
    other = given if clock is gold else gold
    match = re.fullmatch(r"(\d{1,2}):(\d\d)", compact(other.text))
    if match is None:
        return False
    minutes = 60 * int(match[1]) + int(match[2])
    # a reference without am or pm leaves the half of the day open
    return minutes == clock.minutes or (clock is given and minutes % 720 == clock.minutes % 720 and int(match[1]) <= 12)


def same_based(gold: Based, given: Based, tolerance: Tolerance) -> bool:
    return (gold.digits, gold.base) == (given.digits, given.base)


def based_for_digits(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    """52_8 may be answered by its digits alone, not by its value."""
    return isinstance(gold, Based) and compact(given.text).strip("()").upper() == gold.digits


def same_words(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    one, other = (plain_words(value.words if isinstance(value, Words) else value.text) for value in (gold, given))
    return one == other != ""


def same_terms(gold: Terms, given: Terms, tolerance: Tolerance) -> bool:
    if gold.kind != given.kind or len(gold.terms) != len(given.terms):
        return False
    # 5 to 10 may be a range or a score: only what is surely a ratio may be multiplied
    ratio = any(re.search(r":|ratio|odds", value.text, re.IGNORECASE) for value in (gold, given))
    if ratio and gold.kind == "ratio" and gold.terms[0] and given.terms[0]:
        return all(
            one * given.terms[0] == other * gold.terms[0] for one, other in zip(gold.terms, given.terms, strict=True)
        )
    return gold.terms == given.terms


def terms_for_value(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    """3 to 1 is 3:1 and not 3; 3 out of 5 is 3/5."""
    terms = one_of(Terms, gold, given=given)
    other = given if terms is gold else gold
    if terms.kind == "ratio":
        match = re.fullmatch(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)", compact(other.text))
        return match is not None and same_terms(
            terms, Terms(other.text, "ratio", (Fraction(match[1]), Fraction(match[2]))), tolerance
        )
    if terms.kind == "share" and len(terms.terms) == 2 and terms.terms[1] and isinstance(other, Number):
        return terms.terms[0] / terms.terms[1] * (100 if other.percent else 1) == other.value
    return False


def same_plain(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    if plain(gold.text) == plain(given.text) != "":
        return getattr(gold, "percent", False) == getattr(given, "percent", False)
    if r"\begin" in gold.text and r"\begin" in given.text:
        return _same_cells(matrix_of(gold), matrix_of(given), tolerance=tolerance)
    return same_expressions(expression_of(gold), expression_of(given), how=comparison(gold, given, tolerance=tolerance))


def comparison(gold: Value, given: Value, *, tolerance: Tolerance) -> Comparison:
    decimal = any(getattr(value, "decimal", False) or _has_decimals(value) for value in (gold, given))
    return Comparison(float(tolerance.relative) if decimal else float(EQUAL), float(tolerance.margin))


def _has_decimals(value: Value) -> bool:
    return isinstance(value, Expression) and re.search(r"\d\.\d|\.\d", value.text) is not None


_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3}")  # hours per week is no product of letters
_BRACED_SIGN = re.compile(r"\{(\w)\}")
_MONEY = re.compile(f"[{MONEY}]")


def plain(text: str) -> str:
    r"""The writing without what says nothing: blanks, and braces round one sign.

    >>> plain(r"x^{2} + \frac{1}{23}"), plain(r"\frac{12}{3}")
    ('x^2+\\frac1{23}', '\\frac{12}3')
    """
    return _MONEY.sub("", _BRACED_SIGN.sub(r"\1", compact(text)))


def _same_cells(gold: Matrix | None, given: Matrix | None, *, tolerance: Tolerance) -> bool:
    """Of two sums or products of matrices, worked out."""
    if gold is None or given is None or [len(row) for row in gold.rows] != [len(row) for row in given.rows]:
        return False
    cells = zip(sum(gold.rows, ()), sum(given.rows, ()), strict=True)
    return all(same_plain(one, other, tolerance) for one, other in cells)
