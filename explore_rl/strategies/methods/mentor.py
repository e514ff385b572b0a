"""MENTOR (arXiv 2510.04140): a part of each group is drawn with an expert that speaks where the policy is unsure.

Acts at: plan (which draws are mixed), advantage (what they are worth; the entropies that the next step's limit is made
of), state (the limit). The mixture is the engine's (`explore_rl.rollout.mixture`):

    pi_mix = (1 - w_t) pi + w_t q,   w_t = min(1, H_t / limit),   limit = max(quantile .95 of H in the last step, 1.5)
    A      = the group's, over the policy's own draws alone, for these
    A      = a max(0, r - mean of the policy's own)             for mixed draws, a = (1 + cos(pi t / T_a)) / 2, then 0

So a mixed draw is never pushed down. The first step, which has no entropies yet, mixes nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.drawn_apart import draw_last_otherwise
from explore_rl.strategies.in_group import rewards_of
from explore_rl.types import Group, Problem, Request

MIXED = "mixed"  # the source of its draws
PROCESSOR = "explore_rl.rollout.mixture:TokenMixture"
ENGINE = (
    f'{{logits_processors: ["{PROCESSOR}"], additional_config: {{expert: {{model: PATH}}}}, async_scheduling: false}}'
)


class Mentor(Strategy):
    """Draws a part of each group from the mixture.

    share: how much of a group is mixed, rounded down; 0: GRPO.
    quantile, least: what the limit is made of.
    until: T_a, as a share of the run's steps.
    """

    name = "mentor"
    acts_on_draws = True
    turn = "scale"
    trial = Trial(off={"share": 0.0}, settings=(f"rollout.engine={ENGINE}",))
    biases = "its mixed draws are never pushed down"

    def __init__(self, *, share: float = 0.5, quantile: float = 0.95, least: float = 1.5, until: float = 1.0):
        self.share = parameters.share("share", share)
        self.quantile = parameters.share("quantile", quantile)
        self.least = parameters.number("least", least, above=0)
        self.until = parameters.share("until", until)
        self.limit: float | None = None

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        engine = config.rollout.engine
        said = PROCESSOR in engine.get("logits_processors", ()) and "expert" in engine.get("additional_config", {})
        if not said or engine.get("async_scheduling") is not False:
            raise InputError(f"strategies: mentor: no engine mixes an expert in; set rollout.engine={ENGINE}")
        if config.rollout.tensor_parallel > 1 or config.rollout.top_p != 1:
            raise InputError("strategies: mentor: wants rollout.tensor_parallel=1 and rollout.top_p=1")
        if int((1 - self.share) * config.algorithm.group_size) < config.rewards.min_group:
            raise InputError(f"strategies: mentor: share={self.share}: too few draws of the policy are left to compare")

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round or self.limit is None:
            return requests
        changes = {"limit": self.limit, "source": MIXED, "in_baseline": False}
        return draw_last_otherwise(requests, self.share, size=context.config.algorithm.group_size, changes=changes)

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        if not self.share:
            return
        end = self.until * context.config.run.steps
        scale = (1 + math.cos(math.pi * context.number / end)) / 2 if context.number < end else 0.0
        own = [[s for s in g.samples if s.reward is not None and s.rollout.request.in_baseline] for g in groups]
        for group, of_group in zip(groups, own, strict=True):
            mean = float(rewards_of(of_group).mean()) if of_group else 0.0
            for sample in group.samples:
                if sample.rollout.request.source == MIXED and sample.reward is not None:
                    sample.advantage = scale * max(0.0, sample.reward - mean)
        read = [s for of_group in own for s in of_group if "entropy" in s.columns]
        seen = np.concatenate([np.zeros(0), *(s.columns["entropy"][~s.rollout.given] for s in read)])
        if len(seen):
            self.limit = max(float(np.quantile(seen, self.quantile)), self.least)
        context.metrics |= {"scale": scale, "limit": self.limit or 0.0}

    def state(self) -> dict[str, Any]:
        return {"limit": self.limit}

    def load_state(self, state: dict[str, Any]) -> None:
        self.limit = state["limit"]
