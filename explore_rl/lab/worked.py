"""Worked countdown: reach the target in written steps, and *all* correct chains of steps can be listed.

    5 3 10=8:          prompt: use each number exactly once, with + - * /, to reach the target
    10-5=5 3+5=8       one of its correct chains

A chain over n numbers has n - 1 steps. Each step takes two of the values at hand (the prompt's numbers at first), and
puts their result in their place; the last result is the target. The grammar is

    chain   :=  step  { " " step }
    step    :=  value ("+" | "-" | "*" | "/") value "=" value
    value   :=  "0"  |  a digit from 1 to 9, then any digits

and every step is true in whole numbers from 0 on: 3-5 and 7/2 are no steps. So every chain has one writing.

Two equal values cannot be told apart in the text: in "1+2=3 3*4=12" over the numbers 1, 2, 3 and 4 the step 3*4 may use
the number 3 or the result 3. What is said of a chain here is therefore said of its text: its steps as a multiset.

Built independently of each other, so that each can be held against the other: `enumerate_chains` lists every correct
chain from the numbers and the target; `faults` reads one chain, step by step, and the verifier uses it.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from explore_rl.lab.countdown import Level

LEVELS = {4: Level(4, 12, 100), 5: Level(5, 12, 100)}
OPERATORS = "+-*/"

# --- one step --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """`left operator right = result`, as it is written; whether it is true is another question.

    left, right, result: the numbers.
    operator: one of + - * /.
    """

    left: int
    operator: str
    right: int
    result: int

    def __str__(self) -> str:
        return f"{self.left}{self.operator}{self.right}={self.result}"

    @property
    def sorted(self) -> Step:
        """The same step with the operands of a sum or a product in ascending order."""
        if self.operator in "-/" or self.left <= self.right:
            return self
        return replace(self, left=self.right, right=self.left)


def result_of(operator: str, *, left: int, right: int) -> int | None:
    """The whole number from 0 on that `left operator right` is; None where it is none.

    >>> [result_of(operator, left=6, right=4) for operator in "+-*/"], result_of("/", left=0, right=4)
    ([10, 2, 24, None], 0)
    """
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right if left >= right else None
        case "*":
            return left * right
    return left // right if right and left % right == 0 else None


def prompt(numbers: Sequence[int], target: int) -> str:
    """The question as the model sees it, the same as in countdown.

    >>> prompt((7, 3, 12, 1), 24)
    '7 3 12 1=24:'
    """
    return f"{' '.join(map(str, numbers))}={target}:"


# --- forwards: every chain -------------------------------------------------------------------------------------------


@lru_cache(maxsize=1 << 16)
def _moves(values: tuple[int, ...]) -> tuple[tuple[Step, tuple[int, ...]], ...]:
    """Every true step from a sorted multiset of values, once each, with the sorted values that it leaves."""
    moves = {}
    for i, j in itertools.permutations(range(len(values)), 2):
        others = [value for position, value in enumerate(values) if position not in (i, j)]
        for operator in OPERATORS:
            result = result_of(operator, left=values[i], right=values[j])
            if result is not None:
                step = Step(left=values[i], operator=operator, right=values[j], result=result)
                moves[step] = tuple(sorted([*others, result]))
    return tuple(moves.items())


@lru_cache(maxsize=1 << 16)
def chain_counts(values: tuple[int, ...]) -> Counter[int]:
    """How many chains lead from the sorted multiset of values to each last value.

    >>> chain_counts((2, 3))
    Counter({5: 2, 6: 2, 1: 1})
    """
    if len(values) == 1:
        return Counter(values)
    counts: Counter[int] = Counter()
    for _, left in _moves(values):
        counts.update(chain_counts(left))
    return counts


def enumerate_chains(numbers: Sequence[int], target: int) -> list[str]:
    """All correct chains, sorted.

    >>> enumerate_chains((2, 3, 4), 24)[:3], len(enumerate_chains((2, 3, 4), 24))
    (['2*3=6 4*6=24', '2*3=6 6*4=24', '2*4=8 3*8=24'], 12)
    """
    return sorted(_chains(tuple(sorted(numbers)), target))


@lru_cache(maxsize=1 << 14)
def _chains(values: tuple[int, ...], target: int) -> tuple[str, ...]:
    """Every chain from the sorted multiset of values to the target; the empty one where nothing is left to do."""
    if len(values) == 1:
        return ("",) if values[0] == target else ()
    found = []
    for step, left in _moves(values):
        if target in chain_counts(left):
            found += [f"{step} {rest}".rstrip() for rest in _chains(left, target)]
    return tuple(found)


# --- one chain -------------------------------------------------------------------------------------------------------

_VALUE = "(0|[1-9][0-9]{0,8})"  # a right chain has no value of more than six digits
_STEP = re.compile(f"{_VALUE}([-+*/]){_VALUE}={_VALUE}")


class NotAChain(ValueError):
    """The text is not a chain of steps; the message names the step that is none."""


def read(text: str) -> list[Step]:
    """The steps of a chain as they are written, true or not.

    Raises NotAChain for anything else.

    >>> [str(step.sorted) for step in read("4*3=12 12-5=8")]
    ['3*4=12', '12-5=8']
    """
    steps = []
    for number, part in enumerate(text.split(" "), start=1):
        found = _STEP.fullmatch(part)
        if found is None:
            raise NotAChain(f"step {number} is not written as value, operator, value, =, value: {part[:20]!r}")
        left, operator, right, result = found.groups()
        steps.append(Step(left=int(left), operator=operator, right=int(right), result=int(result)))
    return steps


def fault(steps: Sequence[Step], numbers: Sequence[int]) -> str | None:
    """What is wrong with a chain over these numbers, and in which step first; None if nothing is.

    The target is not looked at.

    >>> fault(read("4*3=12 12-5=8"), (3, 4, 5)), fault(read("4*3=12 12-3=9"), (3, 4, 5))
    ('step 2: 12-5=7, not 8', 'step 2: there is no 3 to use')
    """
    at_hand = Counter(numbers)
    for number, step in enumerate(steps, start=1):
        # Each operand is taken away before the next one is looked for, so that 4+4 needs two fours.
        for value in (step.left, step.right):
            if at_hand[value] == 0:
                return f"step {number}: there is no {value} to use"
            at_hand[value] -= 1
        right = result_of(step.operator, left=step.left, right=step.right)
        if right is None:
            return f"step {number}: {step.left}{step.operator}{step.right} is no whole number from 0 on"
        if right != step.result:
            return f"step {number}: {step.left}{step.operator}{step.right}={right}, not {step.result}"
        at_hand[step.result] += 1
    unused = at_hand.total() - 1
    return f"{unused} of the values are left over" if unused else None


def numbers_of(steps: Sequence[Step]) -> Counter[int]:
    """The numbers that a chain starts from: what its steps use, less what its steps but the last one make."""
    used = Counter(value for step in steps for value in (step.left, step.right))
    return used - Counter(step.result for step in steps[:-1])


def mode(chain: str) -> str:
    """The canonical form: what counts as the same solution.

    Steps that do not need each other may stand in any order, and so may the two parts of a sum or a product. Nothing
    else is equated: (a+b)+c and a+(b+c) have other steps. The name is the first of these writings in alphabetical
    order that is a chain itself.

    >>> mode("5+4=9 3-1=2 9*2=18"), mode("3-1=2 4+5=9 2*9=18")
    ('3-1=2 4+5=9 2*9=18', '3-1=2 4+5=9 2*9=18')
    """
    steps = read(chain)
    return _canonical(tuple(sorted(str(step.sorted) for step in steps)), tuple(sorted(numbers_of(steps).elements())))


@lru_cache(maxsize=1 << 16)
def _canonical(parts: tuple[str, ...], numbers: tuple[int, ...]) -> str:
    """The first order of the sorted steps in which every step finds its values."""
    steps = [read(part)[0] for part in parts]
    for order in itertools.permutations(steps):
        if fault(order, numbers) is None:
            return " ".join(map(str, order))
    raise NotAChain(f"{' '.join(parts)}: in no order a chain over {', '.join(map(str, numbers))}")


def region(chain: str) -> str:
    """The region of a chain, which all writings of a mode share.

    "division": a step divides. "product_of_sum": no division, and a step multiplies a value that a sum or a difference
    made. "common": everything else. A product whose two factors stand among the numbers is taken to use these.

    >>> [region(chain) for chain in ("6/2=3 3+1=4", "1+2=3 3*4=12", "4*3=12 12-2=10", "2*3=6 6*4=24")]
    ['division', 'product_of_sum', 'common', 'common']
    """
    steps = read(chain)
    if any(step.operator == "/" for step in steps):
        return "division"
    numbers = numbers_of(steps)
    sums = {step.result for step in steps if step.operator in "+-"}
    for step in steps:
        factors = Counter((step.left, step.right))
        if step.operator == "*" and sums & factors.keys() and not factors <= numbers:
            return "product_of_sum"
    return "common"


# --- at random: what a base model is pre-trained on -------------------------------------------------------------------


def random_chain(numbers: Sequence[int], operators: dict[str, float], *, rng: random.Random) -> list[Step]:
    """A random chain over the numbers: two values and an operator at random for each step.

    numbers: in any order.
    operators: relative weight of each; a step that is no whole number from 0 on is drawn again.
    rng: what is drawn from.
    """
    values = list(numbers)
    names = tuple(operators)
    cumulative = list(itertools.accumulate(operators.values()))
    steps = []
    while len(values) > 1:
        i, j = rng.sample(range(len(values)), 2)
        operator = rng.choices(names, cum_weights=cumulative)[0]
        result = result_of(operator, left=values[i], right=values[j])
        if result is None:
            continue
        steps.append(Step(left=values[i], operator=operator, right=values[j], result=result))
        values = [value for position, value in enumerate(values) if position not in (i, j)] + [result]
    return steps
