"""ProRL's hard resets (arXiv 2505.24864): the KL's base becomes the present policy, the optimizer forgets.

Acts at: reward (it notes the scores of everything drawn), after_update. The rest of ProRL are settings: clip-higher,
dynamic sampling, KL in the loss.

A KL to a base that stays where it was grows until it outweighs the reward. ProRL moves the base when validation
stagnates. Here it moves after every so many steps, or when the mean score of the policy's draws, smoothed over about
ten steps, has not risen for so long.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.types import Group, Problem

RATE = 0.1  # of the smoothed score


class ProRL(Strategy):
    """Resets base and optimizer between steps.

    every: steps between resets; None: not by the clock.
    patience: steps without a new best of the smoothed score, since it or the last reset, before one; None: not by it.
    """

    name = "prorl"
    reads_policy = False
    trial = Trial(on={"every": 1}, off={}, settings=("algorithm.kl=k2", "algorithm.kl_coefficient=0.25"))

    def __init__(self, *, every: int | None = None, patience: int | None = None):
        self.every = None if every is None else parameters.whole("every", every, least=1)
        self.patience = None if patience is None else parameters.whole("patience", patience, least=1)
        self.smoothed: float | None = None
        self.best = -math.inf
        self.waited = 0  # steps since the best score, or the last reset
        self.resets = 0

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        if config.learner.lora is not None:
            raise InputError(
                "strategies: prorl: moves the base, and with learner.lora the base is the model without its adapters,"
                " which stays; set learner.lora=null"
            )
        needs = [other.needs(config) for other in others]
        if not any(need.base_model for need in needs):
            raise InputError("strategies: prorl: nothing reads the base; set algorithm.kl and algorithm.kl_coefficient")
        if any(need.base_engine for need in needs):
            raise InputError("strategies: prorl: resets the base, and an engine draws from the initial one")

    def reward(self, groups: list[Group], context: StepContext) -> None:
        """Notes the scores: of every draw, since dynamic sampling drops groups that failed; of no other component."""
        own = [s for g in groups for s in g.samples if s.rollout.drawn and s.rollout.request.in_baseline]
        scores: list[float] = context.kept.setdefault("scores", [])
        scores += [s.verdict.score for s in own if s.verdict.score is not None]

    def after_update(self, groups: list[Group], context: StepContext) -> None:
        if scores := context.kept.get("scores"):
            mean = float(np.mean(scores))
            self.smoothed = mean if self.smoothed is None else self.smoothed + RATE * (mean - self.smoothed)
        self.waited += 1
        if self.smoothed is not None and self.smoothed > self.best:
            self.best = self.smoothed
            self.waited = 0
        by_clock = self.every is not None and (context.number + 1) % self.every == 0
        if by_clock or (self.patience is not None and self.waited >= self.patience):
            context.refresh_base()
            context.reset_optimizer()
            self.best = -math.inf if self.smoothed is None else self.smoothed
            self.waited = 0
            self.resets += 1
        context.metrics |= {"resets": float(self.resets), "waited": float(self.waited)}

    def state(self) -> dict[str, Any]:
        best = None if self.best == -math.inf else self.best
        return {"score": self.smoothed, "best": best, "waited": self.waited, "resets": self.resets}

    def load_state(self, state: dict[str, Any]) -> None:
        self.smoothed = state["score"]
        self.waited = state["waited"]
        self.resets = state["resets"]
        self.best = -math.inf if state["best"] is None else state["best"]
