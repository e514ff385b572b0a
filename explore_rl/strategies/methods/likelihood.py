"""Likelihood training (SFT) on traces: the control that every result of trace injection has to beat.

Acts at: plan (with only=True nothing is drawn), inject (traces join the group outside its baseline), terms (-log pi of
the traces' tokens, with a normaliser of its own).

Alone it is supervised fine-tuning on the same traces in the same order. Beside the draws, and so beside the policy
gradient, it is the "RL + SFT loss" variant.
"""

from __future__ import annotations

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.objectives import losses
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy
from explore_rl.strategies.trace_options import FromTraces
from explore_rl.strategies.traces import WHEN, chosen_groups, without_success
from explore_rl.types import Group, Problem, Request


class Likelihood(FromTraces):
    """Adds the likelihood loss on traces.

    coefficient: weight of the loss.
    only: no policy gradient at all; nothing is drawn.
    per_group, rate, when: as in trace injection.
    traces, which, regions, leave_out: see `traces.TraceSource`.
    """

    name = "likelihood"
    reads_policy = False
    acts_on_draws = False

    def __init__(
        self, *, coefficient: float = 1.0, only: bool = False, per_group: int = 1, when: str = "always", **options
    ):
        super().__init__(**options)
        self.coefficient = parameters.number("coefficient", coefficient)
        self.only = parameters.flag("only", only)
        self.per_group = parameters.whole("per_group", per_group, least=1)
        self.when = parameters.choice("when", when, choices=WHEN)
        if only and when != "always":
            raise ValueError("only=true draws nothing, so when=no_success has nothing to look at; use when=always")

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        rounds = config.algorithm.dynamic_sampling_rounds
        if self.only and rounds:
            raise InputError(
                "strategies: likelihood: only=true draws nothing to draw again;"
                f" set algorithm.dynamic_sampling_rounds=0 (it is {rounds})"
            )
        idle = [other.name for other in others if other.acts_on_draws]
        if self.only and idle:
            raise InputError(
                f"strategies: likelihood: only=true draws nothing, so {idle[0]} has nothing to act on;"
                " leave it out, or set only=false"
            )
        super().check(config, problems, others)

    def terms(self, config: Config) -> list[LossTerm]:
        name = self.term_name("likelihood")
        return [LossTerm(name=name, function=losses.likelihood, normaliser=name)]

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        return [] if self.only else requests

    def inject(self, groups: list[Group], context: StepContext) -> None:
        self.source.prepare([g.problem for g in groups], context)
        chosen = chosen_groups(groups, self.rate, context=context)
        injected = 0
        wanted = {
            index: self.per_group
            for index, group in enumerate(groups)
            if chosen[index] and (self.when == "always" or without_success(group))
        }
        for index, picked in self.source.pick(groups, wanted, context=context).items():
            for usable in picked:
                sample = self.source.sample(groups[index], index, usable=usable, context=context, in_baseline=False)
                sample.terms = {self.term_name("likelihood"): self.coefficient}
                groups[index].samples.append(sample)
                injected += 1
        # The sum over the rounds of dynamic sampling, each of which injects.
        context.metrics["injected"] = context.metrics.get("injected", 0.0) + injected
        context.metrics |= self.source.metrics()
