"""Prefix-RFT (arXiv 2507.01679): one draw of a group goes on from a demonstration, and learns from a part of that too.

Acts at: plan (the group's first draw gets a prefix), advantage (which of the prefix's tokens are learnt from). The
hybrid, prefix and continuation, stands in the group like any other sample. Its prefix has the same advantage, but only
the `top` share of its tokens with the largest entropy gets a gradient. The length is L = floor(l T), l ~ U(low_t,
high), and low_t falls along a cosine, so that prefixes get shorter:

    low_t = final + (low - final) (1 + cos(pi t / steps)) / 2
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Trial
from explore_rl.strategies.prefixes import beginning
from explore_rl.strategies.trace_options import FromTraces
from explore_rl.strategies.traces import chosen_groups
from explore_rl.types import Group, Request

HYBRID = "hybrid"  # the source of its draws


class PrefixRft(FromTraces):
    """Makes one draw of a group a hybrid.

    low, high: bounds of the share of a trace that is given; `low` is that of step 0.
    final: what `low` has become at the end of the run.
    top: share of the prefix's tokens that are learnt from.
    rate, traces, which, regions, leave_out: see `trace_options.FromTraces`; rate 0: GRPO.
    """

    name = "prefix_rft"
    biases = "a part of the hybrid is no draw"
    trial = Trial(off={"rate": 0.0})

    def __init__(self, *, low: float = 0.8, high: float = 0.95, final: float = 0.05, top: float = 0.2, **options):
        super().__init__(**options)
        self.final, self.low, self.high = parameters.rising("final, low, high", (final, low, high))
        self.top = parameters.share("top", top)

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round:
            return requests
        self.source.prepare([g.problem for g in groups], context)
        chosen = chosen_groups(groups, self.rate, context=context)
        wanted = {index: int(chosen[index]) for index in range(len(groups))}
        shares = context.rng.uniform(self._low(context), self.high, len(groups))
        # The first draw of each group that the policy makes itself: traces take the place of the last ones.
        first = {r.group: i for i, r in reversed(list(enumerate(requests))) if r.source == "policy"}
        planned = list(requests)
        for index, picked in self.source.pick(groups, wanted, context=context).items():
            for usable in picked if index in first else []:
                prefix = beginning(usable.tokens, shares[index])
                planned[first[index]] = replace(planned[first[index]], prefix_ids=prefix, source=HYBRID)
        return planned

    def _low(self, context: StepContext) -> float:
        turned = math.pi * context.number / context.config.run.steps
        return self.final + (self.low - self.final) * (1 + math.cos(turned)) / 2

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        learnt = 0
        for sample in (s for g in groups for s in g.samples):
            given = sample.rollout.given
            if sample.rollout.request.source == HYBRID and given.any() and "entropy" in sample.columns:
                sample.columns["learn_given"] = forks(sample.columns["entropy"], given, top=self.top)
                learnt += int(sample.columns["learn_given"].sum())
        context.metrics |= {"learnt_tokens": float(learnt), "low": self._low(context)}


def forks(entropy: np.ndarray, given: np.ndarray, *, top: float) -> np.ndarray:
    """1 at the `top` share of the given tokens with the largest entropy, rounded up, float32 [T].

    >>> forks(np.array([0.5, 2.0, 1.0, 3.0]), np.array([True, True, True, False]), top=0.5).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    count = math.ceil(top * given.sum())
    order = np.argsort(np.where(given, -entropy, np.inf), kind="stable")
    chosen = np.zeros(len(entropy), dtype=np.float32)
    chosen[order[:count]] = 1.0
    return chosen
