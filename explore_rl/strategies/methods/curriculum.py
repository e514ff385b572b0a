"""A boundary-aware curriculum: a part of each step's problems are ones that were solved now and then when met last.

Acts at: choose (which problems come again), keep (what was solved), state. After arXiv 2606.22317, which finds the
boundary by pass@k, has traces for what lies at it or over it, and then reinforces. This is the middle part: problems
whose last share of right draws p was above 0 and at most `most` come again, with weight

    k (1 - p)^(k-1)          the slope of pass@k at p

The traces are `trace_injection` with `when: no_success` beside it.
"""

from __future__ import annotations

from typing import Any

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.solve_rates import SolveRates
from explore_rl.types import Group, Problem


class Curriculum(Strategy):
    """Brings problems at the boundary back.

    share: how many of a step's problems are brought back; 0: GRPO, which keeps what was solved.
    k: the k of pass@k.
    most: share of right draws above which a problem is not brought back.
    """

    name = "curriculum"
    reads_policy = False
    trial = Trial(off={"share": 0.0})

    def __init__(self, *, share: float = 0.5, k: int = 16, most: float = 0.5):
        self.share = parameters.share("share", share)
        self.k = parameters.whole("k", k, least=1)
        self.most = parameters.share("most", most)
        self.rates = SolveRates()

    def choose(self, problems: list[Problem], context: StepContext) -> list[Problem]:
        def weight(solved: float) -> float:
            return self.k * (1 - solved) ** (self.k - 1) if 0 < solved <= self.most else 0.0

        count = int(self.share * len(problems))
        # at the end: a replay that brings problems back as well (ex_grpo) has the first places
        chosen, back = self.rates.choose(problems, count, weight=weight, context=context, at_the_end=True)
        context.metrics["brought_back"] = float(len(back))
        return chosen

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        self.rates.note(groups)
        return groups, 0

    def state(self) -> dict[str, Any]:
        return self.rates.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.rates.load_state(state)
