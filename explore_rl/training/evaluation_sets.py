"""The sets of problems that are evaluated during training, each with its own draws."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analysis.errors import InputError
from explore_rl.config.schema import LEAST_TEMPERATURE, Config
from explore_rl.problems import load_problems
from explore_rl.types import Problem

HELDOUT = "heldout"  # the name of problems.heldout, which keeps the plain names of its figures


@dataclass(frozen=True)
class EvaluationSet:
    """One set.

    name: its figures are NAME/pass@1 and so on.
    problems: all of them.
    n: draws a problem.
    temperature, top_p, max_new_tokens: how it is drawn.
    every: steps between evaluations.
    verifier: in place of the problems' own; None: theirs.
    """

    name: str
    problems: list[Problem]
    n: int
    temperature: float
    top_p: float
    max_new_tokens: int
    every: int
    verifier: str | None = None


def evaluation_sets(config: Config) -> list[EvaluationSet]:
    """The held-out problems of the config, where they are evaluated at all, and those of run.evaluations.

    Raises InputError for a set that cannot be read, or with a setting that is unknown or has no meaning.
    """
    sets = []
    if config.problems.heldout and config.run.evaluate_every:
        sets.append(
            EvaluationSet(
                HELDOUT,
                load_problems(config.problems.heldout),
                n=config.run.evaluate_samples,
                temperature=config.rollout.temperature,
                top_p=1.0,
                max_new_tokens=config.rollout.max_new_tokens,
                every=config.run.evaluate_every,
            )
        )
    for i, given in enumerate(config.run.evaluations):
        sets.append(_set_of(given, f"run.evaluations[{i}]", config=config))
    names = [one.name for one in sets]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"run.evaluations: two sets are called {twice}; their figures would be mixed up")
    return sets


def _set_of(given: Any, where: str, *, config: Config) -> EvaluationSet:
    if not isinstance(given, dict):
        raise InputError(f"{where}: expected a mapping such as {{problems: aime24.jsonl, n: 32}}, got {given!r}")
    for key in given:
        if key not in KNOWN:
            near = difflib.get_close_matches(str(key), KNOWN, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(KNOWN)}"
            raise InputError(f"{where}: unknown key {key}; {hint}")
    if not isinstance(given.get("problems"), str):
        raise InputError(f"{where}: problems is missing; expected a file or a spec")
    values = {
        "name": given["problems"].rsplit("/", 1)[-1].split(".")[0].split("?")[0],
        "n": config.run.evaluate_samples,
        "temperature": config.rollout.temperature,
        "top_p": 1.0,
        "max_new_tokens": config.rollout.max_new_tokens,
        "every": config.run.evaluate_every or config.run.checkpoint_every,
        "verifier": None,
        **{key: value for key, value in given.items() if key != "problems"},
    }
    for key, (is_right, wanted) in KNOWN.items():
        if key != "problems" and not is_right(values[key]):
            raise InputError(f"{where}: {key}={values[key]!r}: expected {wanted}")
    problems = load_problems(given["problems"], verifier=values["verifier"])
    return EvaluationSet(problems=problems, **values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


KNOWN: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda v: isinstance(v, str) and v != "" and "/" not in v, "text without /"),
    "problems": (lambda v: isinstance(v, str), "a file or a spec"),
    "n": (_is_count, "a whole number of at least 1"),
    "temperature": (
        lambda v: _is_number(v) and (v == 0 or v >= LEAST_TEMPERATURE),
        f"0 (greedy), or a number of at least {LEAST_TEMPERATURE}, at which vLLM draws where less is asked for",
    ),
    "top_p": (lambda v: _is_number(v) and 0 < v <= 1, "a number above 0 and at most 1"),
    "max_new_tokens": (_is_count, "a whole number of at least 1"),
    "every": (_is_count, "a whole number of steps, at least 1"),
    "verifier": (lambda v: v is None or isinstance(v, str), "the name of a verifier"),
}
