"""Worked countdown and worked evaluation held against brute force, over whole sets of problems.

    python scripts/check_worked.py [--problems 60] [--level-5 4] [--edits 20]

1. Every chain over a problem's numbers is built over the numbers' places, with Python's own arithmetic and with its
   formula; the correct ones have to be exactly those that the enumeration lists.
2. Each verifier judges all these chains and `--edits` random edits of each correct one, and has to accept exactly what
   is listed.
"""

import argparse
import itertools
import random
import re
import sys
from fractions import Fraction

from explore_rl.lab.families import answers_of
from explore_rl.lab.problems import load
from explore_rl.types import Problem, Status
from explore_rl.verifiers.base import make_verifier

POINTS = [Fraction(p, q) for p, q in ((101, 7), (89, 13), (97, 3), (83, 11), (79, 17))]


def brute_force(numbers: list[int]) -> dict[str, set[tuple[int, Fraction | None]]]:
    """text -> (last value, value at the points) of every chain over the numbers."""
    found: dict[str, set[tuple[int, Fraction | None]]] = {}

    def go(items: list[tuple[int, Fraction | None]], text: str) -> None:
        if len(items) == 1:
            found.setdefault(text[1:], set()).add(items[0])
            return
        for i, j in itertools.permutations(range(len(items)), 2):
            (a, at_a), (b, at_b) = items[i], items[j]
            rest = [item for k, item in enumerate(items) if k not in (i, j)]
            for operator in "+-*/":
                if operator == "/" and b == 0:
                    continue
                value = {"+": a + b, "-": a - b, "*": a * b, "/": Fraction(a, b or 1)}[operator]
                if value < 0 or value != int(value):
                    continue
                at = None if at_a is None or at_b is None or (operator == "/" and at_b == 0) else at_a
                if at is not None:
                    at = {"+": at_a + at_b, "-": at_a - at_b, "*": at_a * at_b, "/": at_a / (at_b or 1)}[operator]
                go([*rest, (int(value), at)], f"{text} {a}{operator}{b}={int(value)}")

    go(list(zip(numbers, POINTS, strict=False)), "")
    return found


def expected(problem: Problem) -> tuple[set[str], set[str]]:
    """The correct chains by brute force, and all chains."""
    if problem.verifier == "worked":
        chains = brute_force(problem.answer["numbers"])
        target = problem.answer["target"]
        return {text for text, ends in chains.items() if any(value == target for value, _ in ends)}, set(chains)
    names = itertools.count()
    expression = problem.answer["expression"]
    numbers = [int(number) for number in re.findall(r"\d+", expression)]
    formula = re.sub(r"\d+", lambda _: f"POINTS[{next(names)}]", expression)
    wanted = eval(formula), eval(expression)
    chains = brute_force(numbers)
    right = {text for text, ends in chains.items() if any(at == wanted[0] and v == wanted[1] for v, at in ends)}
    return right, set(chains)


def edited(text: str, rng: random.Random) -> str:
    place = rng.randrange(len(text))
    character = rng.choice("0123456789+-*/= ")
    kind = rng.randrange(4)
    if kind == 3:
        steps = text.split(" ")
        rng.shuffle(steps)
        return " ".join(steps)
    return text[:place] + (character, character, "")[kind] + text[place + (kind != 1) :]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=60, help="of level 4, of each family")
    parser.add_argument("--level-5", type=int, default=4, help="of level 5, of each family")
    parser.add_argument("--edits", type=int, default=20, help="of each correct chain")
    args = parser.parse_args()
    rng = random.Random(0)
    wrong = 0
    for family, (level, size) in itertools.product(
        ("worked", "worked_evaluation"), ((4, args.problems), (5, args.level_5))
    ):
        if not size:
            continue
        verify = make_verifier(family)
        judged = listed = near = 0
        for problem in load(f"lab:{family}?level={level}&split=audit&size={size}"):
            right, chains = expected(problem)
            answers = set(answers_of(problem))
            wrong += answers != right
            texts = chains | {edited(answer, rng) for answer in answers for _ in range(args.edits)}
            for text in texts:
                accepted = verify(text, problem).status is Status.CORRECT
                wrong += accepted != (text in answers)
            judged += len(texts)
            listed += len(answers)
            near += len(texts - chains)
        print(
            f"{family} level {level}: {size} problems, {listed} listed, {judged} texts judged, {near} of them no chain"
        )
    print(f"disagreements: {wrong}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
