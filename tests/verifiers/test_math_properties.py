"""What holds for every value: it equals itself in every dress, and no other value in any."""

from __future__ import annotations

import random

import math_pairs
import pytest

from explore_rl.types import Problem, Status
from explore_rl.verifiers.math import MathVerifier

VERIFY = MathVerifier()
KINDS = [*math_pairs.KINDS, "fraction"]


def status(gold: str, given: str) -> Status:
    return VERIFY(f"\\boxed{{{given}}}", Problem("p", "", gold, "math")).status


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_equals_itself_in_every_dress(kind):
    generator = random.Random(kind)
    values = []
    while len(values) < 3:
        value = math_pairs.any_value(generator)
        values += [value] if value[0] == kind else []
    for value in values:
        dresses = math_pairs.dresses(value)
        for gold in dresses[:2]:
            for given in dresses:
                assert status(gold, given) is Status.CORRECT, (gold, given)


@pytest.mark.parametrize("part", range(10))
def test_no_two_of_a_hundred_values_are_equal(part):
    values = math_pairs.distinct(100, seed=1)
    for gold in values[part::10]:
        for given in values:
            if gold != given and math_pairs.comparable(gold, given):
                written = math_pairs.dresses(gold)[0], math_pairs.dresses(given)[0]
                assert status(*written) is not Status.CORRECT, written


@pytest.mark.parametrize("kind", KINDS)
def test_near_values_are_told_apart_in_every_dress(kind):
    generator = random.Random(f"{kind} near")
    found = 0
    while found < 3:
        value = math_pairs.any_value(generator)
        if value[0] != kind:
            continue
        found += 1
        other = math_pairs.near(value, generator)
        for given in math_pairs.dresses(other):
            assert status(math_pairs.dresses(value)[0], given) is not Status.CORRECT, (value, given)
