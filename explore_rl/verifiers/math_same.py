"""Whether two answers are the same, by the rule for their types. `math_equal` fills the tables; the rules ask `same`
about the parts of a value."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from explore_rl.verifiers.math_scalars import Tolerance
from explore_rl.verifiers.math_values import Value

Rule = Callable[[Any, Any, Tolerance], bool]  # of the types that its line of a table names
OF_ONE_TYPE: dict[type, Rule] = {}
# (types of the reference, types of the answer, rule)
ACROSS: list[tuple[tuple, tuple, Rule]] = []


def same(gold: Value, given: Value, *, tolerance: Tolerance) -> bool:
    """Whether `given` answers what `gold` answers. Not symmetric: what the reference states (a label, a unit, a
    tolerance) counts."""
    if type(gold) is type(given):
        return OF_ONE_TYPE[type(gold)](gold, given, tolerance)
    return any(rule(gold, given, tolerance) for rule in _rules(type(gold), type(given)))


@cache
def _rules(gold: type, given: type) -> tuple[Rule, ...]:
    return tuple(rule for golds, givens, rule in ACROSS if issubclass(gold, golds) and issubclass(given, givens))
