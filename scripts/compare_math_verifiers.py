"""The math verifier beside math-verify alone: who is right about which answers, set by set, with every kind of
disagreement.

    python scripts/compare_math_verifiers.py                              # the cases of the tests, 2,000 random pairs
    python scripts/compare_math_verifiers.py --benchmarks FOLDER          # also the public files and near misses
    python scripts/compare_math_verifiers.py --math-verify-tests FOLDER   # also Math-Verify's own tests (its tests/)
    python scripts/compare_math_verifiers.py --pairs 10000 --values 300   # the long form: some minutes

Every item is a reference, a completion, and whether the completion is right. For random pairs that is known by
construction; for Math-Verify's tests it is what the test says.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import logging
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import math_verify

from explore_rl.types import Problem, Status
from explore_rl.verifiers.extract import final_answer
from explore_rl.verifiers.math import MathVerifier

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS / "kits"))

import math_cases  # noqa: E402 - of the tests
import math_pairs  # noqa: E402

BENCHMARKS = ("aime24", "amc23", "math500", "minerva_math", "olympiadbench", "gsm8k")


@dataclass(frozen=True)
class Item:
    kind: str
    answer: str
    completion: str
    right: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmarks", type=Path, help="folder with aime24.jsonl, ..., gsm8k.jsonl")
    parser.add_argument("--math-verify-tests", type=Path, help="the folder tests/ of Math-Verify's repository")
    parser.add_argument("--pairs", type=int, default=2000, help="random pairs, half of them equal")
    parser.add_argument("--values", type=int, default=0, help="so many unequal values, each against each (ours alone)")
    parser.add_argument("--show", type=int, default=3, help="disagreements shown for each kind")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    table("cases of public reports", list(of_cases()), show=args.show)
    if args.benchmarks:
        table("references", list(of_references(args.benchmarks)), show=args.show)
        table("near misses", list(of_near_misses(args.benchmarks)), show=args.show)
    if args.math_verify_tests:
        table("Math-Verify's tests", list(of_math_verify(args.math_verify_tests)), show=args.show)
    table("random pairs", list(of_pairs(args.pairs)), show=args.show)
    if args.values:
        unequal(args.values)


def tests_of_math() -> ModuleType:
    """tests/verifiers/test_math.py, which holds pairs of answers and makes near misses."""
    spec = importlib.util.spec_from_file_location("test_math", TESTS / "verifiers" / "test_math.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


# --- the sets --------------------------------------------------------------------------------------------------------


def of_cases() -> Iterator[Item]:
    for kind, entries in math_cases.CASES.items():
        for answer, given, right in entries:
            yield Item(kind, answer, f"So it is $\\boxed{{{given}}}$.", right)
    for kind, entries in math_cases.SAID.items():
        for answer, completion, right in entries:
            yield Item(kind, answer, completion, bool(right))


def of_same() -> Iterator[Item]:
    """The pairs of test_math.py."""
    tests = tests_of_math()
    for right, pairs in ((True, tests.SAME), (False, tests.DIFFERENT)):
        for answer, given in pairs:
            yield Item("same or different", answer, f"So it is $\\boxed{{{given}}}$.", right)


def rows(folder: Path) -> Iterator[tuple[str, str, str]]:
    """(file, reference, solution) of every problem."""
    for name in BENCHMARKS:
        for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if name == "gsm8k":
                yield name, row["answer"].rpartition("####")[2].strip(), row["answer"]
            elif name == "olympiadbench":
                yield name, row["final_answer"][0], f"\\boxed{{{row['final_answer'][0]}}}"
            elif name == "minerva_math":
                yield name, final_answer(row["solution"], "boxed"), row["solution"]
            else:
                yield name, str(row["answer"]), row.get("solution", f"\\boxed{{{row['answer']}}}")


def of_references(folder: Path) -> Iterator[Item]:
    for name, answer, solution in rows(folder):
        yield Item(name, answer, solution, True)


def of_near_misses(folder: Path) -> Iterator[Item]:
    near = tests_of_math()._near_misses
    for name, _, solution in rows(folder):
        stated = final_answer(solution)
        for miss in near(stated):
            yield Item(name, stated, f"\\boxed{{{miss}}}", False)


def of_math_verify(folder: Path) -> Iterator[Item]:
    """The (gold, prediction, expected) of every parametrised test of its own."""
    for file in sorted(folder.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Tuple)
                and len(node.elts) >= 3
                and all(isinstance(e, ast.Constant) for e in node.elts[:3])
            ):
                gold, given, expected = (element.value for element in node.elts[:3])
                doubled = (
                    isinstance(gold, str) and isinstance(given, str) and "\\\\boxed" in gold + given
                )  # a slip of the pen
                if isinstance(gold, str) and isinstance(given, str) and expected in (0, 1) and not doubled:
                    gold = final_answer(gold, of="value") or gold  # a whole solution
                    # its tests compare whole texts; ours wants an answer that is given as one
                    completion = given if final_answer(given) else f"The answer is {given}"
                    yield Item(file.stem, gold, completion, bool(expected))


def of_pairs(count: int) -> Iterator[Item]:
    generator = random.Random(0)
    for number in range(count):
        value = math_pairs.any_value(generator)
        right = number % 2 == 0
        given = value if right else math_pairs.near(value, generator)
        answer, said = generator.choice(math_pairs.dresses(value)), generator.choice(math_pairs.dresses(given))
        yield Item(value[0], answer, f"So it is $\\boxed{{{said}}}$.", right)


# --- the two verifiers -----------------------------------------------------------------------------------------------


VERIFIER = MathVerifier()


def ours(item: Item) -> bool:
    return VERIFIER(item.completion, Problem("p", "", item.answer, "math")).status is Status.CORRECT


def theirs(item: Item) -> bool:
    answer = item.answer if "$" in item.answer.replace(r"\$", "") else f"${item.answer}$"
    return math_verify.verify(math_verify.parse(answer), math_verify.parse(item.completion))


def table(name: str, items: list[Item], *, show: int) -> None:
    """A line a kind: how often each is right; then the disagreements."""
    print(f"\n## {name}: {len(items)} answers\n")
    print(
        "| kind | answers | ours right | math-verify right | ours accepts wrong | math-verify accepts wrong "
        "|\n|---|---|---|---|---|---|"
    )
    found = [(item, ours(item), theirs(item)) for item in items]
    for kind in [*dict.fromkeys(item.kind for item in items), "all"]:
        of_kind = [entry for entry in found if kind in (entry[0].kind, "all")]
        right = [sum(entry[side] == entry[0].right for entry in of_kind) for side in (1, 2)]
        accepted = [sum(entry[side] and not entry[0].right for entry in of_kind) for side in (1, 2)]
        print(f"| {kind} | {len(of_kind)} | {right[0]} | {right[1]} | {accepted[0]} | {accepted[1]} |")
    shown: Counter[str] = Counter()
    for item, we, they in found:
        what = classify(item, we, they=they)
        if not what:
            continue
        shown[what] += 1
        if shown[what] <= show or what.startswith("ours wrongly accepts"):
            print(f"  {what}: {item.answer!r} answered by {item.completion[-90:]!r}")
    print(f"  {dict(shown)}")


def classify(item: Item, we: bool, *, they: bool) -> str:
    if we == item.right and they == item.right:
        return ""
    if we == they:
        return "both wrongly accept" if we else "both wrongly reject"
    if we != item.right:
        return "ours wrongly accepts, math-verify does not" if we else "ours wrongly rejects, math-verify does not"
    return "math-verify wrongly accepts, ours does not" if they else "math-verify wrongly rejects, ours does not"


def unequal(count: int) -> None:
    values = math_pairs.distinct(count, seed=2)
    compared, equal = 0, []
    for gold in values:
        for given in values:
            if gold != given and math_pairs.comparable(gold, given):
                compared += 1
                item = Item("", math_pairs.dresses(gold)[0], f"\\boxed{{{math_pairs.dresses(given)[0]}}}", False)
                if ours(item):
                    equal.append(item)
    print(f"\n{count} values, {compared} pairs of unequal ones: {len(equal)} taken for equal {equal[:5]}")


if __name__ == "__main__":
    main()
