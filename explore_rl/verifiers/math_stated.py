"""Equality of what is stated of a value: labels, equations and other relations, chains."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from explore_rl.verifiers.math_dress import compact
from explore_rl.verifiers.math_expressions import (
    Comparison,
    expression_of,
    same_equations,
    same_expressions,
    to_sympy,
)
from explore_rl.verifiers.math_same import same
from explore_rl.verifiers.math_scalars import (
    Tolerance,
    comparison,
    same_plain,
)
from explore_rl.verifiers.math_several import (
    same_real_sets,
)
from explore_rl.verifiers.math_values import (
    Chain,
    Expression,
    Labelled,
    Listing,
    Number,
    Quantity,
    Relation,
    Value,
    one_of,
)

_SAYS_NOTHING = set("answer final result total value solution sum number amount probability chance ways".split())


def _may_be_one(label: str, other: str) -> bool:
    """Whether two labels in words may name the same: area and perimeter do not."""
    one = set(label.split())
    two = set(other.split())
    return bool(one & two or one & _SAYS_NOTHING or two & _SAYS_NOTHING)


_INDEXED = re.compile(r"([A-Za-z])_([a-z])")


def same_labelled(gold: Labelled, given: Labelled, tolerance: Tolerance) -> bool:
    if gold.label and given.label and gold.label != given.label and not (gold.worded or given.worded):
        if (gold.label, given.variable) == ("y", "x") or (given.label, gold.variable) == ("y", "x"):  # y is f(x)
            return not (gold.variable and given.variable) and same(gold.value, given.value, tolerance=tolerance)
        one, other = (_INDEXED.fullmatch(value.label) for value in (gold, given))
        if one and other and one[1] == other[1] and one[2] in gold.value.text:  # a_n = 2n, a_k = 2k
            return same(gold.value, _rename(given.value, other[2], new=one[2]), tolerance=tolerance)
        return as_equations(gold, given, tolerance)
    if gold.worded and given.worded and not _may_be_one(gold.label, given.label):
        return False
    one = gold.value
    other = given.value
    if (
        gold.variable
        and given.variable
        and gold.variable != given.variable
        and "," not in gold.variable + given.variable
    ):
        return same(one, _rename(other, given.variable, new=gold.variable), tolerance=tolerance)
    return same(one, other, tolerance=tolerance)


@dataclass(frozen=True)
class Renamed(Value):
    """An expression in which one symbol stands for another: f(n) = n is f(x) = x."""

    value: Value = Value()
    old: str = ""
    new: str = ""


def _rename(value: Value, old: str, *, new: str) -> Value:
    if isinstance(value, Listing):
        return replace(value, parts=tuple(_rename(part, old, new=new) for part in value.parts))
    return Renamed(value.text, value, old, new) if isinstance(value, (Expression, Quantity)) else value


def same_renamed(gold: Value, given: Renamed, tolerance: Tolerance) -> bool:
    how = comparison(gold, given.value, tolerance=tolerance)
    how = replace(how, renamed=((given.old, given.new),))
    parsed = to_sympy(given.text)
    # f(x) = n is not f(n) = n
    if given.new in {str(symbol.name) for symbol in getattr(parsed, "free_symbols", ())}:
        return False
    return same_expressions(expression_of(gold), parsed, how=how)


def label_left_out(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    one, other = (value.value if isinstance(value, Labelled) else value for value in (gold, given))
    return same(one, other, tolerance=tolerance)


def as_equations(gold: Labelled | Relation, given: Labelled | Relation, tolerance: Tolerance) -> bool:
    """y = 2x + 1 is an equation where the other side is one; an equation between letters, not a value for one."""
    one = _equation_of(gold)
    other = _equation_of(given)
    return one is not None and other is not None and same_equations(one, other)


def _equation_of(value: Labelled | Relation) -> Relation | None:
    if isinstance(value, Relation):
        return value if value.operators == ("=",) else None
    if value.variable or value.worded or not isinstance(value.value, (Expression, Quantity, Number)):
        return None
    if isinstance(value.value, Number):  # y = 3 is y - 3 = 0
        top, bottom = value.value.value.as_integer_ratio()
        return Relation(value.text, ("=",), (Expression(value.label), Expression(rf"\frac{{{top}}}{{{bottom}}}")))
    parsed = to_sympy(value.value.text)
    if not getattr(parsed, "free_symbols", None):
        return None
    return Relation(value.text, ("=",), (Expression(value.label), Expression(value.value.text)))


def same_relations(gold: Relation, given: Relation, tolerance: Tolerance) -> bool:
    if _writing_of(gold) == _writing_of(given):
        return True
    if gold.operators == given.operators and gold.operators in (("=",), (r"\neq",)):
        return _writing_of(gold) == _writing_of(given, turned=True) or same_equations(gold, given)
    if gold.operators == given.operators and all(
        same_plain(one, other, tolerance) for one, other in zip(gold.sides, given.sides, strict=True)
    ):
        return True
    return same_real_sets(gold, given, tolerance)


def _writing_of(relation: Relation, turned: bool = False) -> tuple[str, ...]:
    sides = tuple(compact(side.text) for side in relation.sides)
    return relation.operators + (sides[::-1] if turned else sides)


def same_chains(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    """One value written several times: the last writing is the answer, and the one before a rounding is too. All must
    agree."""
    if isinstance(gold, Chain):
        return any(same(side, given, tolerance=tolerance) for side in gold.sides)
    assert isinstance(given, Chain)  # ACROSS: one side is
    rounded = r"\approx" in given.text
    answers = given.sides if rounded else given.sides[-1:]
    if not any(same(gold, side, tolerance=tolerance) for side in answers):
        return False
    near = replace(tolerance, relative=Fraction(2, 100)) if rounded else tolerance
    return all(same(gold, side, tolerance=near) or _is_near(gold, side, tolerance=near) for side in given.sides)


def _is_near(gold: Value, side: Value, *, tolerance: Tolerance) -> bool:
    how = Comparison(float(tolerance.relative))
    return same_expressions(_constant_of(gold), _constant_of(side), how=how)


def _constant_of(value: Value):
    return _constant_of(value.amount) if isinstance(value, Quantity) else expression_of(value)


def both_sides(gold: Value, given: Relation, tolerance: Tolerance) -> bool:
    """2(x+1) = 2x+2 for 2x+2: an identity both sides of which are the answer."""
    return given.operators == ("=",) and all(same_plain(gold, side, tolerance) for side in given.sides)


def solved_for_label(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    """x < 1 and -x > -1: the same set, of the same letter."""
    labelled = one_of(Labelled, gold, given=given)
    relation = one_of(Relation, gold, given=given)
    letters = {letter for side in relation.sides for letter in re.findall(r"(?<![\\A-Za-z])[A-Za-z]", side.text)}
    return letters == {labelled.label} and same_real_sets(gold, given, tolerance)
