"""What a mathematical answer can be: one type a kind of thing. `math_forms` reads answers into these, `math_equal`
compares them."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

from explore_rl.verifiers.math_units import Unit


@dataclass(frozen=True)
class Value:
    """text: the answer as LaTeX, undressed."""

    text: str = ""


@dataclass(frozen=True)
class Number(Value):
    """decimal: written with a decimal point or in scientific notation. percent: with a percent sign."""

    value: Fraction = Fraction(0)
    decimal: bool = False
    percent: bool = False


@dataclass(frozen=True)
class Based(Value):
    """A number in another base: its digits in capitals, and the base."""

    digits: str = ""
    base: int = 10


@dataclass(frozen=True)
class Quantity(Value):
    """A number or expression with what stands behind it.

    amount: the number or expression.
    unit: what it is of.
    plain: the unit is written without text or roman type, so `5 m` may also be five times m.
    compound: how many of each unit one of the first is, where several are added (2 hours 30 minutes); `amount`
        is in the first of them.
    """

    amount: Value = field(default_factory=Value)
    unit: Unit = field(default_factory=Unit)
    plain: bool = False
    compound: tuple[Fraction, ...] = ()


@dataclass(frozen=True)
class Clock(Value):
    """A time of day, in minutes after midnight."""

    minutes: int = 0


@dataclass(frozen=True)
class Expression(Value):
    """parsed: a sympy object, where it is known already (a cell of a sum of matrices)."""

    parsed: Any = field(default=None, compare=False)


@dataclass(frozen=True)
class Words(Value):
    """words: in lower case, without punctuation."""

    words: str = ""


@dataclass(frozen=True)
class Terms(Value):
    """Numbers in order. kind: "ratio" (3 to 1, 1:2:3), "remainder" (7 R 2) or "share" (3 out of 5)."""

    kind: str = "ratio"
    terms: tuple[Fraction, ...] = ()


@dataclass(frozen=True)
class Phrase(Value):
    """Numbers or formulas with words between them ("3 for 2"), each in order."""

    words: tuple[str, ...] = ()
    parts: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Listing(Value):
    """Several values in no order: a list, or, in braces, a set."""

    parts: tuple[Value, ...] = ()
    braces: bool = False


@dataclass(frozen=True)
class Sequence(Value):
    """Several values in order, in brackets "()", "[]", "(]" or "[)". One of two values may be a pair or an interval."""

    parts: tuple[Value, ...] = ()
    brackets: str = "()"


@dataclass(frozen=True)
class Piece:
    """One interval. brackets as in Sequence; a single point is [a, a]."""

    left: Value
    right: Value
    brackets: str


@dataclass(frozen=True)
class RealSet(Value):
    """Intervals and points, in order where they are numbers."""

    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Matrix(Value):
    rows: tuple[tuple[Value, ...], ...] = ()


@dataclass(frozen=True)
class Labelled(Value):
    """`x = 5`, `f(n) = n`.

    label: "x", "f".
    variable: "n" in the latter.
    value: what stands on the right.
    worded: the label is a word, such as "Area".
    """

    label: str = ""
    variable: str = ""
    value: Value = field(default_factory=Value)
    worded: bool = False


@dataclass(frozen=True)
class Assignments(Value):
    """`x = 1, y = 2`, `(x, y) = (1, 2)`: labels, each once, with their values, as written."""

    pairs: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True)
class Relation(Value):
    r"""operators: of =, <, \\leq, \\neq, turned so that none is > or \\geq. sides: one more than operators."""

    operators: tuple[str, ...] = ()
    sides: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Chain(Value):
    r"""`5 + 5 = 10`, `\\frac12 \\approx 0.5`: one value, written several times, the last time last."""

    sides: tuple[Value, ...] = ()


@dataclass(frozen=True)
class SetOperation(Value):
    """Sets joined by "or" (union), "and" (intersection) or "without" (difference), not yet worked out."""

    operator: str = "or"
    parts: tuple[Value, ...] = ()


_Kind = TypeVar("_Kind", bound=Value)


def one_of(kind: type[_Kind], gold: Value, *, given: Value) -> _Kind:
    """The side that is of this kind, for a rule that holds whichever side is the reference; the reference if both
    are."""
    if isinstance(gold, kind):
        return gold
    assert isinstance(given, kind)
    return given
