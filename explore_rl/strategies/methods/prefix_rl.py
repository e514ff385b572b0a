"""PrefixRL (arXiv 2601.18795): groups go on from a prefix of a trace that succeeds; the gradient is of what they draw.

Acts at: plan. A share of the groups begins, all its draws, with the first L tokens of one trace,

    L = floor(l T),   l ~ U(low, high) once a group, T the trace's tokens

and is compared within itself; the other groups begin at the beginning. Given tokens have no gradient, so no loss is off
the policy: what the prefixed problems teach has to carry over to the whole ones ("back-generalisation").
"""

from __future__ import annotations

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Trial
from explore_rl.strategies.prefixes import begin_with, beginning
from explore_rl.strategies.trace_options import FromTraces
from explore_rl.strategies.traces import chosen_groups
from explore_rl.types import Group, Request

PREFIX = "prefix"  # the source of its draws


class PrefixRL(FromTraces):
    """Gives some groups the beginning of a solution.

    low, high: bounds of the share of a trace that is given.
    rate, traces, which, regions, leave_out: see `trace_options.FromTraces`; rate 0: GRPO.
    """

    name = "prefix_rl"
    trial = Trial(off={"rate": 0.0})

    def __init__(self, *, low: float = 0.2, high: float = 0.8, rate: float = 0.5, **options):
        super().__init__(rate=rate, **options)
        self.low, self.high = parameters.rising("low, high", (low, high))

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round:
            return requests
        self.source.prepare([g.problem for g in groups], context)
        chosen = chosen_groups(groups, self.rate, context=context)
        wanted = {index: int(chosen[index]) for index in range(len(groups))}
        shares = context.rng.uniform(self.low, self.high, len(groups))
        prefixes = {}
        for index, picked in self.source.pick(groups, wanted, context=context).items():
            for usable in picked:
                prefixes[index] = beginning(usable.tokens, shares[index])
        given = sum(len(prefix) for prefix in prefixes.values())
        context.metrics |= {"groups": float(len(prefixes)), "tokens_mean": given / max(1, len(prefixes))}
        return begin_with(prefixes, requests, source=PREFIX)
