"""A strategy of one's own that asks for the base model: a bonus for correct answers that the base seldom gives.

explore-rl train lab/grpo name=rare "strategies=[{name: 'examples/base_likelihood.py:RareUnderBase', size: 0.2}]"
python -m explore_rl.strategies.checks examples/base_likelihood.py:RareUnderBase
"""

from __future__ import annotations

import math

from explore_rl.objectives.readouts import logprob
from explore_rl.strategies.base import Column, Needs, StepContext, Strategy, Trial
from explore_rl.types import Group, Status


class RareUnderBase(Strategy):
    """Adds `size` x (1 - p) to the reward of a correct completion, p its probability under the frozen base.

    Placed before the group is normalised, so that it changes which of several correct answers is preferred.
    """

    name = "rare_under_base"
    trial = Trial(off={"size": 0.0})

    def __init__(self, size: float = 0.2):
        self.size = size

    def needs(self, config) -> Needs:
        """The learner loads the frozen base beside the policy, and fills the column for every sample."""
        return Needs(columns=(Column("base_logprob", "base", logprob(config.rollout.temperature)),))

    def reward(self, groups: list[Group], context: StepContext) -> None:
        given = []
        for sample in (s for g in groups for s in g.samples):
            if self.size and sample.verdict.status is Status.CORRECT:
                p = math.exp(float(sample.columns["base_logprob"].sum()))
                sample.reward += self.size * (1 - p)
                given.append(1 - p)
        # A metric: it stands in metrics.jsonl, wandb and TensorBoard under rare_under_base/...
        context.metrics["rarity"] = sum(given) / len(given) if given else 0.0
