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
import json
import logging
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import math_verify

from explore_rl.types import Problem, Status, Verdict
from explore_rl.verifiers.extract import final_answer, last_boxed
from explore_rl.verifiers.math import MathVerifier

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "kits"))

import math_cases  # noqa: E402 - of the tests
import math_pairs  # noqa: E402
from math_cases.misses import near_misses  # noqa: E402
from math_cases.pairs import DIFFERENT, SAME  # noqa: E402

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
        table(
            "Math-Verify's tests", list(of_math_verify(args.math_verify_tests)), show=args.show, by_construction=False
        )
    table("random pairs", list(of_pairs(args.pairs)), show=args.show)
    if args.values:
        unequal(args.values)


# --- the sets --------------------------------------------------------------------------------------------------------


def of_cases() -> Iterator[Item]:
    for kind, entries in math_cases.CASES.items():
        for answer, given, right in entries:
            yield Item(kind, answer, f"So it is $\\boxed{{{given}}}$.", right)
    for kind, entries in math_cases.SAID.items():
        for answer, completion, right in entries:
            yield Item(kind, answer, completion, bool(right))


def of_same() -> Iterator[Item]:
    """Pairs that are the same, or nearly."""
    for right, pairs in ((True, SAME), (False, DIFFERENT)):
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
                yield name, boxed_in(row["solution"]), row["solution"]
            else:
                yield name, str(row["answer"]), row.get("solution", f"\\boxed{{{row['answer']}}}")


def boxed_in(solution: str) -> str:
    answer = final_answer(solution, "boxed")
    assert answer is not None, f"a solution without a boxed answer: {solution[-90:]!r}"
    return answer


def of_references(folder: Path) -> Iterator[Item]:
    for name, answer, solution in rows(folder):
        yield Item(name, answer, solution, True)


def of_near_misses(folder: Path) -> Iterator[Item]:
    for name, _, solution in rows(folder):
        stated = final_answer(solution)
        assert stated is not None, f"a solution without an answer: {solution[-90:]!r}"
        for miss in near_misses(stated):
            yield Item(name, stated, f"\\boxed{{{miss}}}", False)


def of_math_verify(folder: Path) -> Iterator[Item]:
    """The (gold, prediction, expected) of every parametrised test of its own."""
    for file in sorted(folder.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            first = node.elts[:3] if isinstance(node, ast.Tuple) else []
            values = [element.value for element in first if isinstance(element, ast.Constant)]
            if len(values) == 3:
                gold, given, expected = values
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


def verdict_on(item: Item) -> Verdict:
    return VERIFIER(item.completion, Problem("p", "", item.answer, "math"))


def ours(item: Item) -> bool:
    return verdict_on(item).status is Status.CORRECT


def theirs(item: Item) -> bool:
    answer = item.answer if "$" in item.answer.replace(r"\$", "") else f"${item.answer}$"
    return math_verify.verify(math_verify.parse(answer), math_verify.parse(item.completion))


# --- who is right where they differ -----------------------------------------------------------------------------------

# The first whose pattern is in the reference or the completion names the class. In the cases and pairs right and wrong
# are known by construction, so these are for what others call right.
TASTE = "a matter of taste"
CLASSES = [
    (
        r"\\\\(?:left|frac|le)\b|mathrm\{e\}|\$ \n|\\\( \n|\\\$ =",
        "a slip of the test: doubled backslashes, 1 - 1/e for 1 + 1/e",
        "ours",
    ),
    (r"\d,\d{1,2}(?!\d)|\b0,\d", "decimal commas (2,74)", "math-verify: ours cannot tell them from separators"),
    (
        r"\$[^$]*=[^$]*=[^$]*\$|\\approx",
        "a chain whose values disagree (5 + 5 = 11)",
        f"{TASTE}: ours wants all to agree",
    ),
    (r"for part|by 100%", "prose round the answers", "math-verify: ours takes the last that is marked"),
    (r"\$\{\d", "braces for a tuple (${1,3}$)", f"{TASTE}: LaTeX shows no brackets"),
]


def class_of(item: Item, verdict: Verdict) -> tuple[str, str]:
    """What a disagreement is about, and who a person would say is right."""
    text = f"{item.answer}\n{item.completion}"
    for pattern, name, who in CLASSES:
        if re.search(pattern, text):
            return name, who
    unmarked = item.completion.removeprefix("The answer is ")
    if verdict.status is Status.NO_ANSWER or (len(unmarked) > 200 and final_answer(unmarked) is None):
        return "no answer is marked as one", f"{TASTE}: ours says no_answer, math-verify takes the last formula"
    if last_boxed(item.completion):
        return "a box in the working, and another answer in words", f"{TASTE}: ours takes the box"
    return "other", "not classified"


def table(name: str, items: list[Item], *, show: int, by_construction: bool = True) -> None:
    """A line a kind: how often each is right; then the disagreements, and who is right.

    by_construction: right and wrong are known to be so; else somebody else says so, and may err.
    """
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
    classes: Counter[tuple[str, str]] = Counter()
    for item, we, they in found:
        if we != they:
            right = ("known by construction", "ours") if we == item.right and by_construction else None
            classes[right or class_of(item, verdict_on(item))] += 1
    for (what, who), count in classes.most_common():
        print(f"| {name} | {count} | {what} | {who} |")


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
