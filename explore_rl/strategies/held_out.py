"""No teacher sees what a run is judged on: every problem that a trace, hint or replay is of is held against it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.problems.loading import load_problems
from explore_rl.problems.overlap import words
from explore_rl.types import Problem


def refuse_held_out(name: str, problems: Iterable[Problem], *, config: Config) -> None:
    """Raises InputError for a problem that evaluations or audits of this run are made on, whatever its id.

    Two problems are one if their keys are equal: see `key_of`. Of laboratory problems the whole split counts, not only
    the part that is evaluated.

    name: the strategy's.
    """
    held_out = _keys(config.problems.heldout, config.run.exact_problems)
    for problem in problems:
        spec = held_out.get(key_of(problem))
        if spec is not None:
            raise InputError(
                f"strategies: {name}: problem {problem.id} is also in {spec}, which the run is judged on;"
                " no teacher may show it: take it out of problems.train"
            )


def key_of(problem: Problem) -> tuple[str, ...]:
    """What tells a problem from others: its numbers in order (countdown), else its prompt as words.

    >>> shown = {"numbers": [7, 2, 5], "target": 4}
    >>> key_of(Problem("a", "7 2 5=4", shown, "countdown")) == key_of(Problem("b", "5 7 2=4", shown, "countdown"))
    True
    """
    if problem.verifier == "countdown" and isinstance(problem.answer, dict):
        return (
            "countdown",
            *map(str, sorted(problem.answer["numbers"])),
        )  # splits share no numbers, whatever the target
    return tuple(words(problem))


@lru_cache(maxsize=16)
def _keys(*specs: str | None) -> dict[tuple[str, ...], str]:
    found: dict[tuple[str, ...], str] = {}
    for spec in specs:
        if spec:
            whole = re.sub(r"size=\w+", "size=all", spec) if spec.startswith("lab:") else spec
            found |= {key_of(problem): spec for problem in load_problems(whole)}
    return found
