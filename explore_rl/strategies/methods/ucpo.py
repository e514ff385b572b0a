"""UCPO (arXiv 2605.00365): among a group's successes, what is less likely gets more of the pull.

Acts at: advantage (a factor, before other strategies add). Over the n_c right completions of a group, two at least,

    q_i  = softmax over them of the mean log-probability of a token under the old policy, at least 1e-6
    w_i  = (1 - tau) / n_c + tau (1 / q_i) / sum_j (1 / q_j)
    A_i' = A_i n_c w_i

The weights sum to 1: successes share the same pull, and failures keep what they have.
"""

from __future__ import annotations

import numpy as np

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Trial
from explore_rl.strategies.in_group import Factor, right
from explore_rl.types import Sample

LEAST = 1e-6


class Ucpo(Factor):
    """Shifts the pull of a group's successes towards unlikely ones.

    tau: how far, from 0 (GRPO) to 1 (in proportion to 1 / q).
    """

    name = "ucpo"
    trial = Trial(off={"tau": 0.0})

    def __init__(self, *, tau: float = 0.2):
        self.tau = parameters.share("tau", tau)

    def factors(self, samples: list[Sample], context: StepContext) -> np.ndarray:
        factors = np.ones(len(samples))
        readable = np.array(["old_logprob" in sample.columns for sample in samples])
        chosen = right(samples) & readable
        means = [s.columns["old_logprob"].mean(dtype=np.float64) for s, use in zip(samples, chosen, strict=True) if use]
        if len(means) > 1:
            factors[chosen] = 1 - self.tau + self.tau * rarity(np.array(means))
        return factors


def rarity(mean_logprobs: np.ndarray) -> np.ndarray:
    """n_c times the normalised 1 / q, [n_c]: 1 on average.

    Tokens of probability e^-1 and e^-2: 1 / q is as 1 to e.

    >>> rarity(np.array([-1.0, -2.0])).round(4).tolist()
    [0.5379, 1.4621]
    """
    q = np.exp(mean_logprobs - mean_logprobs.max())
    inverse = 1 / np.maximum(q / q.sum(), LEAST)
    return len(inverse) * inverse / inverse.sum()
