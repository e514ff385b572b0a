"""Pass@k training (arXiv 2508.10751): the advantage of a completion is that of the sets of k that it stands in.

Acts at: advantage (in place of the group's, before other strategies add to it). With c of the n samples that count
right, the mean over all sets of k of them has a closed form:

    R = 1 - C(n-c, k) / C(n, k),   s = sqrt(R (1 - R))                mean and deviation of a set's reward
    A_right = (1 - R) / (s + 1e-6)
    A_wrong = (1 - R - C(n-c-1, k-1) / C(n-1, k-1)) / (s + 1e-6)

Where fewer than k are wrong every set has a right one, and nothing is learnt.
"""

from __future__ import annotations

import math

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.objectives.advantages import EPSILON
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Strategy, Trial
from explore_rl.strategies.in_group import InPlace, counted, right
from explore_rl.strategies.rivals import refuse_unseen_rewards
from explore_rl.types import Problem, Sample


class PassAtK(InPlace):
    """Gives each sample the advantage of its sets.

    k: completions in a set; at most the group's size.
    share: its part in an advantage; the rest is what `algorithm.advantage` says. 0: GRPO.
    """

    name = "pass_at_k"
    reads_policy = False
    trial = Trial(on={"k": 2}, off={"k": 2, "share": 0.0})

    def __init__(self, *, k: int = 4, share: float = 1.0):
        self.k = parameters.whole("k", k, least=1)
        self.share = parameters.share("share", share)

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        super().check(config, problems, others)
        refuse_unseen_rewards(self, others)
        if self.k > config.algorithm.group_size:
            raise InputError(
                f"strategies: pass_at_k: k={self.k}: expected at most"
                f" algorithm.group_size={config.algorithm.group_size}"
            )

    def of_group(self, samples: list[Sample]) -> np.ndarray:
        is_right = right(samples)
        counts = counted(samples)
        n = int(counts.sum())
        c = int((is_right & counts).sum())
        of_right, of_wrong = advantages(n, c, k=min(self.k, n))
        return np.where(is_right, of_right, of_wrong)


def advantages(n: int, c: int, *, k: int) -> tuple[float, float]:
    """Of a right and of a wrong completion, c of n being right.

    >>> [round(x, 4) for x in advantages(8, 1, k=4) + advantages(8, 2, k=4)]
    [1.0, -0.1429, 0.5222, -0.1741]
    """
    mean = 1 - math.comb(n - c, k) / math.comb(n, k)
    deviation = math.sqrt(mean * (1 - mean))
    all_others_wrong = math.comb(max(n - c - 1, 0), k - 1) / math.comb(n - 1, k - 1)
    # Where no set differs there is nothing to divide by.
    scale = deviation + EPSILON if deviation > EPSILON else 1.0
    return (1 - mean) / scale, (1 - mean - all_others_wrong) / scale if c < n else 0.0
