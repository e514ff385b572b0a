"""Differential smoothing, DS-GRPO (arXiv 2511.19942): successes are spread out, failures are not.

Acts at: advantage, after the group is normalised. With log pi_old(y) of the whole completion,

    A'_i = A_i - spread log pi_old(y_i)      for right completions: the unlikelier, the more it is worth
    A'_i = A_i + sharpen log pi_old(y_i)     for wrong ones: the unlikelier, the harder it is pushed down
"""

from __future__ import annotations

import numpy as np

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.in_group import right
from explore_rl.types import Group


class DsGrpo(Strategy):
    """Adds surprise to the advantages.

    spread: advantage a nat of right completions; 0 in both: GRPO.
    sharpen: of wrong ones.
    """

    name = "ds_grpo"
    acts_on_draws = True
    trial = Trial(off={"spread": 0.0, "sharpen": 0.0})
    biases = "what it adds has no mean of zero"

    def __init__(self, *, spread: float = 0.01, sharpen: float = 0.01):
        self.spread = parameters.number("spread", spread, least=0)
        self.sharpen = parameters.number("sharpen", sharpen, least=0)

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        drawn = [
            s
            for g in groups
            for s in g.samples
            if s.reward is not None and s.rollout.drawn and "old_logprob" in s.columns
        ]
        added = []
        for sample, is_right in zip(drawn, right(drawn), strict=True):
            logprob = float(sample.columns["old_logprob"][~sample.rollout.given].sum(dtype=np.float64))
            added.append(-self.spread * logprob if is_right else self.sharpen * logprob)
            sample.advantage += added[-1]
        context.metrics["added_mean"] = float(np.mean(added)) if added else 0.0
