"""Detours: draws with one token changed are verified too, so that what the policy never says can be met.

Acts at: inject (detours that are right stand beside the group's draws, outside its baseline), terms (-log pi of them,
with a normaliser of its own), state (the counts). It is our own.

A detour is a draw of the group with another token at a place t ~ U{0..T-1}; all else stays. Which token, is drawn with
probability

    q(v) = (1 + n_v)^-rarity / sum_u (1 + n_u)^-rarity        n_v: how often v was drawn or tried so far

over the vocabulary without special tokens, or over tokens that are named: what was met least is tried most. So a
completion that needs a token of probability 1e-9 is met once in some hundred detours, not once in 1e9 draws. A detour
costs no draw and a verdict. A wrong one is dropped; a right one was found, and is learnt from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.models import load_tokenizer
from explore_rl.objectives import losses
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial, given
from explore_rl.types import Group, Problem, Sample, Status

DETOUR = "detour"  # the source of what it adds


class Detours(Strategy):
    """Verifies draws with one token changed.

    per_group: how many a group gets.
    rarity: how strongly a token that was met less is preferred; 0: all are as likely.
    coefficient: weight of the loss of those that are right.
    among: the tokens that are tried, by their texts; None: all but special ones, which finds nothing where there are
        50,000 of them.
    """

    name = "detours"
    reads_policy = False
    acts_on_draws = True
    trial = Trial(on={"per_group": 64, "rarity": 0.0}, off={"per_group": 0})

    def __init__(
        self, *, per_group: int = 32, rarity: float = 1.0, coefficient: float = 0.3, among: list[str] | None = None
    ):
        self.per_group = parameters.whole("per_group", per_group, least=0)
        self.rarity = parameters.number("rarity", rarity, least=0)
        self.coefficient = parameters.number("coefficient", coefficient, least=0)
        self.among = parameters.labels("among", among)
        self.seen = np.zeros(0, dtype=np.int64)  # of each token, how often it was drawn or tried

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        self.named(load_tokenizer(config.model.path))

    def terms(self, config: Config) -> list[LossTerm]:
        name = self.term_name("detours")
        return [LossTerm(name=name, function=losses.likelihood, normaliser=name)]

    def inject(self, groups: list[Group], context: StepContext) -> None:
        tokenizer = load_tokenizer(context.config.model.path)
        drawn = [[s.rollout for s in g.samples if s.rollout.request.source == "policy"] for g in groups]
        chance = self.count([rollout.tokens for rollouts in drawn for rollout in rollouts], context)
        changed = []
        for group, rollouts in zip(groups, drawn, strict=True):
            for place in context.rng.integers(len(rollouts), size=self.per_group if rollouts else 0):
                tokens = rollouts[place].tokens.copy()
                tried = context.rng.choice(len(chance), p=chance)
                self.seen[tried] += 1
                tokens[context.rng.integers(len(tokens))] = tried
                text = tokenizer.decode(tokens, skip_special_tokens=True)
                changed.append(
                    (group, given(rollouts[place].request, tokens=tokens, text=text, source=DETOUR, in_baseline=False))
                )
        ends = {*tokenizer.all_special_ids, int(context.encode_completion("")[-1])}
        verdicts = context.verify([(group.problem, detour.text) for group, detour in changed])
        right = 0
        for (group, detour), verdict in zip(changed, verdicts, strict=True):
            if verdict.status is Status.CORRECT and detour.tokens[-1] in ends:
                terms = {self.term_name("detours"): self.coefficient}
                group.samples.append(Sample(detour, verdict, reward=verdict.score, terms=terms))
                right += 1
        context.metrics["right"] = context.metrics.get("right", 0.0) + right

    def count(self, drawn: list[np.ndarray], context: StepContext) -> np.ndarray:
        """Counts the tokens that were drawn. Returns q, [vocabulary]."""
        tokenizer = load_tokenizer(context.config.model.path)
        before = np.append(self.seen, np.zeros(len(tokenizer) - len(self.seen), dtype=np.int64))
        self.seen = before + np.bincount(np.concatenate([*drawn, []]).astype(np.int64), minlength=len(tokenizer))
        weight = (1.0 + self.seen) ** -self.rarity
        weight[tokenizer.all_special_ids] = 0
        if self.among is not None:
            weight[np.setdiff1d(np.arange(len(weight)), self.named(tokenizer))] = 0
        return weight / weight.sum()

    def named(self, tokenizer: Any) -> list[int]:
        """The ids of `among`. Raises InputError for a text that is not one token."""
        found = []
        for text in self.among or ():
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            if len(ids) != 1:
                raise InputError(f"strategies: detours: among: {text!r} is {len(ids)} tokens; name one at a time")
            found += ids
        return found

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen.tolist()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.seen = np.array(state["seen"], dtype=np.int64)
