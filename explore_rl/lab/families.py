"""The families of laboratory problems: what the lab asks of any problem whose correct answers can all be listed.

A problem's verifier has the name of its family, so everything here is found from the problem itself. Those of
pretrained models (explore_rl.real) have no levels and no base of the laboratory's, and what is rare is said by their
base model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from analysis.errors import InputError
from explore_rl.lab import countdown, worked, worked_evaluation
from explore_rl.real import families as real
from explore_rl.types import Problem

REGIONS = countdown.REGIONS  # the same names in every family of the laboratory
BY_BASE = "by base"  # the region of an answer whose probability under the base model says how rare it is


@dataclass(frozen=True)
class Family:
    """One kind of problem.

    levels: those there are, by their count of numbers.
    default_level: the one that is meant where none is named.
    answers: from a problem's reference to all its correct answers, sorted.
    mode: the canonical form of an answer; answers of one mode are one solution.
    region: the region of an answer, the same for all answers of a mode.
    max_tokens: by level, at least the tokens of the longest answer with its end token.
    base: the name of the embedded base model that was made for it.
    end: how a completion ends where that is part of its text; "": with the tokenizer's end token.
    """

    levels: Mapping[int, countdown.Level]
    default_level: int
    answers: Callable[[Any], list[str]]
    mode: Callable[[str], str]
    region: Callable[[str], str]
    max_tokens: Mapping[int, int]
    base: str
    end: str = ""


FAMILIES = {
    "countdown": Family(
        levels=countdown.LEVELS,
        default_level=3,
        answers=lambda reference: countdown.enumerate_answers(reference["numbers"], reference["target"]),
        mode=countdown.mode,
        region=countdown.region,
        max_tokens={2: 24, 3: 24, 4: 24},
        base="lab:base",
    ),
    "worked": Family(
        levels=worked.LEVELS,
        default_level=4,
        answers=lambda reference: worked.enumerate_chains(reference["numbers"], reference["target"]),
        mode=worked.mode,
        region=worked.region,
        max_tokens={4: 32, 5: 44},
        base="lab:worked",
    ),
    "worked_evaluation": Family(
        levels=worked.LEVELS,
        default_level=4,
        answers=lambda reference: worked_evaluation.enumerate_chains(reference["expression"]),
        mode=worked.mode,
        region=worked.region,
        max_tokens={4: 32, 5: 44},
        base="lab:worked",
    ),
}


# The families of explore_rl.real, by verifier.
REAL = {
    verifier: Family(
        levels={},
        default_level=0,
        answers=partial(real.completions, verifier),
        mode=real.mode,
        region=lambda completion: BY_BASE,
        max_tokens={},
        base="",
        end=real.END,
    )
    for verifier, kind in real.VERIFIERS.items()
    if real.KINDS[kind].is_listed
}


def family_of(problem: Problem) -> Family:
    """Raises InputError for a problem whose answers cannot be listed."""
    family = (FAMILIES | REAL).get(problem.verifier)
    if family is None:
        raise InputError(
            f"problem {problem.id}: nothing about it is exact, since its right answers cannot be listed; draw from the"
            " model (explore-rl sample, run.evaluate_every)"
        )
    return family


def answers_of(problem: Problem) -> list[str]:
    """All correct answers of a problem, sorted."""
    return family_of(problem).answers(problem.answer)


def numbers_of(problem: Problem) -> tuple[int, ...]:
    """The numbers of a laboratory problem in ascending order; no two splits share them."""
    if "expression" in problem.answer:
        return countdown.parse(problem.answer["expression"]).numbers
    return tuple(sorted(problem.answer["numbers"]))


def max_tokens_of(problem: Problem) -> int:
    """At least the tokens of the problem's longest answer with its end token."""
    return family_of(problem).max_tokens[problem.metadata["level"]]
