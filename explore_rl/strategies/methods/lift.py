"""Lift: what proved right once, whoever found it, is remembered and lifted to where it can be found again.

Acts at: inject (what is lifted, as groups of their own), terms, keep (what is right is remembered), state (the memory).
It is our own.

Remembered is one completion of every mode of every problem: a draw's, a detour's (`detours`), a trace's (of a strategy
that injects some). In every step the least likely of some remembered ones, of whatever problems, are shown, each by
itself, with the loss at each of its tokens

    -log pi(y_t)   where pi(y) < floor,   0 elsewhere

so that nothing is pushed beyond what it takes to be found, and what falls below the floor is lifted again.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from explore_rl.config.schema import Config
from explore_rl.objectives import readouts
from explore_rl.objectives.terms import SEQUENCE, LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Trial
from explore_rl.strategies.replay import Bank, Kept, WithBank
from explore_rl.types import Group, Problem

SIZE = 1024  # completions that are remembered of a problem


class Lift(WithBank):
    """A memory of what was right, and a floor under it.

    coefficient: weight of the loss, whose normaliser is its own; 0: GRPO, which remembers.
    count: remembered completions that a step shows: the least likely of `choice` times as many.
    choice: see there; 1: any.
    floor: probability of a completion from which on it is left alone.
    """

    name = "lift"
    acts_on_draws = False
    reads_policy = False
    trial = Trial(on={"floor": 0.9}, off={"coefficient": 0.0})

    def __init__(
        self,
        *,
        coefficient: float = 0.3,
        count: int = 16,
        choice: int = 4,
        floor: float = 0.05,
    ):
        self.coefficient = parameters.number("coefficient", coefficient, least=0)
        self.count = parameters.whole("count", count, least=1)
        self.choice = parameters.whole("choice", choice, least=1)
        self.floor = parameters.number("floor", floor, above=0)
        self.bank = Bank(self.name, size=SIZE)

    def terms(self, config: Config) -> list[LossTerm]:
        return [
            LossTerm(
                name=self.term_name("lift"),
                function=lift,
                columns=(SEQUENCE,),
                params={"floor": self.floor},
                normaliser=self.term_name("lift"),
                metrics=lift_metrics,
            )
        ]

    def inject(self, groups: list[Group], context: StepContext) -> None:
        for problem, kept in self.rarest(context) if self.coefficient else ():
            alone = Group(problem, [])
            sample = self.bank.sample(alone, len(groups), kept=kept, context=context, in_baseline=False)
            sample.terms = {self.term_name("lift"): self.coefficient}
            alone.samples.append(sample)
            groups.append(alone)

    def rarest(self, context: StepContext) -> list[tuple[Problem, Kept]]:
        """What is lifted. Problems with something remembered are equally likely to be looked at, then their modes."""
        problems = [problem for problem in context.problems if self.bank.of(problem.id)]
        candidates = []
        for place in context.rng.permutation(len(problems))[: self.count * self.choice]:
            stored = self.bank.of(problems[place].id)
            candidates.append((problems[place], stored[context.rng.integers(len(stored))]))
        sequences = []
        for problem, kept in candidates:
            prompt = context.encode_prompt(problem)
            sequences.append((np.append(prompt, np.array(kept.tokens, dtype=np.int32)), len(prompt)))
        read = context.read(sequences, (readouts.logprob(context.config.rollout.temperature),)) if candidates else []
        return [candidates[i] for i in np.argsort([values.sum() for (values,) in read])[: self.count]]

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        context.metrics["new"] = context.metrics.get("new", 0.0) + self.bank.take(groups, context)
        return groups, 0


def is_below(logprob: Tensor, sequence: Tensor, *, floor: float) -> Tensor:
    """1.0 where the completion of a token is less likely than `floor`, 0.0 elsewhere, [N]; without gradient."""
    nothing = logprob.new_zeros(int(sequence.max()) + 1 if len(sequence) else 0)
    total = nothing.index_add(0, sequence, logprob.detach())
    return (total < math.log(floor)).to(logprob.dtype)[sequence]


def lift(logprob: Tensor, sequence: Tensor, *, floor: float) -> Tensor:
    """-log pi of each token of a completion below the floor, [N]. sequence: int64 [N], the completion of a token.

    Two completions of probability .25 and .5, floor .3: the second is left alone.

    >>> import torch
    >>> log_p = torch.tensor([0.5, 0.5, 0.5]).log()
    >>> [round(loss, 4) for loss in lift(log_p, torch.tensor([0, 0, 1]), floor=0.3).tolist()]
    [0.6931, 0.6931, 0.0]
    """
    return -logprob * is_below(logprob, sequence, floor=floor)


def lift_metrics(logprob: Tensor, sequence: Tensor, *, floor: float) -> dict[str, Tensor]:
    """Per token: whether its completion is below the floor."""
    return {"below": is_below(logprob, sequence, floor=floor)}
