"""Detours: draws that leave the policy's own path at one token, so that what it never says can be met and verified.

Acts at: plan (when the group's draws are back), inject, terms (-log pi of the detours that are right, with a normaliser
of its own). It is our own.

A detour is a draw of the group cut at a place t ~ U{0..T-1}: the token there is replaced by one drawn uniformly from
the vocabulary, and the policy goes on from it. So a completion that needs a token of probability 1e-9 is met once in
some thousand draws, not once in 1e9. A detour takes no part in the group's statistics. From one that is wrong nothing
is learnt; one that is right is learnt as a whole, its given tokens too: it was found, and is no longer the policy's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from explore_rl.config.schema import Config
from explore_rl.models import load_tokenizer
from explore_rl.objectives import losses
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.types import Group, Request, Status

DETOUR = "detour"  # the source of its draws


class Detours(Strategy):
    """Adds draws that leave the path of a group's draws.

    per_group: how many a group gets.
    coefficient: of the loss of those that are right.
    """

    name = "detours"
    reads_policy = False
    acts_on_draws = True
    trial = Trial(off={"per_group": 0})

    def __init__(self, *, per_group: int = 4, coefficient: float = 0.3):
        self.per_group = parameters.whole("per_group", per_group, least=0)
        self.coefficient = parameters.number("coefficient", coefficient, least=0)

    def terms(self, config: Config) -> list[LossTerm]:
        name = self.term_name("detours")
        return [LossTerm(name=name, function=losses.likelihood, normaliser=name)]

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round != 1 or not self.per_group:
            return requests
        tokenizer = load_tokenizer(context.config.model.path)
        vocabulary = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)
        found = []
        for group in groups:
            drawn = [s.rollout for s in group.samples if s.rollout.request.source == "policy"]
            for place in context.rng.integers(len(drawn), size=self.per_group if drawn else 0):
                left = drawn[place]
                cut = context.rng.integers(min(len(left.tokens), left.request.max_tokens - 1))
                prefix = np.append(left.tokens[:cut], context.rng.choice(vocabulary))
                found.append(replace(left.request, source=DETOUR, prefix_ids=prefix, in_baseline=False))
        return requests + found

    def inject(self, groups: list[Group], context: StepContext) -> None:
        mine = [s for g in groups for s in g.samples if s.rollout.request.source == DETOUR]
        for sample in mine:
            if sample.verdict.status is Status.CORRECT:
                sample.terms = {self.term_name("detours"): self.coefficient}
                sample.columns["learn_given"] = np.ones(len(sample.rollout.tokens), dtype=np.float32)
            else:
                sample.reward, sample.terms = None, {}
        right = sum(bool(sample.terms) for sample in mine)
        context.metrics["right"] = context.metrics.get("right", 0.0) + right
