"""Truncated importance sampling between engine and learner, per token: `algorithm.importance_cap`.

Acts at: advantage (after all others), or within the loss where nothing is read before the update
(objectives/first_update.py). It is for what the current policy drew at the training temperature. A strategy
that weights its draws itself has the whole correction in that weight, and wants algorithm.importance_cap=null.
"""

from __future__ import annotations

import numpy as np

from explore_rl.config.schema import Config
from explore_rl.objectives import corrections
from explore_rl.strategies.base import StepContext, Strategy
from explore_rl.types import Group, Rollout


class EngineCorrection(Strategy):
    """Writes Sample.columns["correction"], which multiplies the advantage; 1 at tokens that were given."""

    name = "engine_correction"
    reads_policy = False

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        cap = context.config.algorithm.importance_cap
        assert cap is not None
        for sample in (s for g in groups for s in g.samples):
            rollout = sample.rollout
            if corrects(rollout, context.config) and "old_logprob" in sample.columns:
                assert rollout.logprobs is not None
                ratio = corrections.truncated_importance(sample.columns["old_logprob"], rollout.logprobs, cap=cap)
                sample.columns["correction"] = np.where(rollout.given, 1.0, ratio).astype(np.float32)


def corrects(rollout: Rollout, config: Config) -> bool:
    """Whether the rollout is what the current policy drew at the training temperature."""
    request = rollout.request
    by_policy = request.engine == "policy" and request.temperature == config.rollout.temperature
    return by_policy and rollout.logprobs is not None
