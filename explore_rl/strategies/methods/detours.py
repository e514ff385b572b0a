"""Detours: draws that leave the policy's own path at one token, so that what it never says can be met and verified.

Acts at: plan (when the group's draws are back), inject, terms (-log pi of the detours that are right, with a normaliser
of its own). It is our own.

A detour is a draw of the group with another token at a place t ~ U{0..T-1}. With probability `rejoin` it then comes back
to the draw's own tokens behind t, and the policy goes on from their end; else the policy goes on from t. Which token
stands at t is drawn with probability

    q(v) = (1 + n_v)^-rarity / sum_u (1 + n_u)^-rarity        n_v: how often the run's draws had v so far

over the vocabulary without special tokens: what the policy says least is tried most. So a completion that needs a token
of probability 1e-9 is met once in some hundred draws, not once in 1e9. A detour takes no part in the group's
statistics. From one that is wrong nothing is learnt; one that is right is learnt as a whole, its given tokens too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
    rejoin: share of them that come back to the draw's own tokens.
    rarity: how strongly a token that is drawn less is preferred; 0: all are as likely.
    coefficient: of the loss of those that are right.
    """

    name = "detours"
    reads_policy = False
    acts_on_draws = True
    trial = Trial(on={"rarity": 0.0}, off={"per_group": 0})

    def __init__(self, *, per_group: int = 8, rejoin: float = 0.75, rarity: float = 1.0, coefficient: float = 0.3):
        self.per_group = parameters.whole("per_group", per_group, least=0)
        self.rejoin = parameters.share("rejoin", rejoin)
        self.rarity = parameters.number("rarity", rarity, least=0)
        self.coefficient = parameters.number("coefficient", coefficient, least=0)
        self.seen = np.zeros(0, dtype=np.int64)  # of each token, how often it was drawn

    def terms(self, config: Config) -> list[LossTerm]:
        name = self.term_name("detours")
        return [LossTerm(name=name, function=losses.likelihood, normaliser=name)]

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round != 1 or not self.per_group:
            return requests
        drawn = [[s.rollout for s in g.samples if s.rollout.request.source == "policy"] for g in groups]
        chance = self.count([rollout.tokens for rollouts in drawn for rollout in rollouts], context)
        found = []
        for rollouts in drawn:
            for place in context.rng.integers(len(rollouts), size=self.per_group if rollouts else 0):
                left = rollouts[place]
                cut = context.rng.integers(min(len(left.tokens), left.request.max_tokens - 1))
                behind = left.tokens[cut + 1 : -1] if context.rng.random() < self.rejoin else []
                prefix = np.concatenate([left.tokens[:cut], [context.rng.choice(len(chance), p=chance)], behind])
                found.append(replace(left.request, source=DETOUR, prefix_ids=prefix, in_baseline=False))
        return requests + found

    def count(self, drawn: list[np.ndarray], context: StepContext) -> np.ndarray:
        """Counts the tokens that were drawn. Returns q, [vocabulary]."""
        tokenizer = load_tokenizer(context.config.model.path)
        before = np.append(self.seen, np.zeros(len(tokenizer) - len(self.seen), dtype=np.int64))
        self.seen = before + np.bincount(np.concatenate([*drawn, []]).astype(np.int64), minlength=len(tokenizer))
        weight = (1.0 + self.seen) ** -self.rarity
        weight[tokenizer.all_special_ids] = 0
        return weight / weight.sum()

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

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen.tolist()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.seen = np.array(state["seen"], dtype=np.int64)
