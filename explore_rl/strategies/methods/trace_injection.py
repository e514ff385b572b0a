"""Trace injection, as LUFFY does it (arXiv 2504.14945): worked solutions join the group as off-policy samples.

Acts at: plan (a trace takes the place of a draw), inject (the trace joins the group), terms (its shaped loss).

A trace token enters the policy gradient as  -f(pi(y_t)) A  with  f(p) = p / (p + gamma),  gradient through f: its weight on grad log pi is
gamma p / (p + gamma)^2, largest at p = gamma, so that rare tokens are lifted and near-certain ones left alone. Trace tokens share the
normaliser of the policy gradient.
"""

from __future__ import annotations

from explore_rl.config.schema import Config
from explore_rl.objectives import losses
from explore_rl.objectives.terms import LossTerm
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
from explore_rl.types import Group, Problem, Request


class TraceInjection(Strategy):
    """per_group: traces a group gets. rate: share of groups that get any. when: "always" (in place of a draw), or "no_success" (beside
    the draws, only where all of them failed). statistics: "all" or "on_policy", the samples that mean and spread are taken over.
    gamma: of the shaping. clip: largest f(p) that still gets a gradient, None: no clipping. traces, which, regions, leave_out: see
    `traces.TraceSource`.
    """

    name = "trace_injection"

    def __init__(
        self,
        per_group: int = 1,
        rate: float = 1.0,
        when: str = "always",
        statistics: str = "all",
        gamma: float = 0.1,
        clip: float | None = None,
        traces: str | None = None,
        which: str = "uniform",
        regions: list[str] | None = None,
        leave_out: list[str] | None = None,
    ):
        self.per_group = parameters.whole("per_group", per_group, 1)
        self.rate = parameters.share("rate", rate)
        self.when = parameters.choice("when", when, WHEN)
        self.statistics = parameters.choice("statistics", statistics, ("all", "on_policy"))
        self.gamma = parameters.number("gamma", gamma, above=0)
        self.clip = (
            None if clip is None else parameters.number("clip", clip, above=0, below=1)
        )  # f(p) < 1: a higher cap would never bind
        regions, leave_out = parameters.labels("regions", regions), parameters.labels("leave_out", leave_out)
        self.source = TraceSource(parameters.text("traces", traces), which, regions, leave_out)
        self.room: list[int] = []  # traces that each group of the draw gets

    def check(self, config: Config, problems: list[Problem]) -> None:
        check_budget(self.name, self.per_group, config)
        self.source.check(self.name, problems)

    def terms(self, config: Config) -> list[LossTerm]:
        shape = {"gamma": self.gamma, "clip": self.clip}
        return [LossTerm("shaped_trace", losses.shaped_trace, ("advantage",), shape, normaliser="policy_gradient")]

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round > 0 or self.when != "always":
            return requests
        self.source.prepare([g.problem for g in groups], context)
        chosen = chosen_groups(groups, self.rate, context)
        room = {
            i: min(self.per_group, len(self.source.usable[g.problem.id])) for i, g in enumerate(groups) if chosen[i]
        }
        self.room = [room.get(i, 0) for i in range(len(groups))]
        return drop_for_traces(requests, room)

    def inject(self, groups: list[Group], context: StepContext) -> None:
        if self.when == "no_success":
            self.source.prepare([g.problem for g in groups], context)
            chosen = chosen_groups(groups, self.rate, context)
            self.room = [self.per_group if chosen[i] and without_success(g) else 0 for i, g in enumerate(groups)]
        injected = 0
        for index, group in enumerate(groups):
            for trace, tokens, verdict in self.source.pick(group, self.room[index], context):
                sample = self.source.sample(
                    group, index, trace, tokens, verdict, context, in_baseline=self.statistics == "all"
                )
                sample.terms = {"shaped_trace": 1.0}
                group.samples.append(sample)
                injected += 1
        context.metrics["injected"] = (
            context.metrics.get("injected", 0.0) + injected
        )  # over the rounds of dynamic sampling
        context.metrics |= self.source.metrics()
