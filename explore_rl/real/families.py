"""What is asked of a pretrained model, and every answer that is right: plain lines of arithmetic.

    sum      12 + 30 =              42
    product  12 * 3 =               36
    mixed    12 + 30 - 7 =          35
    gcd      gcd(12, 30) =          6
    pairs    Two numbers that add to 42:   17 + 25   (and 40 others, in 21 modes)
    steps    12 + 30 - 7 =          First 12 + 30 = 42. Then 42 - 7 = 35. So the answer is 35

A completion goes on from the prompt with a space, the answer, and the newline that ends it. The first four have one
answer; of pairs all are listed, and two that differ by their order alone are one mode. `steps` is read step by step
(explore_rl.real.steps): its answers are too many to be listed. Four solved lines with numbers of their own stand above
every question: the shots, the same for all problems of a level.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from explore_rl.real import steps

END = "\n"  # what ends a completion; it belongs to the answer


@dataclass(frozen=True)
class Kind:
    """One family.

    levels: option -> the values that it may have; the first is the default.
    draw: draw(rng, level) -> the numbers of a problem.
    question: the numbers -> the line that is asked.
    answers: the numbers -> all right answers, sorted, without the space before and the newline behind; where they are
        not listed, some.
    commutes: how many of the first numbers may change places without changing the problem.
    is_listed: whether `answers` are all that is right, so that their probability can be added up.
    """

    levels: Mapping[str, tuple[int, ...]]
    draw: Callable[[random.Random, Mapping[str, int]], tuple[int, ...]]
    question: Callable[[tuple[int, ...]], str]
    answers: Callable[[tuple[int, ...]], list[str]]
    commutes: Callable[[tuple[int, ...]], int]
    is_listed: bool = True


def _number(rng: random.Random, digits: int, *, least: int = 1) -> int:
    return rng.randint(max(least, 10 ** (digits - 1)), 10**digits - 1)


def _sum(rng: random.Random, level: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(_number(rng, level["digits"]) for _ in range(level["terms"]))


def _product(rng: random.Random, level: Mapping[str, int]) -> tuple[int, ...]:
    return _number(rng, level["digits"], least=2), _number(rng, level["by"], least=2)


def _mixed(rng: random.Random, level: Mapping[str, int]) -> tuple[int, ...]:
    """a, b and c with a + b - c from 0."""
    while True:
        numbers = tuple(_number(rng, level["digits"]) for _ in range(3))
        if numbers[0] + numbers[1] >= numbers[2]:
            return numbers


def _gcd(rng: random.Random, level: Mapping[str, int]) -> tuple[int, ...]:
    """Two multiples of a common factor, each divisor as likely as its size allows; else nearly all would have 1."""
    while True:
        factor = rng.randint(1, level["most"] // 2)
        rows = level["most"] // factor
        a = factor * rng.randint(1, rows)
        b = factor * rng.randint(1, rows)
        if a != b:
            return a, b


def _pairs(rng: random.Random, level: Mapping[str, int]) -> tuple[int, ...]:
    return (rng.randint(10, level["most"]),)


def _pairs_of(total: int) -> list[str]:
    return sorted(f"{a} + {total - a}" for a in range(1, total))


KINDS = {
    "sum": Kind(
        levels={"terms": (2, 3, 4), "digits": (2, 1, 3, 4)},
        draw=_sum,
        question=lambda numbers: f"{' + '.join(map(str, numbers))} =",
        answers=lambda numbers: [str(sum(numbers))],
        commutes=len,
    ),
    "product": Kind(
        levels={"digits": (2, 1, 3), "by": (1, 2)},
        draw=_product,
        question=lambda numbers: f"{numbers[0]} * {numbers[1]} =",
        answers=lambda numbers: [str(numbers[0] * numbers[1])],
        commutes=len,
    ),
    "mixed": Kind(
        levels={"digits": (2, 1, 3)},
        draw=_mixed,
        question=lambda numbers: f"{numbers[0]} + {numbers[1]} - {numbers[2]} =",
        answers=lambda numbers: [str(numbers[0] + numbers[1] - numbers[2])],
        commutes=lambda numbers: 2,
    ),
    "gcd": Kind(
        levels={"most": (60, 30, 240)},
        draw=_gcd,
        question=lambda numbers: f"gcd({numbers[0]}, {numbers[1]}) =",
        answers=lambda numbers: [str(math.gcd(*numbers))],
        commutes=len,
    ),
    "pairs": Kind(
        levels={"most": (99, 40, 199)},
        draw=_pairs,
        question=lambda numbers: f"Two numbers that add to {numbers[0]}:",
        answers=lambda numbers: _pairs_of(numbers[0]),
        commutes=len,
    ),
    "steps": Kind(
        levels={"terms": (4, 2, 3, 5), "digits": (2, 1)},
        draw=steps.draw,
        question=steps.question,
        answers=steps.worked_out,
        commutes=len,
        is_listed=False,
    ),
}
VERIFIERS = {f"real_{name}": name for name in KINDS}  # a problem's verifier -> its kind


def completions(verifier: str, reference: Mapping[str, Any]) -> list[str]:
    """Every right completion that is listed, sorted: space, answer, newline.

    >>> completions("real_sum", {"numbers": [12, 30]})
    [' 42\\n']
    """
    return [f" {answer}{END}" for answer in KINDS[VERIFIERS[verifier]].answers(tuple(reference["numbers"]))]


def mode(completion: str) -> str:
    """What right completions of one solution share: the numbers, in ascending order.

    >>> mode(" 25 + 17\\n")
    '17 + 25'
    """
    return " + ".join(sorted(completion.strip().split(" + "), key=int))


def same(kind: str, numbers: tuple[int, ...]) -> tuple[int, ...]:
    """The numbers of a problem, those that commute in ascending order: equal for what is the same problem."""
    free = KINDS[kind].commutes(numbers)
    return *sorted(numbers[:free]), *numbers[free:]
