"""RLEP (arXiv 2507.07451): verified successes of earlier steps stand beside the fresh draws of their problem.

Acts at: inject (up to `count` of the problem's stored successes join the group, and its statistics), advantage (their
log-probabilities at the time they were drawn take the place of the present ones), keep (this draw's successes are
stored), state (the bank). The loss is `algorithm.loss`: the ratio is of the present policy and the one that drew.
"""

from __future__ import annotations

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Trial
from explore_rl.strategies.replay import Bank, WithBank
from explore_rl.types import Group


class Rlep(WithBank):
    """Replays own successes beside the draws.

    count: replays a group gets at most; 0: GRPO, which keeps a bank.
    which: "uniform", or "surest": the one whose tokens have the least entropy now, for a count of 1.
    size: successes that are kept of a problem.
    """

    name = "rlep"
    acts_on_draws = True
    biases = "replays stand in the baseline"
    trial = Trial(off={"count": 0})

    def __init__(self, *, count: int = 2, which: str = "uniform", size: int = 16):
        self.count = parameters.whole("count", count, least=0)
        self.which = parameters.choice("which", which, choices=("uniform", "surest"))
        if which == "surest" and count > 1:
            raise ValueError(f"which=surest names one success; count={count!r}: expected 1")
        self.bank = Bank(self.name, size=parameters.whole("size", size, least=1))

    def inject(self, groups: list[Group], context: StepContext) -> None:
        replayed = 0
        for index, group in enumerate(groups):
            stored = self.bank.of(group.problem.id)
            if self.which == "surest" and stored and self.count:
                stored = [self.bank.surest(group, context)]
            for place in context.rng.permutation(len(stored))[: self.count]:
                sample = self.bank.sample(group, index, kept=stored[place], context=context, in_baseline=True)
                group.samples.append(sample)
                context.kept.setdefault("mine", set()).add(id(sample))
                replayed += 1
        context.metrics["replayed"] = context.metrics.get("replayed", 0.0) + replayed

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        mine = context.kept.get("mine", set())
        for sample in (s for g in groups for s in g.samples if id(s) in mine):
            sample.columns["old_logprob"] = sample.columns["past_logprob"]

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        new = self.bank.add(groups, context)
        context.metrics["stored"] = context.metrics.get("stored", 0.0) + new
        return groups, 0
