"""Worked countdown and worked evaluation held against brute force, over whole sets of problems.

    python scripts/check_worked.py [--problems 60] [--level-5 4] [--edits 20]

1. Every chain over a problem's numbers is built over the numbers' places, with Python's own arithmetic and with its
   formula; the correct ones have to be exactly those that the enumeration lists.
2. Each verifier judges all these chains and `--edits` random edits of each correct one, and has to accept exactly what
   is listed.
"""

import argparse
import ast
import itertools
import random
import re
import sys
from fractions import Fraction

from explore_rl.lab.families import answers_of
from explore_rl.lab.problems import load
from explore_rl.types import Problem, Status
from explore_rl.verifiers.base import make_verifier


def brute_force(numbers: list[int], target: int) -> tuple[dict[str, set[str]], set[str]]:
    """text -> formulas over the numbers' places, of every chain that comes to the target; and all chains."""
    right: dict[str, set[str]] = {}
    every: set[str] = set()

    def go(items: list[tuple[int, str]], text: str) -> None:
        if len(items) == 1:
            every.add(text[1:])
            if items[0][0] == target:
                right.setdefault(text[1:], set()).add(items[0][1])
            return
        for i, j in itertools.permutations(range(len(items)), 2):
            (a, left), (b, right_) = items[i], items[j]
            rest = [item for k, item in enumerate(items) if k not in (i, j)]
            for operator in "+-*/":
                if operator == "/" and b == 0:
                    continue
                value = {"+": a + b, "-": a - b, "*": a * b, "/": Fraction(a, b or 1)}[operator]
                if value >= 0 and value == int(value):
                    made = (int(value), f"({left}{operator}{right_})")
                    go([*rest, made], f"{text} {a}{operator}{b}={int(value)}")

    go([(number, f"x{place}") for place, number in enumerate(numbers)], "")
    return right, every


def canonical(tree: ast.expr) -> object:
    """A formula up to the order and the bracketing of its sums and products."""
    if not isinstance(tree, ast.BinOp):
        return ast.unparse(tree)
    is_sum = isinstance(tree.op, (ast.Add, ast.Sub))
    parts: list[tuple[int, str]] = []

    def gather(inner: ast.expr, sign: int) -> None:
        if isinstance(inner, ast.BinOp) and isinstance(inner.op, (ast.Add, ast.Sub)) == is_sum:
            gather(inner.left, sign)
            gather(inner.right, -sign if isinstance(inner.op, (ast.Sub, ast.Div)) else sign)
        else:
            parts.append((sign, repr(canonical(inner))))

    gather(tree, 1)
    return is_sum, sorted(parts)


def canonical_of(formula: str) -> object:
    return canonical(ast.parse(formula, mode="eval").body)


def expected(problem: Problem) -> tuple[set[str], set[str]]:
    """The correct chains by brute force, and all chains."""
    if problem.verifier == "worked":
        right, every = brute_force(problem.answer["numbers"], problem.answer["target"])
        return set(right), every
    names = itertools.count()
    expression = problem.answer["expression"]
    numbers = [int(number) for number in re.findall(r"\d+", expression)]
    wanted = canonical_of(re.sub(r"\d+", lambda _: f"x{next(names)}", expression))
    right, every = brute_force(numbers, int(eval(expression)))
    return {text for text, made in right.items() if any(canonical_of(one) == wanted for one in made)}, every


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
