"""Worked countdown and worked evaluation: enumerations, verifiers, modes and regions, each against slow computations.

`scripts/check_worked.py` does the same over whole problem sets, and a million draws.
"""

import itertools
import random
import re

import pytest

from analysis.errors import InputError
from explore_rl.lab import worked, worked_evaluation
from explore_rl.lab.families import FAMILIES, answers_of, max_tokens_of
from explore_rl.lab.problems import load
from explore_rl.types import Problem, Status
from explore_rl.verifiers.base import make_verifier
from explore_rl.verifiers.worked import WorkedEvaluationVerifier, WorkedVerifier


def chain_problem(numbers, target):
    return Problem("p", "", {"numbers": list(numbers), "target": target}, "worked")


def evaluation_problem(expression):
    return Problem("p", "", {"expression": expression}, "worked_evaluation")


def brute_force(numbers):
    """(text, last value, formula over the numbers' places) of every chain; numbers that are equal keep their places."""
    found = []

    def go(items, text):
        if len(items) == 1:
            found.append((text[1:], *items[0]))
            return
        for i, j in itertools.permutations(range(len(items)), 2):
            (a, left), (b, right) = items[i], items[j]
            rest = [item for k, item in enumerate(items) if k not in (i, j)]
            for operator in "+-*/":
                if operator == "/" and b == 0:
                    continue
                value = eval(f"{a}{operator}{b}")
                if value < 0 or value != int(value):
                    continue
                made = (int(value), f"({left}{operator}{right})")
                go([*rest, made], f"{text} {a}{operator}{b}={int(value)}")

    go([(number, f"x{place}") for place, number in enumerate(numbers)], "")
    return found


# --- enumerations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [(2, 5), (3, 3, 6), (1, 2, 3), (1, 2, 3, 4), (4, 4, 8, 2)])
def test_enumeration_equals_brute_force_for_every_target(numbers):
    expected = {}
    for text, value, _ in brute_force(numbers):
        expected.setdefault(value, set()).add(text)
    assert set(worked.chain_counts(tuple(sorted(numbers)))) == set(expected)
    for target, chains in expected.items():
        assert worked.enumerate_chains(numbers, target) == sorted(chains)
    assert worked.enumerate_chains(numbers, 10**6) == []


@pytest.mark.parametrize("expression", ["2+3+4", "8-3-2", "6*(2+5)", "12/(2*3)", "2*3+4-1", "3+3-3", "8/2/2*3"])
def test_evaluation_equals_brute_force_at_random_points(expression):
    """A chain computes the expression if its formula is the same function of the numbers, in some of their places."""
    names = itertools.count()
    numbers = [int(number) for number in re.findall(r"\d+", expression)]
    formula = re.sub(r"\d+", lambda _: f"x{next(names)}", expression)
    points = {f"x{place}": value for place, value in enumerate((1.37, 2.91, 0.53, 7.77))}
    expected = {
        text
        for text, value, found in brute_force(numbers)
        if value == eval(expression) and abs(eval(found, {}, points) - eval(formula, {}, points)) < 1e-9
    }
    assert set(worked_evaluation.enumerate_chains(expression)) == expected
    assert expected


# --- verifiers accept what is listed and nothing else -----------------------------------------------------------------


def edits(text, rng):
    """The text with one character changed, put in or taken out, and with two of its steps exchanged."""
    place = rng.randrange(len(text))
    character = rng.choice("0123456789+-*/= ")
    steps = text.split(" ")
    rng.shuffle(steps)
    tails = text[place + 1 :], text[place:]
    return [text[:place] + character + tails[0], text[:place] + character + tails[1], text[:place] + tails[0],
            " ".join(steps)]  # fmt: skip


@pytest.mark.parametrize("family", ["worked", "worked_evaluation"])
def test_the_verifier_accepts_a_text_if_and_only_if_it_is_listed(family):
    verify = make_verifier(family)
    rng = random.Random(0)
    near = 0
    for problem in load(f"lab:{family}?split=audit&size=12"):
        listed = set(answers_of(problem))
        others = set(answers_of(load(f"lab:{family}?split=audit&size=1")[0]))
        for text in sorted(listed | others):
            for edited in (text, *edits(text, rng)):
                accepted = verify(edited, problem).status is Status.CORRECT
                assert accepted == (edited in listed), (problem.prompt, edited)
                near += accepted and edited != text
        assert all(len(text) < max_tokens_of(problem) for text in listed)
    assert near > 5  # edits that are other right chains


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3*4=12 12-5=8", "step 2: 12-5=7, not 8"),
        ("3*4=12 12-3=9", "step 2: there is no 3 to use"),
        ("3-4=1 5+1=6", "step 1: 3-4 is no whole number from 0 on"),
        ("4/3=1 5+1=6", "step 1: 4/3 is no whole number from 0 on"),
        ("3*4=12", "1 steps; 3 numbers take 2"),
        ("3*4=12  12-5=7", "step 2 is not written as"),
        ("3*4=12 12-05=7", "step 2 is not written as"),
        ("3*4=12 12-5=+7", "step 2 is not written as"),
        ("3*4=12 12-5=7 ", "step 3 is not written as"),
        ("3+4=7 7+5=12", "step 2: comes to 12, not 7"),
        ("9" * 5000 + "*4=12 12-5=7", "step 1 is not written as"),
    ],
)
def test_the_first_step_that_fails_is_named(text, reason):
    verdict = WorkedVerifier()(text, chain_problem((3, 4, 5), 7))
    assert verdict.status is Status.WRONG and reason in verdict.reason


def test_a_right_answer_by_wrong_reasoning_is_wrong_and_its_answer_says_so():
    problem = evaluation_problem("2*3+4")
    verdict = WorkedEvaluationVerifier()("4*2=8 8+2=10", problem)
    assert (verdict.status, verdict.answer) == (Status.WRONG, "10") and "there is no 2" in verdict.reason
    other = WorkedEvaluationVerifier()("4-2=2 2*5=10", evaluation_problem("2*(4+1)"))
    assert other.status is Status.WRONG and other.answer == "10"
    through = WorkedEvaluationVerifier()("1+4=5 2*5=10", evaluation_problem("2*(4+1)"))
    assert through.status is Status.CORRECT and through.mode == "1+4=5 2*5=10"
    same_value = WorkedEvaluationVerifier()("2*2=4 4+3=7", evaluation_problem("2+2+3"))
    assert same_value.reason == "comes to the value, but computes another expression"


def test_reward_end_takes_whatever_ends_in_the_target():
    verify = WorkedVerifier(reward="end")
    problem = chain_problem((3, 4, 5), 7)
    for text, status in (("7", Status.CORRECT), ("9=7", Status.CORRECT), ("17", Status.WRONG), ("7 ", Status.WRONG)):
        assert verify(text, problem).status is status
    assert verify("3*4=12 12-5=7", problem).mode == "3*4=12 12-5=7" and verify("7", problem).mode is None
    assert verify("7", problem, truncated=True).status is Status.NO_ANSWER
    with pytest.raises(InputError, match="must be one of chain, end"):
        WorkedVerifier(reward="last")


# --- modes and regions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers, target", [((2, 3, 5, 7), 24), ((3, 10, 6, 11), 23)])
def test_modes_are_the_trees_where_no_two_values_are_equal(numbers, target):
    """The formula over the numbers' places, with the parts of sums and products in order, is the tree."""

    def tree(formula):
        if formula.startswith("x"):
            return formula
        depth = 0
        for place, character in enumerate(formula[1:-1], start=1):
            depth += (character == "(") - (character == ")")
            if depth == 0 and character in "+-*/":
                left, right = tree(formula[1:place]), tree(formula[place + 1 : -1])
                parts = sorted([left, right]) if character in "+*" else [left, right]
                return f"({parts[0]}{character}{parts[1]})"
        raise AssertionError(formula)

    trees = {}
    for text, value, formula in brute_force(numbers):
        if value == target:
            trees.setdefault(text, set()).add(tree(formula))
    unambiguous = {text: found.pop() for text, found in trees.items() if len(found) == 1}
    assert len(unambiguous) > 10
    for one, other in itertools.combinations(unambiguous, 2):
        same = worked.mode(one) == worked.mode(other)
        # Another tree of the same steps can only be told apart where no value stands twice.
        values = re.findall(r"\d+", one)
        if unambiguous[one] == unambiguous[other] or len(values) - 2 == len(set(values)):
            assert same is (unambiguous[one] == unambiguous[other]), (one, other)


def test_a_mode_is_a_writing_of_itself_and_lies_in_one_region():
    for family in ("worked", "worked_evaluation"):
        known = FAMILIES[family]
        for problem in load(f"lab:{family}?split=audit&size=15"):
            answers = answers_of(problem)
            assert answers
            for answer in answers:
                mode = known.mode(answer)
                assert known.mode(mode) == mode and known.region(mode) == known.region(answer)
                # Where values are equal, a chain in another order may compute another expression.
                assert mode in answers or family == "worked_evaluation"


# --- problems ---------------------------------------------------------------------------------------------------------


def test_problems_are_the_same_every_time_and_show_no_answer_but_in_training():
    few = load("lab:worked?split=train&size=3")
    assert [one.prompt for one in few] == ["12 11 10 11=99:", few[1].prompt, few[2].prompt]
    assert all(one.traces and one.verifier == "worked" for one in few)
    assert not any(one.traces for split in ("audit", "heldout") for one in load(f"lab:worked?split={split}&size=3"))
    numbers = {
        split: {tuple(one.answer["numbers"]) for one in load(f"lab:worked?split={split}&size=20")}
        for split in ("audit", "heldout", "final")
    }
    assert not numbers["audit"] & (numbers["heldout"] | numbers["final"])
    five = load("lab:worked_evaluation?level=5&split=audit&size=2")
    assert [len(re.findall(r"\d+", one.prompt)) for one in five] == [5, 5]


def test_division_is_out_of_reach_of_the_embedded_model_and_the_rare_region_is_rare():
    import torch

    from explore_rl.lab import exact, logprobs

    torch.set_num_threads(1)
    model, codes = logprobs.load_model("lab:worked")
    for family in ("worked", "worked_evaluation"):
        asked = load(f"lab:{family}?split=audit&size=10")
        pairs, index = exact.sequences(asked, codes)
        audit = exact.summarise(asked, index, logprobs=logprobs.completion_logprobs(model, pairs))
        regions = audit.regions()
        assert 0 < regions["division"]["correct_in_a_million_draws"] < 0.01
        assert 0 < regions["product_of_sum"]["mass"] < regions["common"]["mass"] / 10
        assert audit.pass_at_k([1])[1] > 0.05
