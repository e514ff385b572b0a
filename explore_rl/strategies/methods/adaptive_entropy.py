"""Adaptive entropy control (Skywork-OR1, arXiv 2505.22312): the entropy bonus follows a target.

Acts at: advantage (the rows of the policy gradient feed the bonus), terms, state (the coefficient). With H the mean
entropy of the tokens that the step drew,

    loss = -c 1[H <= target] mean H_t,     c <- clip(c + rate sign(target - H), 0, 1) once a step

It reacts after the fact and to the mean over all tokens; it knows of no problem in particular.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.objectives import losses, readouts
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT
from explore_rl.strategies.builtin.kl import feed_beside_policy_gradient
from explore_rl.types import Group, Problem


class AdaptiveEntropy(Strategy):
    """An entropy bonus whose coefficient is controlled.

    target: nats a token; above it the bonus rests.
    initial: the coefficient of the first step.
    rate: how much it moves a step; 0 with initial 0: GRPO.
    """

    name = "adaptive_entropy"
    regulariser = True
    trial = Trial(on={"target": 1.5, "initial": 0.02, "rate": 0.01}, off={"target": 1.5, "initial": 0.0, "rate": 0.0})

    def __init__(self, *, target: float = 0.2, initial: float = 0.01, rate: float = 0.005):
        self.target = parameters.number("target", target, above=0)
        self.coefficient = parameters.share("initial", initial)
        self.rate = parameters.number("rate", rate, least=0)
        self.moved_in = -1  # the step that moved it last: with dynamic sampling a step has several draws

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        if config.algorithm.entropy_coefficient:
            raise InputError("strategies: adaptive_entropy: is the entropy bonus; set algorithm.entropy_coefficient=0")

    def terms(self, config: Config) -> list[LossTerm]:
        column = readouts.entropy(config.rollout.temperature)
        name = self.term_name("adaptive_entropy")
        return [LossTerm(name=name, function=losses.entropy_bonus, columns=(column,), normaliser=POLICY_GRADIENT)]

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        drawn = [s for g in groups for s in g.samples if s.rollout.drawn and "entropy" in s.columns]
        if not drawn:
            return
        mean = float(np.concatenate([s.columns["entropy"][~s.rollout.given] for s in drawn]).mean())
        if self.coefficient and mean <= self.target:
            feed_beside_policy_gradient(groups, self.term_name("adaptive_entropy"), coefficient=self.coefficient)
        context.metrics |= {"coefficient": self.coefficient, "entropy": mean}
        if self.moved_in != context.number:
            self.moved_in = context.number
            moved = self.coefficient + self.rate * float(np.sign(self.target - mean))
            self.coefficient = min(1.0, max(0.0, moved))

    def state(self) -> dict[str, Any]:
        return {"coefficient": self.coefficient, "moved_in": self.moved_in}

    def load_state(self, state: dict[str, Any]) -> None:
        self.coefficient = state["coefficient"]
        self.moved_in = state["moved_in"]
