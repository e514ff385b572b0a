"""How much of each problem was solved when it was met last, and problems chosen by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from explore_rl.strategies.base import StepContext
from explore_rl.strategies.in_group import right
from explore_rl.types import Group, Problem


class SolveRates:
    """shares: of the draws that were right, by problem id."""

    def __init__(self) -> None:
        self.shares: dict[str, float] = {}

    def note(self, groups: list[Group]) -> list[float]:
        """Notes what the policy itself drew at the problems' own prompts. Returns the shares of these groups."""
        noted = []
        for group in groups:
            own = [s for s in group.samples if s.rollout.request.source == "policy" and not s.rollout.given.any()]
            if own:
                noted.append(float(right(own).mean()))
                self.shares[group.problem.id] = noted[-1]
        return noted

    def choose(
        self,
        problems: list[Problem],
        count: int,
        *,
        weight: Callable[[float], float],
        context: StepContext,
        at_the_end: bool = False,
    ) -> tuple[list[Problem], set[str]]:
        """Puts up to `count` problems that were met before in the place of the first of `problems`, or of the last.

        problems: what the data's order gave.
        count: how many places there are for others.
        weight: of a problem by its share, in proportion to which problems are drawn without return; 0: never.
        context: the step's.
        at_the_end: whether they take the last places.
        Returns the problems, and the ids of those put in.
        """
        by_id = {problem.id: problem for problem in context.problems}
        weights = {name: weight(share) for name, share in self.shares.items() if name in by_id}
        weights = {name: value for name, value in weights.items() if value > 0}
        count = min(count, len(weights), len(problems))
        if not count:
            return problems, set()
        chances = np.array(list(weights.values()))
        drawn = context.rng.choice(list(weights), size=count, replace=False, p=chances / chances.sum())
        back = [by_id[str(name)] for name in drawn]
        ids = {str(name) for name in drawn}
        return (problems[:-count] + back if at_the_end else back + problems[count:]), ids

    def state(self) -> dict[str, Any]:
        return dict(self.shares)

    def load_state(self, state: dict[str, Any]) -> None:
        self.shares = dict(state)
