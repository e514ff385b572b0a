"""BBG, the boundary gate (arXiv 2606.15455), in its signed form: problems at the boundary of pass@k learn, others rest.

Acts at: advantage (a factor, before other strategies add). With m of the n samples that count right, a Beta posterior
of the problem's success rate says how much pass@k would rise with it:

    u(m) = E[k (1 - p)^(k-1)],  p ~ Beta(m + 1, n - m + 1)   = k prod_{j=1}^{k-1} (n - m + j) / (n + 1 + j)
    A'   = A u(m) / u(1)   for m >= 1;  0 where u(m) < tau (n + 1)
    A    = -signed         for m = 0: without a success nothing is compared, and the failures push (REINFORCE, r = -1)
"""

from __future__ import annotations

import math

import numpy as np

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Trial
from explore_rl.strategies.in_group import Factor, counted, right
from explore_rl.types import Group, Sample


class Bbg(Factor):
    """Gates groups by how much pass@k would gain from them.

    k: the k of pass@k; 1 leaves every group as it is.
    tau: a group whose u is below tau (n + 1) learns nothing.
    signed: how hard the failures of a group without success push.
    """

    name = "bbg"
    reads_policy = False
    trial = Trial(off={"k": 1, "tau": 0.0, "signed": 0.0})

    def __init__(self, *, k: int = 16, tau: float = 0.01, signed: float = 1.0):
        self.k = parameters.whole("k", k, least=1)
        self.tau = parameters.number("tau", tau, least=0)
        self.signed = parameters.number("signed", signed, least=0)

    def factors(self, samples: list[Sample], context: StepContext) -> np.ndarray:
        counts = counted(samples)
        n = int(counts.sum())
        m = int(right(samples)[counts].sum())
        return np.full(len(samples), gate(n, m, k=self.k, tau=self.tau) if m else 1.0)

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        super().advantage(groups, context)
        failed = 0
        for group in groups if self.signed else []:
            counting = [s for s in group.samples if s.reward is not None and s.rollout.request.in_baseline]
            if counting and not right(counting).any():
                failed += 1
                for sample in counting:
                    sample.advantage -= self.signed
        context.metrics["without_success"] = failed / len(groups)


def gate(n: int, m: int, *, k: int, tau: float) -> float:
    """u(m) / u(1), or 0 below the threshold.

    n: those of the group that count.
    m: correct ones among them, at least 1.
    k: of the pass@k that is guarded.
    tau: the threshold, times n + 1.

    >>> [round(gate(8, m, k=16, tau=0.01), 4) for m in (1, 2, 3, 4)]
    [1.0, 0.3182, 0.0909, 0.0]
    """
    u = [k * math.prod((n - right + j) / (n + 1 + j) for j in range(1, k)) for right in (m, 1)]
    return 0.0 if u[0] < tau * (n + 1) else u[0] / u[1]
