"""alpha-DPG (arXiv 2512.05962): towards the base's own distribution over right answers, by an alpha-divergence.

Acts at: advantage (in place of the group's, before other strategies add to it). The target is the base, filtered,

    p(y) = pi_base(y) v(y) / Z,      Z = the base's pass rate
    rho  = min((p(y) / pi(y))^(1 - alpha) - 1, cap);   A_i = rho_i - mean of rho over the others

A wrong one has p = 0 and rho = -1. alpha -> 1 is RLVR, where every right one is worth the same; at alpha -> 0 a right
one is worth the more the rarer the policy has made it. Z is the mean over the group of v pi_base / pi, between 1e-4
and 1: no draw of the base is needed.
"""

from __future__ import annotations

import numpy as np

from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Needs, Strategy
from explore_rl.strategies.builtin.kl import base_logprob
from explore_rl.strategies.in_group import InPlace, counted, right
from explore_rl.strategies.rivals import refuse_unseen_rewards
from explore_rl.types import Problem, Sample

LEAST_RATE = 1e-4


class AlphaDpg(InPlace):
    """Gives each sample its pseudo-reward against the others'.

    alpha: the divergence's, below 1.
    cap: the largest pseudo-reward.
    share: its part in an advantage; the rest is what `algorithm.advantage` says. 0: GRPO.
    """

    name = "alpha_dpg"

    def __init__(self, *, alpha: float = 0.5, cap: float = 10.0, share: float = 1.0):
        self.alpha = parameters.number("alpha", alpha, least=0, below=1)
        self.cap = parameters.number("cap", cap, above=0)
        self.share = parameters.share("share", share)

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        super().check(config, problems, others)
        refuse_unseen_rewards(self, others)

    def needs(self, config: Config) -> Needs:
        return Needs(columns=(base_logprob(config),) if self.share else ())

    def of_group(self, samples: list[Sample]) -> np.ndarray:
        if not self.share:
            return np.zeros(len(samples))
        gaps = [s.columns["base_logprob"].astype(np.float64) - s.columns["old_logprob"] for s in samples]
        ratios = np.exp([gap.sum() for gap in gaps])
        return against_target(ratios, right(samples), counted(samples), alpha=self.alpha, cap=self.cap)


def against_target(
    ratios: np.ndarray, is_right: np.ndarray, counts: np.ndarray, *, alpha: float, cap: float
) -> np.ndarray:
    """A_i of each completion of a group.

    ratios: pi_base / pi, float [n].
    is_right: v, bool [n].
    counts: which of them stand in the baseline, bool [n]: Z and the others' mean are taken over these alone.
    alpha: the divergence's, below 1.
    cap: the largest pseudo-reward.
    Returns float [n].

    Where policy and base agree, p / pi is 1 / Z: one right of two gives (1/2)^-(1/2) - 1 = .4142 against -1.

    >>> against_target(np.ones(2), np.array([True, False]), np.ones(2, dtype=bool), alpha=0.5, cap=10).round(4).tolist()
    [1.4142, -1.4142]
    """
    rate = np.clip((ratios * is_right)[counts].mean(), LEAST_RATE, 1.0)
    pseudo = np.minimum((ratios * is_right / rate) ** (1 - alpha) - 1, cap)
    made = np.zeros(len(ratios))
    for i, value in enumerate(pseudo):
        others = np.delete(pseudo, i)[np.delete(counts, i)]
        made[i] = value - others.mean() if len(others) else 0.0
    return made
