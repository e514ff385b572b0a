r"""Whether two answers are the same: one rule for each type, and across types only the rules that ACROSS writes down.

    >>> from explore_rl.verifiers.math_forms import parse
    >>> from explore_rl.verifiers.math_scalars import Tolerance
    >>> def met(gold, given): return same(parse(gold), parse(given), tolerance=Tolerance())
    >>> met("(1,2)", "x=1, y=2"), met("[1,3]", r"\{1,3\}"), met("5 m", "500 cm"), met("x>2", r"(2,\infty)")
    (True, False, True, True)

docs/verifiers.md has the table of what is equal and what is not.
"""

from __future__ import annotations

from explore_rl.verifiers.math_same import ACROSS, OF_ONE_TYPE, Rule, same
from explore_rl.verifiers.math_scalars import (
    abbreviated,
    based_for_digits,
    clock_for_text,
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
from explore_rl.verifiers.math_several import (
    assignments_for_values,
    indexed_for_values,
    one_of_a_list,
    one_value_for_all,
    rows_for_matrix,
    same_assignments,
    same_listings,
    same_matrices,
    same_phrases,
    same_real_sets,
    same_sequences,
    sequence_for_listing,
    vector_for_sequence,
    worked_out_matrix,
)
from explore_rl.verifiers.math_stated import (
    Renamed,
    as_equations,
    both_sides,
    label_left_out,
    same_chains,
    same_labelled,
    same_relations,
    same_renamed,
    solved_for_label,
)
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
    Quantity,
    RealSet,
    Relation,
    Sequence,
    SetOperation,
    Terms,
    Value,
    Words,
)

__all__ = ["same"]  # asked here, it has all its rules

OF_ONE_TYPE.update(
    {
        Number: same_numbers,
        Based: same_based,
        Quantity: same_quantities,
        Clock: same_clocks,
        Expression: same_plain,
        Words: same_words,
        Terms: same_terms,
        Phrase: same_phrases,
        Listing: same_listings,
        Sequence: same_sequences,
        RealSet: same_real_sets,
        SetOperation: same_real_sets,
        Matrix: same_matrices,
        Labelled: same_labelled,
        Assignments: same_assignments,
        Relation: same_relations,
        Chain: same_chains,
    }
)
_SETS = (RealSet, SetOperation)
# (types of one side, types of the other, rule), for either side being the reference
_EITHER_WAY: list[tuple[tuple, tuple, Rule]] = [
    ((Number,), (Expression,), same_plain),
    ((Quantity,), (Number, Expression), quantity_for_value),
    ((Clock,), (Expression, Number), clock_for_text),
    ((Based,), (Expression, Number, Quantity), based_for_digits),
    ((Words,), (Expression,), same_words),
    ((Terms,), (Number, Expression), terms_for_value),
    (
        (Labelled,),
        (Number, Based, Quantity, Clock, Expression, Words, Terms, Phrase, Listing, Sequence, Matrix, *_SETS),
        label_left_out,
    ),
    ((Labelled,), (Relation,), as_equations),
    ((Labelled,), (Relation,), solved_for_label),
    ((Assignments,), (Sequence, Listing, Matrix), assignments_for_values),
    ((Sequence,), (Listing,), sequence_for_listing),
    ((Sequence,), (Matrix,), vector_for_sequence),
    ((Sequence,), (Matrix,), rows_for_matrix),
    ((Labelled,), (Assignments,), indexed_for_values),
    ((Expression,), (Matrix,), worked_out_matrix),
    (_SETS, (Sequence, Relation, Listing, *_SETS), same_real_sets),
    ((Sequence,), (Relation,), same_real_sets),
    (
        (Listing,),
        (Number, Quantity, Expression, Words, Sequence, Assignments, Labelled, Relation, Matrix),
        one_of_a_list,
    ),
]
ACROSS += [
    *_EITHER_WAY,
    *((givens, golds, rule) for golds, givens, rule in _EITHER_WAY),
    # only where the answer is of the second kind
    ((Expression, Number), (Relation,), both_sides),
    ((Number,), (Expression,), abbreviated),
    ((Assignments,), (Number, Expression, Quantity), one_value_for_all),
    ((Value,), (Chain,), same_chains),
    ((Chain,), (Value,), same_chains),
    ((Expression, Number, Quantity), (Renamed,), same_renamed),
]
