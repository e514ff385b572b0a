r"""Whether two answers are the same: structure by structure, and expression by expression with math-verify's parser and comparison.

Numbers are compared as exact fractions, and expressions by their value at points chosen from the names of their symbols (equal at all
of them: equal, by Schwartz and Zippel's lemma up to a chance far below 1e-20), which is quicker than simplification and, unlike rounding to
six decimals, tells 3e-10 from 7e-10. What has no value is left to `math_verify.verify`.

Nothing here bounds its own time: run it where it can be killed. Nothing prints an expression, which alone can take for ever.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import math_verify
import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, NormalizationConfig, latex2sympy, normalize_latex
from math_verify.grader import should_treat_as_complex
from sympy.core.function import AppliedUndef

from explore_rl.verifiers.math_forms import Form, compact

POINTS = 4  # at which expressions are compared, each with positive and with mixed signs
DIGITS = 40
EQUAL = Fraction(1, 10**25)  # relative; what differs less at 40 digits is the same
_NORMALIZATION = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
# What the parser takes for something else (the gamma function, Euler's number) or cannot read, in names that it can.
_NAMES = [(re.compile(p), r) for p, r in [
    (r"\\gamma(?![a-zA-Z])", "g_{amma} "), (r"(?<![\\a-zA-Z])E(?=_)", r"\\Xi "), (r"\\odot(?![a-zA-Z])", "sun"), (r"\\hbar(?![a-zA-Z])", "h_{bar} "),
]]  # fmt: skip
_UNITS = {
    "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km", "millimeter": "mm", "inch": "in",
    "inche": "in", "feet": "ft", "foot": "ft", "yard": "yd", "mile": "mi", "second": "s", "sec": "s", "minute": "min", "hour": "h", "hr": "h", "day": "day",
    "week": "week", "month": "month", "year": "year", "yr": "year", "cent": "cent", "dollar": "dollar", "gram": "g", "kilogram": "kg",
    "pound": "lb", "ounce": "oz", "liter": "l", "litre": "l", "degree": "degree", "radian": "rad",
}  # fmt: skip


@dataclass(frozen=True)
class Tolerance:
    """A number given with decimals may be off by `relative` of the reference or by `absolute`, whichever is more; one given exactly, by
    `absolute`.

    absolute may hold one value for each part of the reference.
    """

    relative: Fraction = Fraction(1, 10**6)
    absolute: tuple[Fraction, ...] = ()

    def part(self, index: int) -> Tolerance:
        return self if len(self.absolute) <= 1 else replace(self, absolute=self.absolute[index : index + 1])

    @property
    def margin(self) -> Fraction:
        return self.absolute[0] if self.absolute else Fraction(0)


def same(gold: Form, given: Form, tolerance: Tolerance) -> bool:
    """Whether `given` answers what `gold` answers. Not symmetric: what the reference states (a label, a unit, a tolerance) counts."""
    if gold.label and given.label and gold.label != given.label and gold.kind != "tuple":
        return False
    if _units_clash(gold.unit, given.unit):
        return False
    if gold.kind == "list" or given.kind == "list":
        return _same_lists(gold, given, tolerance)
    if gold.kind == "tuple" or given.kind == "tuple":
        return _same_tuples(gold, given, tolerance)
    if gold.kind == "text" or given.kind == "text":
        return _same_texts(gold, given)
    if gold.kind == "relation" or given.kind == "relation":
        return gold.kind == given.kind and _same_relations(gold, given)
    if gold.kind == given.kind == "number":
        return same_numbers(gold, given, tolerance)
    return _same_expressions(gold, given, tolerance)


def same_numbers(gold: Form, given: Form, tolerance: Tolerance) -> bool:
    if gold.percent == given.percent:
        return _close(gold.value, given.value, gold, given, tolerance)
    # "50 %", "50" and "0.5" all answer a question for a percentage; which is asked for, only the reference could tell, and often does not.
    return any(_close(gold.value * g, given.value * p, gold, given, tolerance) for g, p in ((1, 1), (_share(gold), _share(given))))


def _share(form: Form) -> Fraction:
    return Fraction(1, 100) if form.percent else Fraction(1)


def _close(gold: Fraction, given: Fraction, gold_form: Form, given_form: Form, tolerance: Tolerance) -> bool:
    difference = abs(gold - given)
    if difference <= tolerance.margin:
        return True
    exact = not gold_form.decimal and (gold.denominator == 1 or not given_form.decimal)  # 3 is 3; 1/3 may be given as 0.33333333
    return difference <= (0 if exact else tolerance.relative * abs(gold))


def _units_clash(gold: str, given: str) -> bool:
    """Both stated, both known, and not the same: 5 cents is not 5 dollars. Unknown units are not judged."""
    if not gold or not given:
        return False
    powers = [re.search(r"\^\s*\{?\s*(\d)", unit) for unit in (gold, given)]
    if all(powers) and powers[0][1] != powers[1][1]:
        return True
    if gold.startswith("base") or given.startswith("base"):
        return gold != given
    one, other = (_UNITS.get(word, word if word in _UNITS.values() else None) for word in (_unit_word(gold), _unit_word(given)))
    return one is not None and other is not None and one != other


def _unit_word(unit: str) -> str:
    word = re.match(r"[^A-Za-z]*([A-Za-z]*)", unit)[1]
    return word.lower().removesuffix("s") if len(word) > 2 else word


# --- structure ----------------------------------------------------------------------------------------------------------


def _same_lists(gold: Form, given: Form, tolerance: Tolerance) -> bool:
    golds, givens = (form.parts if form.kind == "list" else (form,) for form in (gold, given))
    if gold.kind == "tuple":  # "(1, 2)" answered by "1, 2": in order
        return len(givens) == len(gold.parts) > 1 and _in_order(gold.parts, givens, tolerance)
    if given.kind == "tuple" and gold.kind == "list" and given.brackets in ("()", "[]") and not any(part.kind == "tuple" for part in golds):
        givens = given.parts
    if len(golds) == len(givens) and _matched(golds, givens, tolerance):
        return True
    if len(golds) != len(givens):  # a double root may be named once, a value be written in two ways
        once = [_distinct(parts) for parts in (golds, givens)]
        return len(once[0]) == len(once[1]) and _matched(*once, tolerance)
    return False


def _matched(golds: tuple[Form, ...], givens: tuple[Form, ...], tolerance: Tolerance) -> bool:
    left = list(givens)
    for index, gold in enumerate(golds):
        match = next((i for i, given in enumerate(left) if same(gold, given, tolerance.part(index))), None)
        if match is None:
            return False
        left.pop(match)
    return not left


def _distinct(parts: tuple[Form, ...]) -> tuple[Form, ...]:
    return tuple({key(part): part for part in parts}.values())


def _in_order(golds: tuple[Form, ...], givens: tuple[Form, ...], tolerance: Tolerance) -> bool:
    return all(same(gold, given, tolerance.part(index)) for index, (gold, given) in enumerate(zip(golds, givens)))


def _same_tuples(gold: Form, given: Form, tolerance: Tolerance) -> bool:
    if gold.kind != given.kind or len(gold.parts) != len(given.parts):
        return False
    if len(gold.parts) == 2 and gold.brackets != given.brackets:  # an interval's ends
        return False
    return _in_order(gold.parts, given.parts, tolerance)


def _same_texts(gold: Form, given: Form) -> bool:
    def plain(form: Form) -> str:
        return re.sub(r"[^a-z0-9]", "", re.sub(r"\\[a-z]+", "", form.text.lower()))

    return plain(gold) == plain(given) != ""


# --- expressions --------------------------------------------------------------------------------------------------------


def _same_expressions(gold: Form, given: Form, tolerance: Tolerance) -> bool:
    if _plain(gold.text) == _plain(given.text) != "":
        return gold.percent == given.percent
    if gold.unit.startswith("base") or given.unit.startswith("base"):
        return False
    one, other = map(_expression, (gold, given))
    if one is None or other is None or not isinstance(one, sympy.Expr) or not isinstance(other, sympy.Expr):
        return _math_verify_says(one, other)
    decimal = given.decimal or gold.decimal or bool(one.atoms(sympy.Float) or other.atoms(sympy.Float))
    renamed = {given.variable: gold.variable} if gold.variable and given.variable and "," not in gold.variable + given.variable else {}
    how = _Comparison(float(tolerance.relative) if decimal else float(EQUAL), float(tolerance.margin), renamed)
    if _same_values(one, other, how):
        return True
    imaginary = {symbol: sympy.I for symbol in one.free_symbols | other.free_symbols if symbol.name == "i"}
    return bool(imaginary) and _same_values(one.xreplace(imaginary), other.xreplace(imaginary), how)


def _expression(form: Form) -> Any:
    return _sympy(form.text) if form.kind == "expr" else sympy.Rational(form.value.numerator, form.value.denominator)


def _plain(text: str) -> str:
    return compact(text).replace("{", "").replace("}", "").replace(r"\cdot", "")


@dataclass(frozen=True)
class _Comparison:
    relative: float
    absolute: float
    renamed: dict[str, str]


def _same_values(one: sympy.Expr, other: sympy.Expr, how: _Comparison) -> bool:
    names = _opaque(one) | _opaque(other) | one.free_symbols | other.free_symbols
    if not names:
        one, other = (_exact(value) for value in (one, other))
        if isinstance(one, sympy.Rational) and isinstance(other, sympy.Rational) and how.relative <= float(EQUAL):
            return abs(one - other) <= how.absolute
        verdict = _close_values(_value(one, {}), _value(other, {}), how)
        return _math_verify_says(one, other) if verdict is None else verdict
    whole, theirs = one.has(*_WHOLE) or other.has(*_WHOLE), other.atoms()
    seen = 0
    for point in range(2 * POINTS):
        signs = point >= POINTS
        if signs and whole:
            break
        called = {symbol: how.renamed.get(_name(symbol), _name(symbol)) if symbol in theirs else _name(symbol) for symbol in names}
        values = {symbol: _sample(name, point, whole, signs) for symbol, name in called.items()}
        left, right = _value(one, values), _value(other, values)
        if signs and (_complex(left) or _complex(right)):  # log n^2 and 2 log n: the same where both are real
            continue
        verdict = _close_values(left, right, how)
        if verdict is False:
            return False
        seen += verdict is True
    return seen >= POINTS or _math_verify_says(one, other)


_WHOLE = (sympy.floor, sympy.ceiling, sympy.factorial, sympy.binomial, sympy.Mod, sympy.Sum, sympy.Product)


def _exact(value: sympy.Expr) -> sympy.Expr:
    return value if isinstance(value, (sympy.Rational, sympy.Float)) else value.doit()


def _opaque(expression: sympy.Expr) -> set:
    """What has no value of its own, such as u(t) or a derivative: taken as a symbol."""
    return expression.atoms(AppliedUndef, sympy.Derivative)


def _name(symbol: Any) -> str:
    name = symbol.name if isinstance(symbol, sympy.Symbol) else sympy.srepr(symbol)
    return re.sub(r"[\s{}]", "", name)


def _sample(name: str, point: int, whole: bool, signs: bool) -> sympy.Number:
    """A value for a symbol that depends on its name only, so that both expressions get the same. A Float: powers of fractions explode."""
    digest = int.from_bytes(hashlib.sha256(f"{name}/{point}".encode()).digest()[:6], "big")
    if whole:
        return sympy.Integer(2 + digest % 7)
    value = sympy.Float(digest % 10**9 + 10**8, DIGITS + 10) / (5 * 10**8)
    return -value if signs and (digest >> 40) % 2 else value


def _value(expression: sympy.Expr, values: dict) -> complex | sympy.Expr | None:
    try:
        replaced = expression.xreplace(values)
        result = sympy.N(replaced.doit() if expression.has(sympy.Sum, sympy.Product) else replaced, DIGITS)
    except (TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError):
        return None
    return result if result.is_number and result.is_finite else None


def _complex(value: Any) -> bool:
    return value is None or value.is_real is not True


def _close_values(one: Any, other: Any, how: _Comparison) -> bool | None:
    if one is None or other is None:
        return None
    difference = sympy.Abs(sympy.N(one - other, DIGITS))
    size = sympy.Abs(one)
    if not (difference.is_number and size.is_number):
        return None
    if size < sympy.Float(10) ** -30:  # zero, up to what is lost when terms cancel
        return bool(difference < sympy.Float(10) ** -30) or bool(difference <= how.absolute)
    return bool(difference <= max(how.relative * size, how.absolute))


def _same_relations(gold: Form, given: Form) -> bool:
    if compact(gold.text) == compact(given.text) or _mirrored(gold) == compact(given.text):
        return True
    if gold.operator != given.operator or gold.operator not in ("=", r"\neq"):
        return False
    differences = []
    for form in (gold, given):
        sides = [_sympy(side.text) for side in form.parts]
        if not all(isinstance(side, sympy.Expr) for side in sides):
            return False
        differences.append(sides[0] - sides[1])
    # The same equation up to a constant factor: the quotient of (left - right) is the same at all points.
    one, other = differences
    names = _opaque(one) | _opaque(other) | one.free_symbols | other.free_symbols
    ratio = None
    for point in range(POINTS):
        values = {symbol: _sample(_name(symbol), point, False, False) for symbol in names}
        left, right = _value(one, values), _value(other, values)
        if left is None or right is None or abs(right) < sympy.Float(10) ** -30 or abs(left) < sympy.Float(10) ** -30:
            return False
        if ratio is None:
            ratio = left / right
        elif not _close_values(ratio, left / right, _Comparison(float(EQUAL), 0.0, {})):
            return False
    return ratio is not None


def _mirrored(form: Form) -> str:
    return compact(f"{form.parts[1].text}{form.operator}{form.parts[0].text}") if form.operator == "=" else ""


def _math_verify_says(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return False
    return math_verify.verify(one, other, timeout_seconds=None, raise_on_error=True)


@lru_cache(maxsize=4096)
def _sympy(latex: str) -> Any:
    """What math-verify's LaTeX parser makes of an expression, with R and r kept apart; None if it cannot read it or it has no meaning
    (1/0)."""
    for pattern, name in _NAMES:
        latex = pattern.sub(name, latex)
    latex = normalize_latex(latex, _NORMALIZATION)
    try:
        parsed = latex2sympy(
            latex,
            is_real=not should_treat_as_complex(latex),
            normalization_config=None,
            conversion_config=ConversionConfig(lowercase_symbols=False),
        )
    except (MemoryError, RecursionError):  # these say nothing about the answer
        raise
    except Exception:  # the parser raises bare Exceptions, and whatever sympy raises on nonsense
        return None
    return None if isinstance(parsed, sympy.Basic) and parsed.has(sympy.zoo, sympy.nan) else parsed


# --- one name for equal answers -----------------------------------------------------------------------------------------


def key(form: Form) -> str:
    """A canonical way of writing, as far as it can be had without algebra: numbers as fractions, lists sorted, no blanks."""
    if form.kind == "number" and form.value is not None:
        base = f"_{form.unit.removeprefix('base ')}" if form.unit.startswith("base") else ""
        return f"{form.value}{'%' if form.percent else ''}{base}"
    if form.kind == "list":
        return "{" + ",".join(sorted(key(part) for part in form.parts)) + "}"
    if form.kind == "tuple":
        return form.brackets[0] + ",".join(key(part) for part in form.parts) + form.brackets[1]
    return _plain(form.text)
