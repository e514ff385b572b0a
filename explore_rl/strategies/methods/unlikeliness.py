"""The unlikeliness reward (arXiv 2506.02355): a success that the policy found likely is worth less.

Acts at: reward, so that it is normalised together with the reward. With rank 0 for the likeliest of the group's G
draws, by the mean log-probability of a token under the old policy,

    r_i' = r_i (1 - beta (G - rank_i) / G)       for right completions

The likeliest pays beta, the least likely beta / G. Failures keep their reward, whatever its sign.
"""

from __future__ import annotations

import numpy as np

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.in_group import right
from explore_rl.types import Group


class Unlikeliness(Strategy):
    """Takes a share off the reward of likely successes.

    beta: how much of its reward the likeliest pays, in [0, 1]; 0: GRPO.
    """

    name = "unlikeliness"
    acts_on_draws = True
    biases = "a reward depends on what else the group drew"
    trial = Trial(off={"beta": 0.0})

    def __init__(self, *, beta: float = 0.25):
        self.beta = parameters.share("beta", beta)

    def reward(self, groups: list[Group], context: StepContext) -> None:
        taken = []
        for group in groups:
            drawn = [
                s for s in group.samples if s.reward is not None and s.rollout.drawn and "old_logprob" in s.columns
            ]
            means = np.array([s.columns["old_logprob"].mean(dtype=np.float64) for s in drawn])
            ranks = np.argsort(np.argsort(-means, kind="stable"), kind="stable")  # 0: the likeliest
            for sample, rank, is_right in zip(drawn, ranks, right(drawn), strict=True):
                if is_right and sample.reward is not None:
                    taken.append(self.beta * (len(drawn) - rank) / len(drawn))
                    sample.reward *= 1 - taken[-1]
        context.metrics["taken_mean"] = float(np.mean(taken)) if taken else 0.0
