"""ReMax (arXiv 2310.10505, algorithm 1): the reward of the greedy completion is what the others are measured against.

Acts at: plan (a greedy draw besides the others of each group), advantage.

    A_i = r_i - r(greedy completion)

The baseline knows nothing of the draws, so the gradient is unbiased without leaving anything out, and nothing is
divided by a spread. The greedy completion itself teaches nothing.
"""

from __future__ import annotations

from dataclasses import replace

from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import against_group, needs_comparison
from explore_rl.strategies.rivals import refuse_rivals
from explore_rl.types import Group, Problem, Request

GREEDY = "greedy"  # the source of its draws


class Remax(Strategy):
    """Measures each sample against the greedy completion of its problem.

    share: the greedy completion's part in the baseline; the rest is what `algorithm.advantage` says. 1: ReMax; 0: GRPO.
    """

    name = "remax"
    reads_policy = False
    acts_on_draws = True
    turn = "first"
    trial = Trial(off={"share": 0.0})

    def __init__(self, *, share: float = 1.0):
        self.share = parameters.share("share", share)
        self.own_baseline = self.share == 1

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        refuse_rivals(self, others)

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round or not self.share:
            return requests
        last = {request.group: request for request in requests}
        changes = {"source": GREEDY, "engine": "policy", "temperature": 0.0, "in_baseline": False, "share": None}
        return [*requests, *(replace(request, **changes) for request in last.values())]

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        if not self.share:
            return
        rewards = []
        for group in groups:
            greedy = next((s for s in group.samples if s.rollout.request.source == GREEDY), None)
            baseline = greedy.reward if greedy is not None else None
            own = {id(sample): value for sample, value in against_group(group, context.config)}
            for sample in group.samples:
                if sample is greedy:
                    sample.terms = {}
                elif baseline is None and needs_comparison(sample, context):
                    sample.reward = None  # an error of the greedy completion is no baseline of 0
                elif baseline is not None and sample.reward is not None:
                    # In place of what the group says alone: what other strategies have added stays.
                    sample.advantage += self.share * (sample.reward - baseline - own.get(id(sample), 0.0))
            rewards += [] if baseline is None else [baseline]
        context.metrics["greedy_reward"] = sum(rewards) / max(1, len(rewards))
        context.metrics["without_baseline"] = 1 - len(rewards) / len(groups)
