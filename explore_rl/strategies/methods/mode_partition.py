"""Mode partition (the weights of Cue-GRPO, arXiv 2608.03467): a success of a seldom mode pulls more; with its control.

Acts at: advantage (a factor, before other strategies add). The N right completions of a group are cut into classes C;
one of class C_i has

    w_i = N |C_i|^-alpha / sum_j |C_j|^-alpha,  clipped to [low, high] and divided by the mean over the N

`partition: mode` takes the verifier's modes (or `bigram`, texts that are alike). `partition: random` deals the same
class sizes out by lot: what it gains has nothing to do with modes, so it is the control that every claim of diversity
needs.
"""

from __future__ import annotations

import numpy as np

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Trial
from explore_rl.strategies.clusters import KINDS, clusters
from explore_rl.strategies.in_group import Factor, right
from explore_rl.types import Sample


class ModePartition(Factor):
    """Scales the successes of a group by how seldom their class is in it.

    alpha: how strongly; 0: GRPO.
    partition: "mode", "bigram", or "random" (the modes' class sizes, members by lot).
    low, high: bounds of a factor before the mean is taken.
    """

    name = "mode_partition"
    reads_policy = False
    trial = Trial(off={"alpha": 0.0}, settings=("algorithm.group_size=12",))

    def __init__(self, *, alpha: float = 0.8, partition: str = "mode", low: float = 0.3, high: float = 3.0):
        self.alpha = parameters.number("alpha", alpha, least=0)
        self.partition = parameters.choice("partition", partition, choices=(*KINDS, "random"))
        self.low = parameters.number("low", low, above=0)
        self.high = parameters.number("high", high, above=low)

    def factors(self, samples: list[Sample], context: StepContext) -> np.ndarray:
        factors = np.ones(len(samples))
        is_right = right(samples)
        if is_right.sum() > 1:
            chosen = [sample for sample, use in zip(samples, is_right, strict=True) if use]
            classes = clusters(chosen, "mode" if self.partition == "random" else self.partition)
            if self.partition == "random":
                classes = context.rng.permutation(classes)
            factors[is_right] = seldom(classes, alpha=self.alpha, low=self.low, high=self.high)
        return factors


def seldom(classes: np.ndarray, *, alpha: float, low: float, high: float) -> np.ndarray:
    """w_i, [N].

    classes: the mode of each success, [N].
    alpha: how strongly frequent modes are held back.
    low, high: bounds of a weight before all are divided by their mean.

    Three of one mode and one of another:

    >>> seldom(np.array([0, 0, 0, 1]), alpha=0.8, low=0.3, high=3.0).round(4).tolist()
    [0.7396, 0.7396, 0.7396, 1.7812]
    """
    _, places, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    raised = sizes[places] ** -float(alpha)
    clipped = np.clip(len(classes) * raised / raised.sum(), low, high)
    return clipped / clipped.mean()
