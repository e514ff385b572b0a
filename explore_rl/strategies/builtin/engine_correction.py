"""Truncated importance sampling between engine and learner, per token: `algorithm.importance_cap`.

Acts at: advantage (after all others). It is for what the current policy drew at the training temperature. A strategy
that weights its draws itself has the whole correction in that weight, and wants algorithm.importance_cap=null.
"""

from __future__ import annotations

import numpy as np

from explore_rl.objectives import corrections
from explore_rl.strategies.base import StepContext, Strategy
from explore_rl.types import Group


class EngineCorrection(Strategy):
    """Writes Sample.columns["correction"], which multiplies the advantage; 1 at tokens that were given."""

    name = "engine_correction"

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        cap = context.config.algorithm.importance_cap
        assert cap is not None
        temperature = context.config.rollout.temperature
        for sample in (s for g in groups for s in g.samples):
            rollout = sample.rollout
            by_policy = rollout.request.engine == "policy" and rollout.request.temperature == temperature
            if by_policy and rollout.logprobs is not None and "old_logprob" in sample.columns:
                ratio = corrections.truncated_importance(sample.columns["old_logprob"], rollout.logprobs, cap=cap)
                sample.columns["correction"] = np.where(rollout.given, 1.0, ratio).astype(np.float32)
