"""Strategies that have traces: the options that they share, and the two ways in which a trace joins a group."""

from __future__ import annotations

from typing import Any

from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy
from explore_rl.strategies.traces import (
    WHEN,
    TraceSource,
    check_budget,
    chosen_groups,
    drop_for_traces,
    without_success,
)
from explore_rl.types import Group, Problem, Request, Sample


class FromTraces(Strategy):
    """Has a source of traces.

    rate: share of groups that traces, or what is made of them, are for.
    traces, which, regions, leave_out: see `traces.TraceSource`.
    """

    acts_on_draws = True

    def __init__(
        self,
        *,
        rate: float = 1.0,
        traces: str | dict[str, Any] | None = None,
        which: str = "uniform",
        regions: list[str] | None = None,
        leave_out: list[str] | None = None,
    ):
        self.rate = parameters.share("rate", rate)
        self.source = TraceSource(
            traces,
            which=which,
            regions=parameters.labels("regions", regions),
            leave_out=parameters.labels("leave_out", leave_out),
        )

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        self.source.check(self.name, problems, config=config)


class Injection(FromTraces):
    """Puts traces into groups as members that others are compared with. A subclass has `trace_terms`, and the terms.

    per_group: traces a group gets.
    when: "always" (in place of a draw), or "no_success" (beside the draws, only where all of them failed).
    statistics: the samples that mean and spread are taken over, "all" or "on_policy".
    """

    def __init__(self, *, per_group: int = 1, when: str = "always", statistics: str = "all", **options):
        super().__init__(**options)
        self.per_group = parameters.whole("per_group", per_group, least=1)
        self.when = parameters.choice("when", when, choices=WHEN)
        self.statistics = parameters.choice("statistics", statistics, choices=("all", "on_policy"))
        if when == "no_success":
            self.biases = "when=no_success injects where the draws failed"
        elif statistics == "all":
            self.biases = "statistics=all puts traces into a baseline that then differs between components"

    def trace_terms(self) -> dict[str, float]:
        """The loss terms that a trace feeds, with their coefficients."""
        raise NotImplementedError

    def is_ours(self, sample: Sample) -> bool:
        """Whether it is a trace of this instance."""
        return bool(self.trace_terms().keys() & sample.terms.keys())

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        check_budget(self.name, self.per_group, config=config)
        super().check(config, problems, others)

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round > 0 or self.when != "always":
            return requests
        self.source.prepare([g.problem for g in groups], context)
        chosen = chosen_groups(groups, self.rate, context=context)
        room = {}
        for index, group in enumerate(groups):
            usable = len(self.source.usable[group.problem.id])
            room[index] = min(self.per_group, usable) if chosen[index] else 0
        context.kept["room"] = room
        return drop_for_traces(requests, room)

    def inject(self, groups: list[Group], context: StepContext) -> None:
        # Only now is it known which groups failed; with "always" `plan` has made room before the draws.
        if self.when == "no_success":
            self.source.prepare([g.problem for g in groups], context)
            chosen = chosen_groups(groups, self.rate, context=context)
            room = {i: self.per_group if chosen[i] and without_success(g) else 0 for i, g in enumerate(groups)}
        else:
            room = context.kept["room"]
        in_baseline = self.statistics == "all"
        injected = 0
        for index, picked in self.source.pick(groups, room, context=context).items():
            for usable in picked:
                sample = self.source.sample(
                    groups[index], index, usable=usable, context=context, in_baseline=in_baseline
                )
                sample.terms = self.trace_terms()
                groups[index].samples.append(sample)
                injected += 1
        # The sum over the rounds of dynamic sampling, each of which injects.
        context.metrics["injected"] = context.metrics.get("injected", 0.0) + injected
        context.metrics |= self.source.metrics()
