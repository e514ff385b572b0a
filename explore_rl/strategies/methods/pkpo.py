"""PKPO (arXiv 2505.15201): rewards are transformed such that their policy gradient is that of the expected max@k.

Acts at: advantage (in place of the group's, before other strategies add to it). Over the sets I of k - 1 others,

    A_i = k mean_I ( max(g_i, max I) - max I )

which is n times the paper's leave-one-out estimator with the set that lacks i as baseline, "loo minus one", in closed
form: with the m others sorted, the j-th is the largest of I with chance C(j-1, k-2) / C(m, k-1). It is unbiased: the
expectation of the mean of A_i grad log pi(y_i) is the gradient of pass@k. A wrong one of two rewards is worth 0.
"""

from __future__ import annotations

import math

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Strategy, Trial
from explore_rl.strategies.in_group import InPlace, counted, rewards_of
from explore_rl.types import Problem, Sample


class Pkpo(InPlace):
    """Gives each sample what it adds to the best of k - 1 others.

    k: the k of max@k; from 2 to the group's size.
    share: its part in an advantage; the rest is what `algorithm.advantage` says. 0: GRPO.
    """

    name = "pkpo"
    reads_policy = False
    trial = Trial(on={"k": 2}, off={"k": 2, "share": 0.0})
    biases = "its baseline is of the draws' own rewards, and wants them to come from one policy"

    def __init__(self, *, k: int = 4, share: float = 1.0):
        self.k = parameters.whole("k", k, least=2)
        self.share = parameters.share("share", share)

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        super().check(config, problems, others)
        if self.k > config.algorithm.group_size:
            raise InputError(
                f"strategies: pkpo: k={self.k}: expected at most algorithm.group_size={config.algorithm.group_size}"
            )

    def of_group(self, samples: list[Sample]) -> np.ndarray:
        return added_to_the_best(rewards_of(samples), counted(samples), k=self.k)


def added_to_the_best(rewards: np.ndarray, counts: np.ndarray, *, k: int) -> np.ndarray:
    """A_i, [n]. counts: bool [n], those that sets are made of; in a group with fewer than k of them k is their number.

    Three right, one wrong, k = 2: a right one adds 1 where the other is the wrong one, once in three.

    >>> added_to_the_best(np.array([1.0, 1, 1, 0]), np.ones(4, dtype=bool), k=2).round(4).tolist()
    [0.6667, 0.6667, 0.6667, 0.0]
    """
    made = np.zeros(len(rewards))
    for i, reward in enumerate(rewards):
        others = np.sort(np.delete(rewards, i)[np.delete(counts, i)])
        size = min(k - 1, len(others))
        if size == 0:
            continue
        chances = [math.comb(j, size - 1) / math.comb(len(others), size) for j in range(len(others))]
        made[i] = (size + 1) * np.dot(chances, np.maximum(reward - others, 0.0))
    return made
