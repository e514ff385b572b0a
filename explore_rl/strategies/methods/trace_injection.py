"""Trace injection, as LUFFY does it (arXiv 2504.14945): worked solutions join the group as off-policy samples.

Acts at: plan (a trace takes the place of a draw), inject (the trace joins the group), terms (its shaped loss).

A trace token enters the policy gradient as  -f(pi(y_t)) A  with  f(p) = p / (p + gamma),  and the gradient goes through
f. Its weight on grad log pi is gamma p / (p + gamma)^2, largest at p = gamma, so that rare tokens are lifted and
near-certain ones left alone. Trace tokens share the normaliser of the policy gradient.
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
    """Puts traces into groups as off-policy samples.

    per_group: traces a group gets.
    rate: share of groups that get any.
    when: "always" (in place of a draw), or "no_success" (beside the draws, only where all of them failed).
    statistics: the samples that mean and spread are taken over, "all" or "on_policy".
    gamma: of the shaping.
    clip: largest f(p) that still gets a gradient; None: no clipping.
    traces, which, regions, leave_out: see `traces.TraceSource`.
    """

    name = "trace_injection"
    reads_policy = False
    acts_on_draws = True

    def __init__(
        self,
        *,
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
        self.per_group = parameters.whole("per_group", per_group, least=1)
        self.rate = parameters.share("rate", rate)
        self.when = parameters.choice("when", when, choices=WHEN)
        self.statistics = parameters.choice("statistics", statistics, choices=("all", "on_policy"))
        self.gamma = parameters.number("gamma", gamma, above=0)
        # f(p) < 1, so a cap of 1 or more would never bind.
        self.clip = None if clip is None else parameters.number("clip", clip, above=0, below=1)
        if when == "no_success":
            self.biases = "when=no_success injects where the draws failed"
        elif statistics == "all":
            self.biases = "statistics=all puts traces into a baseline that then differs between components"
        self.source = TraceSource(
            parameters.text("traces", traces),
            which=which,
            regions=parameters.labels("regions", regions),
            leave_out=parameters.labels("leave_out", leave_out),
        )

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        check_budget(self.name, self.per_group, config=config)
        self.source.check(self.name, problems)

    def terms(self, config: Config) -> list[LossTerm]:
        shaped = LossTerm(
            name=self.term_name("shaped_trace"),
            function=losses.shaped_trace,
            columns=("advantage",),
            params={"gamma": self.gamma, "clip": self.clip},
            normaliser="policy_gradient",
        )
        return [shaped]

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
                sample.terms = {self.term_name("shaped_trace"): 1.0}
                groups[index].samples.append(sample)
                injected += 1
        # The sum over the rounds of dynamic sampling, each of which injects.
        context.metrics["injected"] = context.metrics.get("injected", 0.0) + injected
        context.metrics |= self.source.metrics()
