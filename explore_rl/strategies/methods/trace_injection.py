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
from explore_rl.strategies.trace_options import Injection


class TraceInjection(Injection):
    """Puts traces into groups as off-policy samples.

    gamma: the shaping's.
    clip: largest f(p) that still gets a gradient; None: no clipping.
    per_group, when, statistics: see `trace_options.Injection`.
    rate, traces, which, regions, leave_out: see `trace_options.FromTraces`.
    """

    name = "trace_injection"
    reads_policy = False

    def __init__(self, *, gamma: float = 0.1, clip: float | None = None, **options):
        super().__init__(**options)
        self.gamma = parameters.number("gamma", gamma, above=0)
        # f(p) < 1, so a cap of 1 or more would never bind.
        self.clip = None if clip is None else parameters.number("clip", clip, above=0, below=1)

    def trace_terms(self) -> dict[str, float]:
        return {self.term_name("shaped_trace"): 1.0}

    def terms(self, config: Config) -> list[LossTerm]:
        shaped = LossTerm(
            name=self.term_name("shaped_trace"),
            function=losses.shaped_trace,
            columns=("advantage",),
            params={"gamma": self.gamma, "clip": self.clip},
            normaliser="policy_gradient",
        )
        return [shaped]
