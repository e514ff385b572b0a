"""The polychromic objective (arXiv 2509.25424): sets of completions are rewarded, for being right and for differing.

Acts at: advantage (in place of the group's, before other strategies add to it). Of a set S of k completions,

    f(S) = mean reward of S x share of S that differ      by the verifier's mode: distinct modes / k
    A_i  = mean of f over the sets that hold i - mean of f over all sets

All sets of the group count, k of the n that count for its baseline, so that no set is an accident of the order.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Strategy, Trial
from explore_rl.strategies.clusters import KINDS, clusters
from explore_rl.strategies.in_group import InPlace, counted, rewards_of
from explore_rl.types import Problem, Sample

MOST_SETS = 20_000  # of a group


class Polychromic(InPlace):
    """Gives each sample what sets with it are worth beyond others.

    k: size of a set.
    by: what differs, see `clusters.clusters`.
    share: its part in an advantage; the rest is what `algorithm.advantage` says. 0: GRPO.
    """

    name = "polychromic"
    reads_policy = False
    trial = Trial(on={"k": 2}, off={"k": 2, "share": 0.0})

    def __init__(self, *, k: int = 4, by: str = "mode", share: float = 1.0):
        self.k = parameters.whole("k", k, least=2)
        self.by = parameters.choice("by", by, choices=KINDS)
        self.share = parameters.share("share", share)

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        super().check(config, problems, others)
        size = config.algorithm.group_size
        if self.k > size or math.comb(size, self.k) > MOST_SETS:
            raise InputError(
                f"strategies: polychromic: k={self.k}: expected a set within algorithm.group_size={size},"
                f" of which there are at most {MOST_SETS}"
            )

    def of_group(self, samples: list[Sample]) -> np.ndarray:
        return of_sets(rewards_of(samples), clusters(samples, self.by), counted(samples), k=self.k)


def of_sets(rewards: np.ndarray, labels: np.ndarray, counts: np.ndarray, *, k: int) -> np.ndarray:
    """A_i, [n]; 0 for who does not count.

    rewards: [n].
    labels: of each sample's cluster, [n].
    counts: bool [n], who counts.
    k: samples of a set; in a smaller group its size.

    Two alike and right, one other and right: a set of two is worth 1/2 where they are alike, else 1.

    >>> of_sets(np.ones(3), np.array([0, 0, 1]), np.ones(3, dtype=bool), k=2).round(4).tolist()
    [-0.0833, -0.0833, 0.1667]
    """
    members = np.flatnonzero(counts)
    k = min(k, len(members))
    sets = np.array(list(itertools.combinations(members, k)), dtype=int)
    shown = np.sort(labels[sets], axis=1)
    distinct = 1 + (np.diff(shown, axis=1) != 0).sum(axis=1)
    values = rewards[sets].mean(axis=1) * distinct / k
    made = np.zeros(len(rewards))
    for i in members:
        made[i] = values[(sets == i).any(axis=1)].mean() - values.mean()
    return made
