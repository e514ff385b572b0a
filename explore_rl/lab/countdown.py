"""Countdown: reach the target with every number used exactly once and + - * /, and *all* correct answers can be listed.

An answer is an expression in its minimal writing: no spare parentheses, no spaces, no unary minus, no text around it.
The grammar is

    sum     :=  term  { "+" term  |  "-" (term | "(" sum ")") }                       at least one operator
    term    :=  factor { "*" factor  |  "/" (factor | "(" term ")") }
    factor  :=  number  |  "(" sum ")"

where a bracketed sum holds at least two terms, a bracketed term at least two factors, and a term that starts a sum or
follows "+" is not a lone bracketed sum. Brackets therefore stand only where leaving them out would change the meaning,
and every expression has one writing: "5+(3-2)" is refused, "5-(3-2)" is another answer than "5-3+2" (and the same
mode).

Two things are built on it, independently of each other, so that each can be held against the other:
`enumerate_answers` builds every correct answer upwards from the numbers; `parse` reads one answer downwards, and the
verifier uses it.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

# --- levels ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Level:
    """Numbers are drawn from 1..max_number (repeats allowed), targets are whole and in 1..max_target."""

    count: int
    max_number: int
    max_target: int


LEVELS = {2: Level(2, 12, 40), 3: Level(3, 12, 60), 4: Level(4, 12, 100)}

# Every answer lies in exactly one region; the first that fits, in this order.
REGIONS = ("division", "product_of_sum", "common")


def prompt(numbers: Sequence[int], target: int) -> str:
    """The question as the model sees it.

    >>> prompt((7, 3, 12), 24)
    '7 3 12=24:'
    """
    return f"{' '.join(map(str, numbers))}={target}:"


def region(answer: str) -> str:
    """The region of an answer in minimal writing.

    "division": uses "/". "product_of_sum": no division, multiplies a bracketed sum. "common": everything else.

    >>> [region(answer) for answer in ("6/(3-1)", "6*(3-1)", "(3-1)*6", "6-(3-1)")]
    ['division', 'product_of_sum', 'product_of_sum', 'common']
    """
    if "/" in answer:
        return "division"
    return "product_of_sum" if "*(" in answer or ")*" in answer else "common"


# --- upwards: every answer -------------------------------------------------------------------------------------------

# Kinds of expressions, by their outermost operator.
NUMBER = "number"
SUM = "sum"
PRODUCT = "product"


@lru_cache(maxsize=4096)
def _expressions(numbers: tuple[int, ...]) -> tuple[tuple[str, Fraction, str], ...]:
    """Every expression over the sorted multiset, once each: (kind, value, minimal writing).

    An expression is read from the left, so its last outermost operator splits it uniquely into left and right operand.
    """
    if len(numbers) == 1:
        return ((NUMBER, Fraction(numbers[0]), str(numbers[0])),)
    found = []
    for left_numbers, right_numbers in _splits(numbers):
        for left_kind, left_value, left in _expressions(left_numbers):
            # Each operand as it is written beside the operator.
            left_factor = f"({left})" if left_kind == SUM else left
            for right_kind, right_value, right in _expressions(right_numbers):
                right_part = f"({right})" if right_kind == SUM else right
                divisor = right if right_kind == NUMBER else f"({right})"
                if right_kind != SUM:  # a+(b+c) and a+(b-c) have spare brackets
                    found.append((SUM, left_value + right_value, f"{left}+{right}"))
                found.append((SUM, left_value - right_value, f"{left}-{right_part}"))
                if right_kind != PRODUCT:  # a*(b*c) and a*(b/c) have spare brackets
                    found.append((PRODUCT, left_value * right_value, f"{left_factor}*{right_part}"))
                if right_value:
                    found.append((PRODUCT, left_value / right_value, f"{left_factor}/{divisor}"))
    return tuple(found)


def _splits(numbers: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All ways to split a sorted multiset into two ordered, non-empty sub-multisets, each once, both sorted."""
    splits = set()
    for mask in range(1, 2 ** len(numbers) - 1):
        to_the_left = [bool(mask >> i & 1) for i in range(len(numbers))]
        left = itertools.compress(numbers, to_the_left)
        right = itertools.compress(numbers, [not is_left for is_left in to_the_left])
        splits.add((tuple(left), tuple(right)))
    return sorted(splits)


def enumerate_answers(numbers: Sequence[int], target: int) -> list[str]:
    """All correct answers, sorted.

    >>> enumerate_answers((2, 3, 4), 24)
    ['2*3*4', '2*4*3', '3*2*4', '3*4*2', '4*2*3', '4*3*2']
    """
    return list(_answers_by_target(tuple(sorted(numbers))).get(target, ()))


@lru_cache(maxsize=4096)
def _answers_by_target(numbers: tuple[int, ...]) -> dict[int, tuple[str, ...]]:
    """The sorted answers to every target that the sorted multiset can reach."""
    answers: dict[int, list[str]] = {}
    for _, value, writing in _expressions(numbers):
        if value.denominator == 1 and value > 0:
            answers.setdefault(int(value), []).append(writing)
    return {target: tuple(sorted(writings)) for target, writings in answers.items()}


@lru_cache(maxsize=4096)
def _values(numbers: tuple[int, ...]) -> frozenset[Fraction]:
    """Every value that an expression over the sorted multiset takes; far fewer than the expressions."""
    if len(numbers) == 1:
        return frozenset((Fraction(numbers[0]),))
    values = set()
    for left_numbers, right_numbers in _splits(numbers):
        for left, right in itertools.product(_values(left_numbers), _values(right_numbers)):
            values |= {left + right, left - right, left * right}
            if right:
                values.add(left / right)
    return frozenset(values)


def targets(numbers: Sequence[int], level: Level) -> list[int]:
    """The level's targets that the numbers can reach, in ascending order."""
    return sorted(
        int(value)
        for value in _values(tuple(sorted(numbers)))
        if value.denominator == 1 and 0 < value <= level.max_target
    )


# --- downwards: one answer -------------------------------------------------------------------------------------------

_TOKENS = re.compile(r"[1-9][0-9]*|[-+*/()]")


class NotMinimal(ValueError):
    """The text is not an expression in minimal writing; the message says why."""


@dataclass(frozen=True)
class Node:
    """A parsed expression.

    kind: "number", "sum" or "product".
    value: exact, None when it divides by zero.
    plus, minus: the parts of a sum by sign, or of a product by exponent (+1, -1), as canonical writings. Bracketed sums
        inside sums and bracketed products inside products are already flattened. For a number, plus holds its writing.
    """

    kind: str
    value: Fraction | None
    plus: tuple[str, ...]
    minus: tuple[str, ...] = ()

    @property
    def mode(self) -> str:
        """The canonical writing, which is an answer itself.

        Positive parts come before the others, and shorter ones first, then in alphabetical order.
        """
        between, against = ("+", "-") if self.kind == SUM else ("*", "/")
        return between.join(self.plus) + "".join(against + part for part in self.minus)


@dataclass(frozen=True)
class Parsed:
    """What an answer says.

    numbers: those used, sorted.
    value: exact, None on division by zero.
    mode: canonical writing.
    """

    numbers: tuple[int, ...]
    value: Fraction | None
    mode: str


def parse(text: str) -> Parsed:
    """Read an expression in minimal writing.

    Raises NotMinimal for anything else.

    >>> parse("12*(4-3)").mode, parse("(4-3)*12").mode, parse("5-(3-2)").mode
    ('12*(4-3)', '12*(4-3)', '2+5-3')
    """
    node = read(text)
    numbers = sorted(int(token) for token in _TOKENS.findall(text) if token[0].isdigit())
    return Parsed(tuple(numbers), node.value, node.mode)


def read(text: str) -> Node:
    """The outermost node of an expression in minimal writing. Raises NotMinimal for anything else."""
    tokens = _TOKENS.findall(text)
    if "".join(tokens) != text:
        raise NotMinimal("characters that are not part of an expression")
    reader = _Reader(tokens)
    node = reader.sum_or_term()
    if reader.peek() is not None:
        raise NotMinimal(f"unexpected {reader.peek()!r}")
    return node


def mode(answer: str) -> str:
    """The canonical form: what counts as the same solution.

    Sums are signed terms and products factors with exponents +1 or -1, both in any order and flattened. Nothing else is
    equated: x*1 is not x/1, and (a-b)*(c-d) is not (b-a)*(d-c).
    """
    return parse(answer).mode


class _Reader:
    """Recursive descent over the grammar at the top, one method a rule."""

    def __init__(self, tokens: list[str]):
        self.tokens = tokens
        self.position = 0

    def peek(self) -> str | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self) -> Any:
        token = self.peek()
        self.position += 1
        return token

    def sum_or_term(self) -> Node:
        parts = [("+", self.term(bracketed_sum=False))]
        while self.peek() in ("+", "-"):
            sign = self.take()
            parts.append((sign, self.term(bracketed_sum=sign == "-")))
        if len(parts) == 1:
            return parts[0][1]
        return combine(SUM, parts)

    def term(self, bracketed_sum: bool) -> Node:
        """bracketed_sum: whether the term may be nothing but a bracketed sum."""
        parts = [("*", self.factor(bracketed_product=False))]
        while self.peek() in ("*", "/"):
            operator = self.take()
            parts.append((operator, self.factor(bracketed_product=operator == "/")))
        if len(parts) > 1:
            return combine(PRODUCT, parts)
        if parts[0][1].kind == SUM and not bracketed_sum:
            raise NotMinimal("spare brackets")
        return parts[0][1]

    def factor(self, bracketed_product: bool) -> Node:
        token = self.take()
        if token is None:
            raise NotMinimal("ends too early")
        if token[0].isdigit():
            return Node(NUMBER, Fraction(int(token)), (token,))
        if token != "(":
            raise NotMinimal(f"unexpected {token!r}")
        node = self.sum_or_term()
        if self.take() != ")":
            raise NotMinimal("a bracket is not closed")
        if node.kind == NUMBER or (node.kind == PRODUCT and not bracketed_product):
            raise NotMinimal("spare brackets")
        return node


def combine(kind: str, parts: list[tuple[str, Node]]) -> Node:
    """A sum or product of (operator, operand), flattened. The first operator is "+" or "*"."""
    plus: list[str] = []
    minus: list[str] = []
    value: Fraction | None = parts[0][1].value
    for position, (operator, node) in enumerate(parts):
        against = operator in "-/"
        if node.kind == kind:  # flattened: a-(b-c) is +a -b +c
            plus += node.minus if against else node.plus
            minus += node.plus if against else node.minus
        else:
            part = f"({node.mode})" if kind == PRODUCT and node.kind == SUM else node.mode
            (minus if against else plus).append(part)
        if position and value is not None:
            value = _apply(operator, value, right=node.value)
    return Node(kind, value, tuple(sorted(plus, key=_short_first)), tuple(sorted(minus, key=_short_first)))


def _short_first(part: str) -> tuple[int, str]:
    return len(part), part


def _apply(operator: str, left: Fraction, *, right: Fraction | None) -> Fraction | None:
    """`left operator right`; None for a division by zero, here or in `right`."""
    if right is None or (operator == "/" and right == 0):
        return None
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    return left / right


# --- at random: what a base model is pre-trained on -------------------------------------------------------------------


def random_expression(
    numbers: Sequence[int], operators: dict[str, float], *, rng: random.Random
) -> tuple[str, int | None]:
    """One random expression over the numbers in minimal writing, and its value (None unless whole and positive).

    numbers: in any order; a random order and a random binary tree are drawn.
    operators: relative weight of each of "+", "-", "*".
    rng: what is drawn from.
    """
    shuffled = list(numbers)
    rng.shuffle(shuffled)
    cumulative = dict(zip(operators, itertools.accumulate(operators.values()), strict=True))
    _, value, writing = _random_tree(shuffled, cumulative, rng=rng)
    return writing, value if value > 0 else None


def _random_tree(numbers: list[int], operators: dict[str, float], *, rng: random.Random) -> tuple[str, int, str]:
    """A random expression over the numbers in this order: (kind, value, minimal writing).

    operators: cumulative weight of each.
    """
    if len(numbers) == 1:
        return NUMBER, numbers[0], str(numbers[0])
    cut = rng.randrange(1, len(numbers))
    left_kind, left_value, left = _random_tree(numbers[:cut], operators, rng=rng)
    right_kind, right_value, right = _random_tree(numbers[cut:], operators, rng=rng)
    operator = rng.choices(tuple(operators), cum_weights=list(operators.values()))[0]
    if operator == "+":
        return SUM, left_value + right_value, f"{left}+{right}"
    right_part = f"({right})" if right_kind == SUM else right
    if operator == "-":
        return SUM, left_value - right_value, f"{left}-{right_part}"
    left_part = f"({left})" if left_kind == SUM else left
    return PRODUCT, left_value * right_value, f"{left_part}*{right_part}"
