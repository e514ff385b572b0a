"""The witness floor: what was found once must stay within reach, log pi(y) >= log pi_base(y) + log alpha. One-sided.

Acts at: inject (witnesses of the group's problem, outside its baseline), terms, keep (new ones are stored), state (the
bank). Witnesses are right completions that the policy drew in this run. The loss of one is, at each of its tokens,

    max(0, log alpha + log pi_base(y) - log pi(y))          sums over the completion, nats

so it is 0 as long as the policy gives a witness at least alpha times what the base gives it, and it never holds a
success down. It is our own; a note without a paper proposes such a floor on teacher-forced traces.
"""

from __future__ import annotations

import math

from torch import Tensor

from explore_rl.config.schema import Config
from explore_rl.objectives.terms import SEQUENCE, LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Needs, StepContext, Trial
from explore_rl.strategies.builtin.kl import base_logprob
from explore_rl.strategies.replay import Bank, WithBank
from explore_rl.types import Group


class WitnessFloor(WithBank):
    """Keeps successes from falling below a share of the base's probability.

    alpha: the share, in (0, 1].
    coefficient: weight of the loss, whose normaliser is its own.
    per_group: witnesses that a group of the problem brings along; 0: GRPO, which keeps a bank.
    size: witnesses that are kept of a problem.
    """

    name = "witness_floor"
    regulariser = True
    trial = Trial(on={"alpha": 1.0}, off={"alpha": 1.0, "per_group": 0})

    def __init__(self, *, alpha: float = 0.5, coefficient: float = 0.1, per_group: int = 2, size: int = 16):
        self.alpha = parameters.number("alpha", alpha, above=0)
        if alpha > 1:
            raise ValueError(f"alpha={alpha!r}: expected at most 1; the floor is no lift")
        self.coefficient = parameters.number("coefficient", coefficient, above=0)
        self.per_group = parameters.whole("per_group", per_group, least=0)
        self.bank = Bank(self.name, size=parameters.whole("size", size, least=1))

    def needs(self, config: Config) -> Needs:
        return Needs(columns=(base_logprob(config),))

    def terms(self, config: Config) -> list[LossTerm]:
        name = self.term_name("witness_floor")
        return [
            LossTerm(
                name=name,
                function=floor,
                columns=("base_logprob", SEQUENCE),
                params={"alpha": self.alpha},
                normaliser=name,
                metrics=floor_metrics,
            )
        ]

    def inject(self, groups: list[Group], context: StepContext) -> None:
        shown = 0
        for index, group in enumerate(groups):
            stored = self.bank.of(group.problem.id)
            for place in context.rng.permutation(len(stored))[: self.per_group]:
                sample = self.bank.sample(group, index, kept=stored[place], context=context, in_baseline=False)
                sample.terms = {self.term_name("witness_floor"): self.coefficient}
                group.samples.append(sample)
                shown += 1
        context.metrics["witnesses"] = context.metrics.get("witnesses", 0.0) + shown

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        context.metrics["stored"] = context.metrics.get("stored", 0.0) + self.bank.add(groups, context)
        return groups, 0


def floor(logprob: Tensor, base_logprob: Tensor, sequence: Tensor, *, alpha: float) -> Tensor:
    """The loss of its completion at each token, [N].

    logprob: the policy's, [N], with gradient.
    base_logprob: under the base, [N].
    sequence: int64 [N], which completion a token belongs to.
    alpha: the floor, as a share of the base's probability, above 0.

    A completion of two tokens, each half as likely as under the base: its log-ratio is -1.386, .693 below the floor of
    alpha = 1/2.

    >>> import torch
    >>> lp = torch.tensor([0.25, 0.25]).log()
    >>> [round(x, 4) for x in floor(lp, torch.tensor([0.5, 0.5]).log(), torch.tensor([0, 0]), alpha=0.5).tolist()]
    [0.6931, 0.6931]
    """
    return (math.log(alpha) - log_ratio(logprob, base_logprob, sequence=sequence)).clamp(min=0.0)[sequence]


def log_ratio(logprob: Tensor, base_logprob: Tensor, *, sequence: Tensor) -> Tensor:
    """log pi(y) - log pi_base(y) of each completion, [completions]."""
    nothing = logprob.new_zeros(int(sequence.max()) + 1 if len(sequence) else 0)
    return nothing.index_add(0, sequence, logprob - base_logprob)


def floor_metrics(logprob: Tensor, base_logprob: Tensor, sequence: Tensor, *, alpha: float) -> dict[str, Tensor]:
    """Per token: whether its completion is below the floor, and the completion's log-ratio.

    logprob, base_logprob, sequence, alpha: as in `floor`.
    Returns figure -> [N].
    """
    ratio = log_ratio(logprob, base_logprob, sequence=sequence)
    return {"below": (ratio < math.log(alpha)).float()[sequence], "log_ratio": ratio[sequence]}
