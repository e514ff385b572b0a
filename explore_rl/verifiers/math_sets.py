r"""Sets of real numbers in whatever notation: intervals, inequalities, unions, differences, conditions. sympy does the
algebra.

    >>> from explore_rl.verifiers.math_forms import parse
    >>> [piece.brackets for piece in real_set(parse(r"\mathbb{R}\setminus\{2\}")).pieces]
    ['()', '()']
    >>> real_set(parse(r"x^2 < 4")).pieces[0].left.value, real_set(parse("5")) is None
    (Fraction(-2, 1), True)
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, cast

import sympy
from sympy.solvers.inequalities import solve_univariate_inequality

from explore_rl.verifiers.math_expressions import expression_of, to_sympy
from explore_rl.verifiers.math_values import (
    Expression,
    Labelled,
    Listing,
    Number,
    Piece,
    RealSet,
    Relation,
    Sequence,
    SetOperation,
    Value,
)

MAX_DEGREE = 4
_OPERATORS = {"<": sympy.StrictLessThan, r"\leq": sympy.LessThan, r"\neq": sympy.Ne}


def real_set(value: Value) -> RealSet | None:
    """The value as a set of real numbers, its pieces in order where they are numbers; None if it is none.

    A pair in brackets may be an interval; a single number or a list without braces is no set.
    """
    if isinstance(value, Labelled):
        return real_set(value.value)
    if isinstance(value, RealSet) and len(value.pieces) == 1:
        return value
    if isinstance(value, Sequence):
        return RealSet(value.text, (Piece(*value.parts, value.brackets),)) if len(value.parts) == 2 else None
    ends: dict[Any, Value] = {}
    found = _sympy_set(value, ends)
    if found is None:
        return _as_written(value)
    pieces = _pieces(found, ends)
    return None if pieces is None else RealSet(value.text, pieces)


def _as_written(value: Value) -> RealSet | None:
    """Intervals whose ends cannot be compared (parameters) stay as they are; a union of them too."""
    if isinstance(value, RealSet):
        return value
    if isinstance(value, SetOperation) and value.operator == "or":
        parts = [real_set(part) for part in value.parts]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            return RealSet(value.text, tuple(piece for part in known for piece in part.pieces))
    return None


def _sympy_set(value: Value, ends: dict[Any, Value]) -> sympy.Set | None:
    """ends: is filled with the ends as they were written, by their sympy value."""
    if isinstance(value, Labelled):
        return _sympy_set(value.value, ends)
    if isinstance(value, RealSet):
        return _union([_interval(piece, ends) for piece in value.pieces])
    if isinstance(value, Sequence):
        return _interval(Piece(*value.parts, value.brackets), ends) if len(value.parts) == 2 else None
    if isinstance(value, Listing):
        if value.braces:
            points = [_end(part, ends) for part in value.parts]
            return None if None in points else sympy.FiniteSet(*points)
        parts = [
            _sympy_set(part, ends) if isinstance(part, (Sequence, RealSet, Labelled)) else None for part in value.parts
        ]
        return _union(parts) if parts else None
    if isinstance(value, Relation):
        return _solved(value)
    if not isinstance(value, SetOperation):
        return None
    parts = [_sympy_set(part, ends) for part in value.parts]
    if None in parts:
        return None
    if value.operator == "or":
        return sympy.Union(*parts)
    return (
        sympy.Intersection(*parts) if value.operator == "and" else sympy.Complement(parts[0], sympy.Union(*parts[1:]))
    )


def _union(parts: list[sympy.Set | None]) -> sympy.Set | None:
    return None if None in parts else sympy.Union(*parts)


def _interval(piece: Piece, ends: dict[Any, Value]) -> sympy.Set | None:
    left = _end(piece.left, ends)
    right = _end(piece.right, ends)
    if left is None or right is None:
        return None
    if right < left or (left == right and piece.brackets != "[]"):  # (2, 1) is a pair
        return None
    return sympy.Interval(left, right, piece.brackets[0] == "(", piece.brackets[1] == ")")


def _end(value: Value, ends: dict[Any, Value]) -> sympy.Expr | None:
    """A number that can be compared; None for a parameter."""
    found = expression_of(value) if isinstance(value, (Number, Expression)) else None
    if not isinstance(found, sympy.Expr) or found.is_extended_real is not True or found.free_symbols:
        return None
    ends.setdefault(found, value)
    return found


def _solved(relation: Relation) -> sympy.Set | None:
    """The solutions of inequalities in one unknown: polynomials of low degree and absolute values.

    1 < |x| < 2 is two of them.
    """
    parts = []
    for place, operator in enumerate(relation.operators):
        left, right = (to_sympy(side.text) for side in relation.sides[place : place + 2])
        parts.append(_solution(operator, left, right=right))
    return None if None in parts else sympy.Intersection(*parts)


def _solution(operator: str, left: Any, *, right: Any) -> sympy.Set | None:
    if operator not in _OPERATORS or not isinstance(left, sympy.Expr) or not isinstance(right, sympy.Expr):
        return None
    symbols = left.free_symbols | right.free_symbols
    if len(symbols) != 1:
        return None
    unknown = sympy.Symbol("x", real=True)
    difference = (left - right).xreplace({symbols.pop(): unknown})
    inner = cast(sympy.Expr, difference.replace(sympy.Abs, lambda argument: argument))  # sympy declares a Basic
    if not inner.is_polynomial(unknown):
        return None
    degree = sympy.degree(inner, unknown)  # pyright: ignore[reportArgumentType]  # not an int only, as its default is
    if degree > MAX_DEGREE or difference.atoms(sympy.Float):
        return None
    try:
        return solve_univariate_inequality(_OPERATORS[operator](difference, 0), unknown, relational=False)
    except NotImplementedError:
        return None


def _pieces(found: sympy.Set, ends: dict[Any, Value]) -> tuple[Piece, ...] | None:
    """The intervals and points of a set; None where sympy could not work it out."""
    if found is sympy.S.EmptySet:
        return ()
    if found is sympy.S.Reals:
        found = sympy.Interval(-sympy.oo, sympy.oo)
    pieces: list[tuple[Any, Piece]] = []  # with their left ends
    for part in found.args if isinstance(found, sympy.Union) else (found,):
        if isinstance(part, sympy.FiniteSet):
            pieces += [(point, Piece(_written(point, ends), _written(point, ends), "[]")) for point in part.args]
        elif isinstance(part, sympy.Interval):
            brackets = ("(" if part.left_open else "[") + (")" if part.right_open else "]")
            pieces.append((part.start, Piece(_written(part.start, ends), _written(part.end, ends), brackets)))
        else:
            return None
    return tuple(piece for _, piece in sorted(pieces, key=lambda entry: float(entry[0])))


def _written(end: Any, ends: dict[Any, Value]) -> Value:
    if end in ends:
        return ends[end]
    if isinstance(end, sympy.Rational):
        return Number(str(end), Fraction(end.p, end.q))
    if end in (sympy.oo, -sympy.oo):
        return Expression(r"\infty" if end == sympy.oo else r"-\infty")
    return Expression(sympy.srepr(end), end)
