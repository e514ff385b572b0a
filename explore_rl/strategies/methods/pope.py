"""POPE, oracle prefixes (arXiv 2601.18779): hard problems are explored from a known beginning as well.

Acts at: plan (which groups begin with a prefix), keep (what was solved), state. A problem is hard if, when it was met
last, at most the share `hard` of the draws at its own prompt was right: none, if nothing else is said. Of the groups of
hard problems the share `rate` begin, all their draws, with the first L tokens of a trace, L = floor(l T), l ~ U(low,
high); the others, and those of problems that were solved or are new, begin at the beginning. The oracle's tokens are
given and have no gradient.
"""

from __future__ import annotations

from typing import Any

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.methods.prefix_rl import PrefixRL
from explore_rl.strategies.solve_rates import SolveRates
from explore_rl.types import Group, Problem


class Pope(PrefixRL):
    """Gives some groups of hard problems the beginning of a solution.

    hard: share of right draws up to which a problem is hard.
    low, high: bounds of the share of a trace that is given.
    rate, traces, which, regions, leave_out: see `trace_options.FromTraces`; rate 0: GRPO, which keeps what was solved.
    """

    name = "pope"
    reads_policy = False
    trial = Trial(off={"rate": 0.0})

    def __init__(self, *, hard: float = 0.0, low: float = 0.2, high: float = 0.5, rate: float = 0.5, **options):
        super().__init__(low=low, high=high, rate=rate, **options)
        self.hard = parameters.share("hard", hard)
        self.rates = SolveRates()

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        super().check(config, problems, others)
        if any(other.name == "prefix_rl" for other in others):
            raise InputError("strategies: pope: prefix_rl gives draws their beginning too; choose one of them")

    def may_begin(self, group: Group, context: StepContext) -> bool:
        return self.rates.shares.get(group.problem.id, 1.0) <= self.hard

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        self.rates.note(groups)
        return groups, 0

    def state(self) -> dict[str, Any]:
        return self.rates.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.rates.load_state(state)
