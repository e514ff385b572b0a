"""Sums and differences that are worked out in written steps, in plain English, on one line of 30 to 80 tokens.

    12 + 30 - 7 =       First 12 + 30 = 42. Then 42 - 7 = 35. So the answer is 35

What stands here asks, and works problems out; `explore_rl.verifiers.steps` reads what somebody else wrote. A step takes
two of the values at hand (the problem's numbers at first), and puts their result, a whole number from 0 on, in their
place.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

ANSWER = "So the answer is "  # what stands before the number that a completion ends with


def draw(rng: random.Random, level: Mapping[str, int]) -> tuple[int, ...]:
    """Signed numbers, the first above 0, whose totals from left to right are never below 0."""
    least = max(1, 10 ** (level["digits"] - 1))
    while True:
        sizes = [rng.randint(least, 10 ** level["digits"] - 1) for _ in range(level["terms"])]
        numbers = (sizes[0], *(size * rng.choice((1, -1)) for size in sizes[1:]))
        if all(total >= 0 for total in _totals(numbers)):
            return numbers


def question(numbers: Sequence[int]) -> str:
    """
    >>> question((12, 30, -7))
    '12 + 30 - 7 ='
    """
    return f"{expression(numbers, ' ')} ="


def expression(numbers: Sequence[int], space: str = "") -> str:
    """The sum as a formula; `space` around its signs.

    >>> expression((12, 30, -7))
    '12+30-7'
    """
    parts = [str(numbers[0])]
    for number in numbers[1:]:
        parts += ["-" if number < 0 else "+", str(abs(number))]
    return space.join(parts)


def worked_out(numbers: Sequence[int]) -> list[str]:
    """The problem solved by a program: from left to right, and with what is added before what is taken away.

    >>> worked_out((12, -7, 30))[1]
    'First 12 + 30 = 42. Then 42 - 7 = 35. So the answer is 35'
    """
    added_first = (*(n for n in numbers if n > 0), *(n for n in numbers if n < 0))
    return list(dict.fromkeys([_from_left(numbers), _from_left(added_first)]))


def _from_left(numbers: Sequence[int]) -> str:
    totals = _totals(numbers)
    steps = []
    for i, number in enumerate(numbers[1:]):
        word = "Then" if i else "First"
        steps.append(f"{word} {totals[i]} {'-' if number < 0 else '+'} {abs(number)} = {totals[i + 1]}.")
    return " ".join([*steps, f"{ANSWER}{totals[-1]}"])


def _totals(numbers: Sequence[int]) -> list[int]:
    return [sum(numbers[: i + 1]) for i in range(len(numbers))]
