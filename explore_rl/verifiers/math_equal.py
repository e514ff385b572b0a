r"""Whether two answers are the same: one rule for each type, and across types only the rules that ACROSS writes down.

    >>> from explore_rl.verifiers.math_forms import parse
    >>> def met(gold, given): return same(parse(gold), parse(given), tolerance=Tolerance())
    >>> met("(1,2)", "x=1, y=2"), met("[1,3]", r"\{1,3\}"), met("5 m", "500 cm"), met("x>2", r"(2,\infty)")
    (True, False, True, True)

docs/verifiers.md has the table of what is equal and what is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

from explore_rl.verifiers.math_dress import compact
from explore_rl.verifiers.math_expressions import (
    Comparison,
    expression_of,
    same_equations,
    same_expressions,
    to_sympy,
)
from explore_rl.verifiers.math_keys import in_order_of_labels, key
from explore_rl.verifiers.math_matrices import matrix_of
from explore_rl.verifiers.math_scalars import (
    Tolerance,
    based_for_digits,
    clock_for_text,
    comparison,
    quantity_for_value,
    same_based,
    same_clocks,
    same_numbers,
    same_plain,
    same_quantities,
    same_terms,
    same_words,
    terms_for_value,
)
from explore_rl.verifiers.math_sets import real_set
from explore_rl.verifiers.math_values import (
    Assignments,
    Based,
    Chain,
    Clock,
    Expression,
    Labelled,
    Listing,
    Matrix,
    Number,
    Phrase,
    Piece,
    Quantity,
    RealSet,
    Relation,
    Sequence,
    SetOperation,
    Terms,
    Value,
    Words,
    one_of,
)


def same(gold: Value, given: Value, *, tolerance: Tolerance) -> bool:
    """Whether `given` answers what `gold` answers. Not symmetric: what the reference states (a label, a unit, a
    tolerance) counts."""
    if type(gold) is type(given):
        return _OF_ONE_TYPE[type(gold)](gold, given, tolerance)
    return any(rule(gold, given, tolerance) for rule in _rules(type(gold), type(given)))


@cache
def _rules(gold: type, given: type) -> tuple[Rule, ...]:
    return tuple(rule for golds, givens, rule in ACROSS if issubclass(gold, golds) and issubclass(given, givens))


# --- several values --------------------------------------------------------------------------------------------------


def _same_listings(gold: Listing, given: Listing, tolerance: Tolerance) -> bool:
    golds, givens = gold.parts, given.parts
    if _told_apart(golds, givens) or _told_apart(givens, golds):
        return _in_order(golds, givens, tolerance=tolerance)
    if len(golds) == len(givens):
        if _matched(golds, givens, tolerance):
            return True
    else:  # a double root may be named once, a value be written in two ways
        once = _distinct(golds), _distinct(givens)
        if len(once[0]) == len(once[1]) and _matched(*once, tolerance):
            return True
    return (_intervals(gold) or _intervals(given)) and _same_real_sets(gold, given, tolerance)


def _told_apart(parts: tuple[Value, ...], bare: tuple[Value, ...]) -> bool:
    """3 boys, 2 girls: words give values an order for an answer that leaves them out."""
    if len(parts) < 2 or not all(isinstance(part, Quantity) and part.unit.words for part in parts):
        return False
    units = {part.unit.words for part in parts if isinstance(part, Quantity)}
    return len(units) == len(parts) and all(isinstance(part, Number) for part in bare)


def _intervals(listing: Listing) -> bool:
    return any(isinstance(part, (Sequence, RealSet)) for part in listing.parts) and not listing.braces


def _matched(golds: tuple[Value, ...], givens: tuple[Value, ...], tolerance: Tolerance) -> bool:
    left = list(givens)
    for index, gold in enumerate(golds):
        match = next((i for i, given in enumerate(left) if same(gold, given, tolerance=tolerance.part(index))), None)
        if match is None:
            return False
        left.pop(match)
    return not left


def _distinct(parts: tuple[Value, ...]) -> tuple[Value, ...]:
    return tuple({key(part): part for part in parts}.values())


def _in_order(golds: tuple[Value, ...], givens: tuple[Value, ...], *, tolerance: Tolerance) -> bool:
    if len(golds) != len(givens):
        return False
    return all(
        same(gold, given, tolerance=tolerance.part(i))
        for i, (gold, given) in enumerate(zip(golds, givens, strict=True))
    )


def _same_phrases(gold: Phrase, given: Phrase, tolerance: Tolerance) -> bool:
    return gold.words == given.words and _in_order(gold.parts, given.parts, tolerance=tolerance)


def _one_of_a_list(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    """A list of one value, or of one value twice, is that value."""
    golds, givens = (_distinct(value.parts) if isinstance(value, Listing) else (value,) for value in (gold, given))
    return len(golds) == len(givens) == 1 and same(golds[0], givens[0], tolerance=tolerance)


def _same_sequences(gold: Sequence, given: Sequence, tolerance: Tolerance) -> bool:
    if len(gold.parts) == 2 and gold.brackets != given.brackets:  # an interval's ends
        return False
    return _in_order(gold.parts, given.parts, tolerance=tolerance)


def _sequence_for_listing(gold: Listing | Sequence, given: Listing | Sequence, tolerance: Tolerance) -> bool:
    """Three values or more are no interval: brackets round a plain list do not count, nor do they where they were
    forgotten.

    A set in braces has no order, so neither answers the other.
    """
    listing, sequence = one_of(Listing, gold, given=given), one_of(Sequence, gold, given=given)
    if len(sequence.parts) < 3 or sequence.brackets not in ("()", "[]") or listing.braces:
        return False
    if listing is gold:
        return not any(isinstance(part, Sequence) for part in listing.parts) and _matched(
            listing.parts, sequence.parts, tolerance
        )
    return _in_order(sequence.parts, listing.parts, tolerance=tolerance)


def _same_assignments(gold: Assignments, given: Assignments, tolerance: Tolerance) -> bool:
    theirs = dict(given.pairs)
    if len(theirs) != len(gold.pairs) or any(name not in theirs for name, _ in gold.pairs):
        return False
    return all(same(value, theirs[name], tolerance=tolerance.part(i)) for i, (name, value) in enumerate(gold.pairs))


_Several = Assignments | Sequence | Listing | Matrix


def _assignments_for_values(gold: _Several, given: _Several, tolerance: Tolerance) -> bool:
    """Values without labels answer values with labels in the order of the labels, if they have an order."""
    golds, givens = (_ordered(value) for value in (gold, given))
    return golds is not None and givens is not None and _in_order(golds, givens, tolerance=tolerance)


def _ordered(value: _Several) -> tuple[Value, ...] | None:
    if isinstance(value, Assignments):
        return tuple(part for _, part in in_order_of_labels(value.pairs))
    if isinstance(value, Matrix):
        sequence = _vector(value)
        return sequence.parts if sequence else None
    if isinstance(value, Sequence):
        return value.parts if value.brackets == "()" or (value.brackets == "[]" and len(value.parts) > 2) else None
    return None if value.braces else value.parts


# --- labels, equations, chains ---------------------------------------------------------------------------------------


def _same_labelled(gold: Labelled, given: Labelled, tolerance: Tolerance) -> bool:
    if gold.label and given.label and gold.label != given.label and not (gold.worded or given.worded):
        if (gold.label, given.variable) == ("y", "x") or (given.label, gold.variable) == ("y", "x"):  # y is f(x)
            return not (gold.variable and given.variable) and same(gold.value, given.value, tolerance=tolerance)
        return _as_equations(gold, given, tolerance)
    one, other = gold.value, given.value
    if (
        gold.variable
        and given.variable
        and gold.variable != given.variable
        and "," not in gold.variable + given.variable
    ):
        return same(one, _renamed(other, given.variable, new=gold.variable), tolerance=tolerance)
    return same(one, other, tolerance=tolerance)


@dataclass(frozen=True)
class _Renamed(Value):
    """An expression in which one symbol stands for another: f(n) = n is f(x) = x."""

    value: Value = Value()
    old: str = ""
    new: str = ""


def _renamed(value: Value, old: str, *, new: str) -> Value:
    if isinstance(value, Listing):
        return replace(value, parts=tuple(_renamed(part, old, new=new) for part in value.parts))
    return _Renamed(value.text, value, old, new) if isinstance(value, (Expression, Quantity)) else value


def _same_renamed(gold: Value, given: _Renamed, tolerance: Tolerance) -> bool:
    how = comparison(gold, given.value, tolerance=tolerance)
    how = replace(how, renamed=((given.old, given.new),))
    return same_expressions(expression_of(gold), to_sympy(given.text), how=how)


def _label_left_out(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    one, other = (value.value if isinstance(value, Labelled) else value for value in (gold, given))
    return same(one, other, tolerance=tolerance)


def _as_equations(gold: Labelled | Relation, given: Labelled | Relation, tolerance: Tolerance) -> bool:
    """y = 2x + 1 is an equation where the other side is one; an equation between letters, not a value for one."""
    one, other = _equation(gold), _equation(given)
    return one is not None and other is not None and same_equations(one, other)


def _equation(value: Labelled | Relation) -> Relation | None:
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


def _same_relations(gold: Relation, given: Relation, tolerance: Tolerance) -> bool:
    if _written(gold) == _written(given):
        return True
    if gold.operators == given.operators and gold.operators in (("=",), (r"\neq",)):
        return _written(gold) == _written(given, turned=True) or same_equations(gold, given)
    if gold.operators == given.operators and all(
        same_plain(one, other, tolerance) for one, other in zip(gold.sides, given.sides, strict=True)
    ):
        return True
    return _same_real_sets(gold, given, tolerance)


def _written(relation: Relation, turned: bool = False) -> tuple[str, ...]:
    sides = tuple(compact(side.text) for side in relation.sides)
    return relation.operators + (sides[::-1] if turned else sides)


def _chain(gold: Value, given: Value, tolerance: Tolerance) -> bool:
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
    return all(same(gold, side, tolerance=near) or _near(gold, side, tolerance=near) for side in given.sides)


def _near(gold: Value, side: Value, *, tolerance: Tolerance) -> bool:
    how = Comparison(float(tolerance.relative))
    return same_expressions(_constant(gold), _constant(side), how=how)


def _constant(value: Value):
    return _constant(value.amount) if isinstance(value, Quantity) else expression_of(value)


def _both_sides(gold: Value, given: Relation, tolerance: Tolerance) -> bool:
    """2(x+1) = 2x+2 for 2x+2: an identity both sides of which are the answer."""
    return given.operators == ("=",) and all(same_plain(gold, side, tolerance) for side in given.sides)


# --- sets and matrices -----------------------------------------------------------------------------------------------


def _same_real_sets(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    one, other = real_set(gold), real_set(given)
    if one is None or other is None or len(one.pieces) != len(other.pieces):
        return False
    left = list(other.pieces)
    for piece in one.pieces:
        match = next((their for their in left if _same_pieces(piece, their, tolerance=tolerance)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_pieces(gold: Piece, given: Piece, *, tolerance: Tolerance) -> bool:
    return (
        gold.brackets == given.brackets
        and same(gold.left, given.left, tolerance=tolerance)
        and same(gold.right, given.right, tolerance=tolerance)
    )


def _solved_for_label(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    """x < 1 and -x > -1: the same set, of the same letter."""
    labelled, relation = one_of(Labelled, gold, given=given), one_of(Relation, gold, given=given)
    letters = {letter for side in relation.sides for letter in re.findall(r"(?<![\\A-Za-z])[A-Za-z]", side.text)}
    return letters == {labelled.label} and _same_real_sets(gold, given, tolerance)


def _same_matrices(gold: Matrix, given: Matrix, tolerance: Tolerance) -> bool:
    shapes = [[len(row) for row in matrix.rows] for matrix in (gold, given)]
    if shapes[0] != shapes[1]:
        one, other = _vector(gold), _vector(given)
        return one is not None and other is not None and _in_order(one.parts, other.parts, tolerance=tolerance)
    return all(_in_order(one, other, tolerance=tolerance) for one, other in zip(gold.rows, given.rows, strict=True))


def _vector(matrix: Matrix) -> Sequence | None:
    if all(len(row) == 1 for row in matrix.rows):
        return Sequence(matrix.text, tuple(row[0] for row in matrix.rows))
    return Sequence(matrix.text, matrix.rows[0]) if len(matrix.rows) == 1 else None


def _vector_for_sequence(gold: Sequence | Matrix, given: Sequence | Matrix, tolerance: Tolerance) -> bool:
    """A pair in square brackets is an interval, and so is a half-open one of any length."""
    sequence = one_of(Sequence, gold, given=given)
    if sequence.brackets not in ("()", "[]") or (sequence.brackets == "[]" and len(sequence.parts) == 2):
        return False
    one, other = (_vector(value) if isinstance(value, Matrix) else value for value in (gold, given))
    if one is None or other is None:
        return False
    return _in_order(one.parts, other.parts, tolerance=tolerance)


def _worked_out_matrix(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    """2 times a matrix, a sum of two: worked out, where the other side is a matrix."""
    one, other = (matrix_of(value) for value in (gold, given))
    return one is not None and other is not None and _same_matrices(one, other, tolerance)


# --- which rule for which types --------------------------------------------------------------------------------------

Rule = Callable[[Any, Any, Tolerance], bool]  # of the types that its line of a table names
_OF_ONE_TYPE: dict[type, Rule] = {
    Number: same_numbers,
    Based: same_based,
    Quantity: same_quantities,
    Clock: same_clocks,
    Expression: same_plain,
    Words: same_words,
    Terms: same_terms,
    Phrase: _same_phrases,
    Listing: _same_listings,
    Sequence: _same_sequences,
    RealSet: _same_real_sets,
    SetOperation: _same_real_sets,
    Matrix: _same_matrices,
    Labelled: _same_labelled,
    Assignments: _same_assignments,
    Relation: _same_relations,
    Chain: _chain,
}
_SETS = (RealSet, SetOperation)
# (types of one side, types of the other, rule), for either side being the reference
_EITHER_WAY: list[tuple[tuple, tuple, Rule]] = [
    ((Number,), (Expression,), same_plain),
    ((Quantity,), (Number, Expression), quantity_for_value),
    ((Clock,), (Expression, Number), clock_for_text),
    ((Based,), (Expression, Number, Quantity), based_for_digits),
    ((Words,), (Expression,), same_words),
    ((Words,), (Quantity, Phrase), same_words),
    ((Terms,), (Number, Expression), terms_for_value),
    (
        (Labelled,),
        (Number, Based, Quantity, Clock, Expression, Words, Terms, Phrase, Listing, Sequence, Matrix, *_SETS),
        _label_left_out,
    ),
    ((Labelled,), (Relation,), _as_equations),
    ((Labelled,), (Relation,), _solved_for_label),
    ((Assignments,), (Sequence, Listing, Matrix), _assignments_for_values),
    ((Sequence,), (Listing,), _sequence_for_listing),
    ((Sequence,), (Matrix,), _vector_for_sequence),
    ((Expression,), (Matrix,), _worked_out_matrix),
    (_SETS, (Sequence, Relation, Listing, *_SETS), _same_real_sets),
    ((Sequence,), (Relation,), _same_real_sets),
    (
        (Listing,),
        (Number, Quantity, Expression, Words, Sequence, Assignments, Labelled, Relation, Matrix),
        _one_of_a_list,
    ),
]
ACROSS: list[tuple[tuple, tuple, Rule]] = [
    *_EITHER_WAY,
    *((givens, golds, rule) for golds, givens, rule in _EITHER_WAY),
    # only where the answer is of the second kind
    ((Expression, Number), (Relation,), _both_sides),
    ((Value,), (Chain,), _chain),
    ((Chain,), (Value,), _chain),
    ((Expression, Number, Quantity), (_Renamed,), _same_renamed),
]
