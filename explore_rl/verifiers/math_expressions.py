r"""Whether two expressions are the same, with math-verify's parser and comparison.

Expressions are compared by their value at points chosen from the names of their symbols (equal at all of them: equal,
by Schwartz and Zippel's lemma up to a chance far below 1e-20), which is quicker than simplification and, unlike
rounding to six decimals, tells 3e-10 from 7e-10. What has no value is left to `math_verify.verify`.

Nothing here bounds its own time: run it where it can be killed. Nothing prints an expression, which alone can take for
ever.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

import math_verify
import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, NormalizationConfig, latex2sympy, normalize_latex
from math_verify.grader import should_treat_as_complex
from sympy.core.function import AppliedUndef

from explore_rl.verifiers.math_values import Expression, Number, Relation, Value

POINTS = 4  # at which expressions are compared, each with positive and with mixed signs
DIGITS = 40
EQUAL = Fraction(1, 10**25)  # relative; what differs less at 40 digits is the same
_TINY = sympy.Float(10) ** -30  # zero, up to what is lost when terms cancel
_NORMALIZATION = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
_CIRCLE = r"\^\s*\{?\s*\\circ\s*\}?"
_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
# What the parser takes for something else (the gamma function, Euler's number) or cannot read, in names that it can.
_NAMES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\\gamma(?![a-zA-Z])", "g_{amma} "),
        (r"(?<![\\a-zA-Z])E(?=_)", r"\\Xi "),
        (r"\\odot(?![a-zA-Z])", "sun"),
        (r"\\hbar(?![a-zA-Z])", "h_{bar} "),
        (r"[＄£€¥₹]", ""),
    ]
]
_ODD_ROOT = re.compile(r"\\sqrt\s*\[|\^\s*\{\s*(?:\d+\s*/\s*\d*[13579]|\\frac\s*\{\d+\}\s*\{\d*[13579]\})\s*\}")
_WHOLE = (sympy.floor, sympy.ceiling, sympy.factorial, sympy.binomial, sympy.Mod, sympy.Sum, sympy.Product)


@dataclass(frozen=True)
class Comparison:
    """relative, absolute: how far values may differ. renamed: symbols of the answer that stand for others of the
    reference."""

    relative: float = float(EQUAL)
    absolute: float = 0.0
    renamed: tuple[tuple[str, str], ...] = ()


def expression_of(value: Value) -> Any:
    """As a sympy object; None if there is no reading."""
    if isinstance(value, Number):
        number = sympy.Rational(value.value.numerator, value.value.denominator)
        return number / 100 if value.percent else number
    if isinstance(value, Expression) and value.parsed is not None:
        return value.parsed
    return to_sympy(value.text)


def same_expressions(one: Any, other: Any, *, how: Comparison) -> bool:
    if one is None or other is None or not isinstance(one, sympy.Expr) or not isinstance(other, sympy.Expr):
        return _math_verify_says(one, other)
    if _same_values(one, other, how=how):
        return True
    symbols: set[Any] = one.free_symbols | other.free_symbols  # sympy declares them without their name
    imaginary = {symbol: sympy.I for symbol in symbols if symbol.name == "i"}
    return bool(imaginary) and _same_values(_replaced(one, imaginary), _replaced(other, imaginary), how=how)


def _replaced(expression: sympy.Expr, values: dict) -> sympy.Expr:
    return cast(sympy.Expr, expression.xreplace(values))  # sympy declares a Basic


def _same_values(one: sympy.Expr, other: sympy.Expr, *, how: Comparison) -> bool:
    names = _opaque(one) | _opaque(other) | one.free_symbols | other.free_symbols
    if not names:
        one = _exact(one)
        other = _exact(other)
        if isinstance(one, sympy.Rational) and isinstance(other, sympy.Rational) and how.relative <= float(EQUAL):
            return abs(one - other) <= how.absolute
        verdict = _close_values(_value(one, {}), _value(other, {}), how=how)
        return _math_verify_says(one, other) if verdict is None else verdict
    whole = one.has(*_WHOLE) or other.has(*_WHOLE)
    theirs = other.atoms()
    renamed = dict(how.renamed)
    seen = 0
    for point in range(2 * POINTS):
        signs = point >= POINTS
        if signs and whole:
            break
        called = {
            symbol: renamed.get(_name(symbol), _name(symbol)) if symbol in theirs else _name(symbol) for symbol in names
        }
        values = {symbol: _sample(name, point, whole=whole, signs=signs) for symbol, name in called.items()}
        left = _value(one, values)
        right = _value(other, values)
        if signs and (_complex(left) or _complex(right)):  # log n^2 and 2 log n: the same where both are real
            continue
        verdict = _close_values(left, right, how=how)
        if verdict is False:
            return False
        seen += verdict is True
    return seen >= POINTS or _math_verify_says(one, other)


def _exact(value: sympy.Expr) -> sympy.Expr:
    return value if isinstance(value, (sympy.Rational, sympy.Float)) else value.doit()


def _opaque(expression: sympy.Expr) -> set:
    """What has no value of its own, such as u(t) or a derivative: taken as a symbol."""
    return expression.atoms(AppliedUndef, sympy.Derivative)


def _name(symbol: Any) -> str:
    name = symbol.name if isinstance(symbol, sympy.Symbol) else sympy.srepr(symbol)
    return re.sub(r"[\s{}]", "", name)


def _sample(name: str, point: int, *, whole: bool, signs: bool) -> sympy.Expr:
    """A value for a symbol that depends on its name only, so that both expressions get the same. A Float: powers of
    fractions explode."""
    digest = int.from_bytes(hashlib.sha256(f"{name}/{point}".encode()).digest()[:6], "big")
    if whole:
        return sympy.Integer(2 + digest % 7)
    value = sympy.Float(digest % 10**9 + 10**8, DIGITS + 10) / (5 * 10**8)
    return -value if signs and (digest >> 40) % 2 else value


def _value(expression: sympy.Expr, values: dict) -> sympy.Expr | None:
    try:
        replaced = _replaced(expression, values)
        result = sympy.N(replaced.doit() if expression.has(sympy.Sum, sympy.Product) else replaced, DIGITS)
    except (TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError):
        return None
    return result if result.is_number and result.is_finite else None


def _complex(value: Any) -> bool:
    return value is None or value.is_real is not True


def _close_values(one: Any, other: Any, *, how: Comparison) -> bool | None:
    if one is None or other is None:
        return None
    difference = sympy.Abs(sympy.N(one - other, DIGITS))
    size = sympy.Abs(one)
    if not (difference.is_number and size.is_number):
        return None
    if size < _TINY:
        return bool(difference < _TINY) or bool(difference <= how.absolute)
    return bool(difference <= max(how.relative * size, how.absolute))


def same_equations(gold: Relation, given: Relation) -> bool:
    """The same up to a constant factor, once denominators are multiplied out: (left - right) has the same quotient at
    all points."""
    one = _difference(gold)
    other = _difference(given)
    if one is None or other is None:
        return False
    if _same_quotient(one, other):
        return True
    cleared = [sympy.numer(sympy.together(difference)) for difference in (one, other)]
    return cleared != [one, other] and _same_quotient(*cleared)


def _difference(relation: Relation) -> sympy.Expr | None:
    sides = [to_sympy(side.text) for side in relation.sides]
    return sides[0] - sides[1] if all(isinstance(side, sympy.Expr) for side in sides) else None


def _same_quotient(one: sympy.Expr, other: sympy.Expr) -> bool:
    names = _opaque(one) | _opaque(other) | one.free_symbols | other.free_symbols
    ratio = None
    for point in range(POINTS):
        values = {symbol: _sample(_name(symbol), point, whole=False, signs=False) for symbol in names}
        left = _value(one, values)
        right = _value(other, values)
        if left is None or right is None or abs(right) < _TINY or abs(left) < _TINY:
            return False
        if ratio is None:
            ratio = left / right
        elif not _close_values(ratio, left / right, how=Comparison()):
            return False
    return ratio is not None and bool(names)


def _math_verify_says(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return False
    return math_verify.verify(one, other, timeout_seconds=None, raise_on_error=True)


@lru_cache(maxsize=4096)
def to_sympy(latex: str) -> Any:
    """What math-verify's LaTeX parser makes of an expression, with R and r kept apart; None if it cannot read it or it
    has no meaning (1/0)."""
    roots = _ODD_ROOT.search(latex) is not None
    if r"\circ" in latex:
        latex = _degrees(latex)
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
    except Exception:  # noqa: BLE001 - the parser raises bare Exceptions, and whatever sympy raises on nonsense
        return None
    if isinstance(parsed, sympy.Basic) and parsed.has(sympy.zoo, sympy.nan):
        return None
    return _real_roots(parsed) if roots and isinstance(parsed, sympy.Expr) else parsed


def _degrees(latex: str) -> str:
    r"""Inside sin, cos and tan an angle in degrees becomes one in radians; elsewhere the sign is left out."""
    if not _TRIGONOMETRY.search(latex):
        return re.sub(_CIRCLE, "", latex)
    latex = re.sub(rf"(\d+(?:\.\d+)?|\\[a-z]+|[a-z])\s*{_CIRCLE}", r"{\\frac{\1\\pi}{180}}", latex)
    return re.sub(rf"([)}}])\s*{_CIRCLE}", r"\1\\cdot\\frac{\\pi}{180}", latex)


def _real_roots(expression: sympy.Expr) -> sympy.Expr:
    r"""\sqrt[3]{-8} is -2, not the complex root that sympy means."""

    def is_odd_root(power: sympy.Basic) -> bool:
        return (
            isinstance(power, sympy.Pow)
            and isinstance(power.exp, sympy.Rational)
            and power.exp.q % 2 == 1
            and power.exp.q > 1
            and power.base.is_negative is True
        )

    def real(power: sympy.Pow) -> sympy.Expr:
        assert isinstance(power.exp, sympy.Rational)
        return (-1) ** power.exp.p * (-power.base) ** power.exp

    return cast(sympy.Expr, expression.replace(is_odd_root, real))  # sympy declares a Basic
