"""UFT (arXiv 2505.16984): draws go on from a hint that gets shorter, and the hint itself is learnt by likelihood.

Acts at: plan (all draws of a group begin with the hint), inject (the hint as a sample of its own), terms. Of a trace in
five pieces the first j are given,

    j ~ Binomial(5, p_t),   p_t = .05 + .45 (1 + cos(pi t / T_h)) for t < T_h, then 0
    loss = GRPO's, of the continuations  +  coefficient mean of -log pi over the hints' tokens
"""

from __future__ import annotations

import math
from dataclasses import replace

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.objectives import losses
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.prefixes import begin_with, beginning
from explore_rl.strategies.trace_options import FromTraces
from explore_rl.strategies.traces import chosen_groups
from explore_rl.types import Group, Problem, Request

HINTED = "uft"  # the source of its draws


class Uft(FromTraces):
    """Reinforces what follows a hint and imitates the hint.

    coefficient: weight of the hints' likelihood.
    pieces: how many a trace is cut into.
    until: share of the run's steps after which no hint is given.
    rate, traces, which, regions, leave_out: see `trace_options.FromTraces`; rate 0: GRPO.
    """

    name = "uft"
    trial = Trial(off={"rate": 0.0})

    def __init__(self, *, coefficient: float = 0.001, pieces: int = 5, until: float = 0.6, **options):
        super().__init__(**options)
        self.coefficient = parameters.number("coefficient", coefficient, least=0)
        self.pieces = parameters.whole("pieces", pieces, least=1)
        self.until = parameters.share("until", until)

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        super().check(config, problems, others)
        for other in others:
            if other.name in ("prefix_rl", "prefix_rft", "pope"):
                raise InputError(f"strategies: uft: {other.name} gives draws their beginning too; choose one of them")

    def terms(self, config: Config) -> list[LossTerm]:
        name = self.term_name("uft")
        return [LossTerm(name=name, function=losses.likelihood, normaliser=name)]

    def chance(self, context: StepContext) -> float:
        """p_t."""
        end = self.until * context.config.run.steps
        return 0.05 + 0.45 * (1 + math.cos(math.pi * context.number / end)) if context.number < end else 0.0

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round:
            return requests
        self.source.prepare([g.problem for g in groups], context)
        chosen = chosen_groups(groups, self.rate, context=context)
        counts = context.rng.binomial(self.pieces, self.chance(context), len(groups))
        wanted = {index: int(chosen[index] and counts[index] > 0) for index in range(len(groups))}
        hints = {}
        for index, picked in self.source.pick(groups, wanted, context=context).items():
            for usable in picked:
                hint = beginning(usable.tokens, counts[index] / self.pieces)
                hints |= {index: (usable, hint)} if len(hint) else {}
        context.kept["hints"] = hints
        context.metrics |= {"chance": self.chance(context), "hinted": float(len(hints))}
        return begin_with({index: hint for index, (_, hint) in hints.items()}, requests, source=HINTED)

    def inject(self, groups: list[Group], context: StepContext) -> None:
        for index, (usable, hint) in context.kept.pop("hints").items() if self.coefficient else ():
            imitated = self.source.sample(
                groups[index], index, usable=replace(usable, tokens=hint), context=context, in_baseline=False
            )
            imitated.terms = {self.term_name("uft"): self.coefficient}
            groups[index].samples.append(imitated)
