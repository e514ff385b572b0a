"""Equality of several values: lists and sets, tuples and intervals, values of labels, sets of reals, matrices."""

from __future__ import annotations

import re

from explore_rl.verifiers.math_keys import in_order_of_labels, key
from explore_rl.verifiers.math_matrices import matrix_of
from explore_rl.verifiers.math_same import same
from explore_rl.verifiers.math_scalars import (
    Tolerance,
)
from explore_rl.verifiers.math_sets import real_set
from explore_rl.verifiers.math_values import (
    Assignments,
    Labelled,
    Listing,
    Matrix,
    Number,
    Phrase,
    Piece,
    Quantity,
    RealSet,
    Sequence,
    Value,
    one_of,
)


def same_listings(gold: Listing, given: Listing, tolerance: Tolerance) -> bool:
    golds = gold.parts
    givens = given.parts
    if _told_apart(golds, givens) or _told_apart(givens, golds):
        return in_order(golds, givens, tolerance=tolerance)
    if len(golds) == len(givens):
        if _matched(golds, givens, tolerance):
            return True
    else:  # a double root may be named once, a value be written in two ways
        once = distinct(golds), distinct(givens)
        if len(once[0]) == len(once[1]) and _matched(*once, tolerance):
            return True
    return (_holds_intervals(gold) or _holds_intervals(given)) and same_real_sets(gold, given, tolerance)


def _told_apart(parts: tuple[Value, ...], bare: tuple[Value, ...]) -> bool:
    """3 boys, 2 girls: words give values an order for an answer that leaves them out."""
    if len(parts) < 2 or not all(isinstance(part, Quantity) and part.unit.words for part in parts):
        return False
    units = {part.unit.words for part in parts if isinstance(part, Quantity)}
    return len(units) == len(parts) and all(isinstance(part, Number) for part in bare)


def _holds_intervals(listing: Listing) -> bool:
    return any(isinstance(part, (Sequence, RealSet)) for part in listing.parts) and not listing.braces


def _matched(golds: tuple[Value, ...], givens: tuple[Value, ...], tolerance: Tolerance) -> bool:
    left = list(givens)
    for index, gold in enumerate(golds):
        match = next((i for i, given in enumerate(left) if same(gold, given, tolerance=tolerance.part(index))), None)
        if match is None:
            return False
        left.pop(match)
    return not left


def distinct(parts: tuple[Value, ...]) -> tuple[Value, ...]:
    return tuple({key(part): part for part in parts}.values())


def in_order(golds: tuple[Value, ...], givens: tuple[Value, ...], *, tolerance: Tolerance) -> bool:
    if len(golds) != len(givens):
        return False
    return all(
        same(gold, given, tolerance=tolerance.part(i))
        for i, (gold, given) in enumerate(zip(golds, givens, strict=True))
    )


def same_phrases(gold: Phrase, given: Phrase, tolerance: Tolerance) -> bool:
    return gold.words == given.words and in_order(gold.parts, given.parts, tolerance=tolerance)


def one_of_a_list(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    """A list of one value, or of one value twice, is that value."""
    golds, givens = (distinct(value.parts) if isinstance(value, Listing) else (value,) for value in (gold, given))
    return len(golds) == len(givens) == 1 and same(golds[0], givens[0], tolerance=tolerance)


def same_sequences(gold: Sequence, given: Sequence, tolerance: Tolerance) -> bool:
    if len(gold.parts) == 2 and gold.brackets != given.brackets:  # an interval's ends
        return False
    return in_order(gold.parts, given.parts, tolerance=tolerance)


def sequence_for_listing(gold: Listing | Sequence, given: Listing | Sequence, tolerance: Tolerance) -> bool:
    """Three values or more are no interval: brackets round a plain list do not count, nor do they where they were
    forgotten.

    A set in braces has no order, so neither answers the other.
    """
    listing = one_of(Listing, gold, given=given)
    sequence = one_of(Sequence, gold, given=given)
    if len(sequence.parts) < 3 or sequence.brackets not in ("()", "[]") or listing.braces:
        return False
    if listing is gold:
        return not any(isinstance(part, Sequence) for part in listing.parts) and _matched(
            listing.parts, sequence.parts, tolerance
        )
    return in_order(sequence.parts, listing.parts, tolerance=tolerance)


def same_assignments(gold: Assignments, given: Assignments, tolerance: Tolerance) -> bool:
    theirs = dict(given.pairs)
    if len(theirs) != len(gold.pairs) or any(name not in theirs for name, _ in gold.pairs):
        return False
    return all(same(value, theirs[name], tolerance=tolerance.part(i)) for i, (name, value) in enumerate(gold.pairs))


def one_value_for_all(gold: Assignments, given: Value, tolerance: Tolerance) -> bool:
    """a = b = 1/3 is answered by 1/3."""
    values = distinct(tuple(value for _, value in gold.pairs))
    return len(values) == 1 and same(values[0], given, tolerance=tolerance)


_Several = Assignments | Sequence | Listing | Matrix


def assignments_for_values(gold: _Several, given: _Several, tolerance: Tolerance) -> bool:
    """Values without labels answer values with labels in the order of the labels, if they have an order."""
    golds, givens = (_in_label_order(value) for value in (gold, given))
    return golds is not None and givens is not None and in_order(golds, givens, tolerance=tolerance)


def _in_label_order(value: _Several) -> tuple[Value, ...] | None:
    if isinstance(value, Assignments):
        return tuple(part for _, part in in_order_of_labels(value.pairs))
    if isinstance(value, Matrix):
        sequence = _vector_of(value)
        return sequence.parts if sequence else None
    if isinstance(value, Sequence):
        return value.parts if value.brackets == "()" or (value.brackets == "[]" and len(value.parts) > 2) else None
    return None if value.braces else value.parts


def same_real_sets(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    one = real_set(gold)
    other = real_set(given)
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


def same_matrices(gold: Matrix, given: Matrix, tolerance: Tolerance) -> bool:
    shapes = [[len(row) for row in matrix.rows] for matrix in (gold, given)]
    if shapes[0] != shapes[1]:
        one = _vector_of(gold)
        other = _vector_of(given)
        return one is not None and other is not None and in_order(one.parts, other.parts, tolerance=tolerance)
    return all(in_order(one, other, tolerance=tolerance) for one, other in zip(gold.rows, given.rows, strict=True))


def _vector_of(matrix: Matrix) -> Sequence | None:
    if all(len(row) == 1 for row in matrix.rows):
        return Sequence(matrix.text, tuple(row[0] for row in matrix.rows))
    return Sequence(matrix.text, matrix.rows[0]) if len(matrix.rows) == 1 else None


def vector_for_sequence(gold: Sequence | Matrix, given: Sequence | Matrix, tolerance: Tolerance) -> bool:
    """A pair in square brackets is an interval, and so is a half-open one of any length."""
    sequence = one_of(Sequence, gold, given=given)
    if sequence.brackets not in ("()", "[]") or (sequence.brackets == "[]" and len(sequence.parts) == 2):
        return False
    one, other = (_vector_of(value) if isinstance(value, Matrix) else value for value in (gold, given))
    if one is None or other is None:
        return False
    return in_order(one.parts, other.parts, tolerance=tolerance)


def rows_for_matrix(gold: Sequence | Matrix, given: Sequence | Matrix, tolerance: Tolerance) -> bool:
    """[[1, 2], [3, 4]]: a matrix row by row."""
    matrix = one_of(Matrix, gold, given=given)
    sequence = one_of(Sequence, gold, given=given)
    rows = [part for part in sequence.parts if isinstance(part, Sequence) and part.brackets in ("[]", "()")]
    if len(rows) < len(sequence.parts) or sequence.brackets not in ("[]", "()"):
        return False
    other = Matrix(sequence.text, tuple(row.parts for row in rows))
    if [len(row) for row in other.rows] != [len(row) for row in matrix.rows]:
        return False
    return same_matrices(*((matrix, other) if matrix is gold else (other, matrix)), tolerance)


def indexed_for_values(gold: Labelled | Assignments, given: Labelled | Assignments, tolerance: Tolerance) -> bool:
    """x_1 = 2, x_2 = 3 for x = 2, 3: an index counts the values of one unknown."""
    values = one_of(Labelled, gold, given=given)
    indexed = one_of(Assignments, gold, given=given)
    if any(not re.fullmatch(rf"{re.escape(values.label)}_?\d{{1,2}}", name) for name, _ in indexed.pairs):
        return False
    listing = Listing(indexed.text, tuple(value for _, value in indexed.pairs))
    one, other = (listing if side is indexed else values.value for side in (gold, given))
    return same(one, other, tolerance=tolerance)


def worked_out_matrix(gold: Value, given: Value, tolerance: Tolerance) -> bool:
    """2 times a matrix, a sum of two: worked out, where the other side is a matrix."""
    one, other = (matrix_of(value) for value in (gold, given))
    return one is not None and other is not None and same_matrices(one, other, tolerance)
