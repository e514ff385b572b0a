"""The enumeration, the grammar, the verifier and the modes, each held against an independent slow computation."""

import itertools
import math
import random
import re
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explore_rl.lab import countdown, problems
from explore_rl.lab.problems import load
from explore_rl.types import Problem, Status
from explore_rl.verifiers.countdown import CountdownVerifier

verify = CountdownVerifier()


def problem(numbers, target):
    return Problem("p", "", {"numbers": list(numbers), "target": target}, "countdown")


# --- an independent enumeration: all binary trees fully bracketed, then every pair of brackets that can go is taken awa


def trees(numbers):
    if len(numbers) == 1:
        yield str(numbers[0])
        return
    for cut in range(1, len(numbers)):
        for left in trees(numbers[:cut]):
            for right in trees(numbers[cut:]):
                for operator in "+-*/":
                    yield f"({left}{operator}{right})"


class Symbol:
    """A formula that Python's own precedence builds, compared at random rational points.

    Sums are {monomial-like term: coefficient}.
    """

    POINTS = [Fraction(p, q) for p, q in ((101, 7), (89, 13), (97, 3), (83, 11), (79, 17))]


def at_random_points(writing):
    """The formula's value with each occurrence of a number replaced by a fixed odd rational.

    It is equal iff the formulas are.
    """
    points = iter(Symbol.POINTS)
    names = {}

    def replace(found):
        names[f"v{len(names)}"] = next(points)
        return f"v{len(names) - 1}"

    return eval(re.sub(r"[0-9]+", replace, writing), {}, names)


def without_spare_brackets(writing):
    """Take away pairs of brackets for as long as the formula stays the same."""
    changed = True
    while changed:
        changed = False
        opened = []
        for position, character in enumerate(writing):
            if character == "(":
                opened.append(position)
            elif character == ")":
                start = opened.pop()
                shorter = writing[:start] + writing[start + 1 : position] + writing[position + 1 :]
                if at_random_points(shorter) == at_random_points(writing):
                    writing, changed = shorter, True
                    break
    return writing


def brute_force(numbers):
    """writing -> exact value, over all orders and binary trees."""
    found = {}
    for order in set(itertools.permutations(numbers)):
        for tree in trees(order):
            exact = re.sub(r"([0-9]+)", r"Fraction(\1)", tree)
            try:
                value = eval(exact, {"Fraction": Fraction})
            except ZeroDivisionError:
                continue
            found[without_spare_brackets(tree)] = value
    return found


@pytest.mark.parametrize("numbers", [(2, 5), (4, 4), (1, 2, 3), (2, 2, 8), (7, 7, 7), (3, 10, 12), (1, 1, 6)])
def test_enumeration_equals_brute_force_for_every_target(numbers):
    expected = {}
    for writing, value in brute_force(numbers).items():
        if value.denominator == 1 and value > 0:
            expected.setdefault(int(value), set()).add(writing)
    for target in range(1, 2000):
        answers = countdown.enumerate_answers(numbers, target)
        assert len(answers) == len(set(answers))
        assert set(answers) == expected.get(target, set()), target


def test_enumeration_equals_brute_force_with_four_numbers():
    expected = {writing for writing, value in brute_force((2, 3, 3, 7)).items() if value == 24}
    assert set(countdown.enumerate_answers((7, 3, 3, 2), 24)) == expected
    assert expected


# --- the verifier accepts the enumerated set and nothing else ---------------------------------------------------------


def test_verifier_accepts_exactly_the_enumeration_over_all_short_texts():
    """All 300,000 texts of up to 6 characters over two numbers' digits, operators and brackets, for two problems."""
    accepted = {3: set(), 4: set()}
    for length in range(1, 7):
        for characters in itertools.product("26+-*/()", repeat=length):
            if characters.count("2") != 1 or characters.count("6") != 1:
                continue
            text = "".join(characters)
            for target in accepted:
                if verify(text, problem((2, 6), target)).status is Status.CORRECT:
                    accepted[target].add(text)
    assert accepted == {3: {"6/2"}, 4: {"6-2"}}


@pytest.mark.parametrize(
    "numbers, target", [((2, 3, 6), 9), ((1, 2, 12), 24), ((4, 4, 8), 8), ((1, 5, 5), 24), ((3, 4, 7), 49)]
)
def test_verifier_equals_enumeration_on_all_edits_and_all_bracketed_trees(numbers, target):
    answers = set(countdown.enumerate_answers(numbers, target))
    assert answers
    candidates = set(answers)
    for answer in answers:
        for position in range(len(answer) + 1):
            candidates.add(answer[:position] + answer[position + 1 :])
            for character in "0123456789+-*/()=: \n":
                candidates.add(answer[:position] + character + answer[position:])
                candidates.add(answer[:position] + character + answer[position + 1 :])
        for first, last in itertools.combinations(range(len(answer) + 1), 2):
            candidates.add(answer[:first] + "(" + answer[first:last] + ")" + answer[last:])
    for order in set(itertools.permutations(numbers)):
        for tree in trees(order):
            candidates |= {tree, tree[1:-1], without_spare_brackets(tree) if "/0" not in tree else tree}
    accepted = {text for text in candidates if verify(text, problem(numbers, target)).status is Status.CORRECT}
    assert accepted == answers


FUZZED = [random.Random(seed).choices(range(1, 13), k=2 + seed % 3) for seed in range(15)]
enumerated = cache(countdown.enumerate_answers)
reachable = cache(lambda numbers: (countdown.targets(numbers, countdown.LEVELS[4]) or [1])[:3])


@settings(max_examples=400, deadline=None)
@given(
    numbers=st.sampled_from([tuple(numbers) for numbers in FUZZED]),
    text=st.text(alphabet="123456789012+-*/()", max_size=16),
    data=st.data(),
)
def test_verifier_equals_enumeration_under_fuzzing(numbers, text, data):
    target = data.draw(st.sampled_from(reachable(numbers)))
    answers = enumerated(numbers, target)
    if answers and data.draw(st.booleans()):  # a shuffled right answer is nearer to right than noise
        text = "".join(data.draw(st.permutations(data.draw(st.sampled_from(answers)))))
    assert (verify(text, problem(numbers, target)).status is Status.CORRECT) == (text in answers)


@pytest.mark.parametrize("level", [3, 4])
def test_every_enumerated_answer_is_accepted_and_its_mode_is_an_answer_too(level):
    rules = countdown.LEVELS[level]
    drawn = random.Random(level)
    for _ in range(12):
        numbers = tuple(sorted(drawn.choices(range(1, rules.max_number + 1), k=rules.count)))
        one = problem(numbers, drawn.choice(countdown.targets(numbers, rules)))
        answers = countdown.enumerate_answers(**one.answer)
        assert answers
        for answer in answers:
            verdict = verify(answer, one)
            assert (verdict.status, verdict.score, verdict.answer) == (Status.CORRECT, 1.0, answer)
            assert verdict.mode in answers and countdown.mode(verdict.mode) == verdict.mode


@pytest.mark.parametrize(
    "text, status, reason",
    [
        ("", Status.NO_ANSWER, "empty"),
        ("6*2/3", Status.CORRECT, ""),
        ("6*2/3 ", Status.WRONG, "longer|minimal"),
        (" 6*2/3", Status.WRONG, "longer|minimal"),
        ("(6*2)/3", Status.WRONG, "spare"),
        ("6*(2/3)", Status.WRONG, "spare"),
        ("6/(3/2)", Status.CORRECT, ""),
        ("6+2/3", Status.WRONG, "equals 20/3, not 4"),
        ("6/3*2*1", Status.WRONG, "exactly once"),
        ("06*2/3", Status.WRONG, "exactly once"),
        ("-2+6*3", Status.WRONG, "minimal"),
        ("6*2/3=4", Status.WRONG, "exactly once"),
        ("(" * 5000 + "6*2/3", Status.WRONG, "longer"),
        ("9" * 5000, Status.WRONG, "exactly once"),
        ("６*2/3", Status.WRONG, "exactly once"),
    ],
)
def test_verdicts(text, status, reason):
    verdict = verify(text, problem((2, 3, 6), 4))
    assert verdict.status is status and re.search(reason, verdict.reason)


def test_truncated_is_no_answer_and_division_by_zero_is_wrong():
    assert verify("6*2/3", problem((2, 3, 6), 4), truncated=True).status is Status.NO_ANSWER
    verdict = verify("5/(3-3)", problem((3, 3, 5), 5))
    assert verdict.status is Status.WRONG and "zero" in verdict.reason


# --- modes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("1+2*3", "3*2+1", True),
        ("5-(3-2)", "5+2-3", True),
        ("8/(4/2)", "2*8/4", True),
        ("12/(2*3)", "12/3/2", True),
        ("(1+2)*3", "3*(2+1)", True),
        ("8-2*(3-1)", "8-(3-1)*2", True),
        ("5*1", "5/1", False),
        ("(3-5)*(2-4)", "(5-3)*(4-2)", False),
        ("2*3+2*4", "2*4+2*3", True),
        ("6-3", "3-6", False),
        ("2+2-2", "2-2+2", True),
        ("(1+2)*3", "1*3+2*3", False),
    ],
)
def test_modes_by_hand(one, other, same):
    assert (countdown.mode(one) == countdown.mode(other)) is same


def test_modes_are_the_classes_of_equal_formulas():
    """One function, one mode.

    With every number used once, three distinct symbols leave no identity but commuting and flattening.
    """
    values = {"2": Fraction(101, 7), "3": Fraction(89, 13), "7": Fraction(97, 3)}
    function_of, mode_of = {}, {}
    for writing in brute_force((2, 3, 7)):
        function_of[writing] = eval(re.sub("[0-9]", lambda found: f"v['{found[0]}']", writing), {}, {"v": values})
        mode_of[writing] = countdown.mode(writing)
    assert len(function_of) == 168
    for one, other in itertools.combinations(function_of, 2):
        assert (function_of[one] == function_of[other]) is (mode_of[one] == mode_of[other]), (one, other)


def test_targets_are_those_with_an_answer():
    for numbers in ((1, 2, 3), (5, 5, 12), (2, 3, 4, 11)):
        level = countdown.LEVELS[len(numbers)]
        expected = [target for target in range(1, level.max_target + 1) if countdown.enumerate_answers(numbers, target)]
        assert countdown.targets(numbers, level) == expected


# --- regions, random expressions, splits ------------------------------------------------------------------------------


def test_random_expressions_are_in_minimal_writing_and_have_the_value_that_is_told():
    rng = random.Random(5)
    for _ in range(3000):
        numbers = [rng.randint(1, 12) for _ in range(rng.choice((3, 4)))]
        writing, value = countdown.random_expression(numbers, {"+": 1.0, "-": 0.5, "*": 0.5}, rng=rng)
        parsed = countdown.parse(writing)
        assert parsed.numbers == tuple(sorted(numbers)) and "/" not in writing
        assert value == (int(parsed.value) if parsed.value > 0 else None)


@pytest.mark.parametrize("level", [3, 4])
def test_splits_share_no_multiset_of_numbers(level, monkeypatch):
    """Every multiset of the level, each with a single target, so that none has to be searched for its answers."""
    monkeypatch.setattr(countdown, "targets", lambda numbers, rules: [1])
    monkeypatch.setattr(countdown, "enumerate_answers", lambda numbers, target: [])
    multisets = {}
    for split in ("train", "audit", "heldout"):
        multisets[split] = {tuple(one.answer["numbers"]) for one in problems._POOLS["countdown"](level, split)}
    rules = countdown.LEVELS[level]
    assert sum(map(len, multisets.values())) == math.comb(rules.max_number + rules.count - 1, rules.count)
    for one, other in itertools.combinations(multisets.values(), 2):
        assert not one & other


def test_problems_are_the_same_every_time_and_small_sizes_begin_large_ones():
    large = load("lab:countdown?level=3&split=train")
    assert len(large) == 300 and len({one.id for one in large}) == 300
    assert load("lab:countdown?split=train&size=20") == large[:20]
    first = large[0]
    assert (first.id, first.prompt) == (
        "countdown-3-3.5.10-8",
        "5 3 10=8:",
    )  # a change here would change every published number
    assert {trace.source for trace in first.traces} == {"enumerator"}
    for one in large:
        assert [trace.text for trace in one.traces] == countdown.enumerate_answers(**one.answer)
    assert all(not one.traces for one in load("lab:countdown?split=audit"))


@pytest.mark.parametrize(
    "name",
    [
        "lab:chess",
        "countdown",
        "lab:countdown?level=9",
        "lab:countdown?split=test",
        "lab:countdown?size=0",
        "lab:countdown?size=100000",
        "lab:countdown?levl=3",
        "lab:countdown?size",
    ],
)
def test_bad_names_are_refused_with_what_would_be_right(name):
    from analysis.errors import InputError

    with pytest.raises(InputError, match="must|known"):
        load(name)
