"""DARLING (arXiv 2509.02534): the reward of a success is multiplied by how many of its group are not like it.

Acts at: reward. With the clusters of the group's n completions,

    r_i' = r_i max(floor, #{j : j not in the cluster of i} / (n - 1))      for right completions

Multiplied, it lifts no failure. The paper's clusters come from a trained classifier of pairs; here they are the
verifier's modes, or texts whose word bigrams are alike.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.clusters import KINDS, clusters
from explore_rl.strategies.in_group import right
from explore_rl.types import Group, Problem


class Darling(Strategy):
    """Multiplies rewards by diversity.

    floor: the least factor; 1: GRPO.
    by: what makes a cluster, "mode" or "bigram".
    """

    name = "darling"
    reads_policy = False
    acts_on_draws = True
    biases = "a reward depends on what else the group drew"
    trial = Trial(off={"floor": 1.0})

    def __init__(self, *, floor: float = 0.1, by: str = "mode"):
        self.floor = parameters.share("floor", floor)
        self.by = parameters.choice("by", by, choices=KINDS)

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        if config.algorithm.kl != "none" and config.algorithm.kl_place == "reward":
            raise InputError("strategies: darling: multiplies rewards, and KL in them is a debt; set kl_place=loss")

    def reward(self, groups: list[Group], context: StepContext) -> None:
        used = []
        for group in groups:
            samples = [s for s in group.samples if s.reward is not None]
            labels = clusters(samples, self.by).tolist()
            sizes = Counter(labels)
            for sample, label, is_right in zip(samples, labels, right(samples), strict=True):
                if is_right and sample.reward is not None and len(samples) > 1:
                    used.append(max(self.floor, (len(samples) - sizes[label]) / (len(samples) - 1)))
                    sample.reward *= used[-1]
        context.metrics["factor_mean"] = float(np.mean(used)) if used else 1.0
