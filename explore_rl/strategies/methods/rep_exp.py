"""RepExp (arXiv 2510.11686): an elliptical bonus on the policy's own hidden states.

Acts at: reward, so that it is normalised together with the reward. With h_i the mean of the last layer's hidden states
over a completion, brought to `dimension` by a sparse random projection that is new each step,

    S = lam I + sum over the group of h_i h_i^T,    r_i' = r_i + beta h_i^T S^-1 h_i        the bonus is in [0, 1)

A direction that few of the group's completions have is little in S, and pays.
"""

from __future__ import annotations

import numpy as np

from explore_rl.config.schema import Config
from explore_rl.objectives.readouts import HIDDEN_MEAN
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Column, Needs, StepContext, Strategy, Trial
from explore_rl.types import Group


class RepExp(Strategy):
    """Adds the bonus to the rewards.

    beta: multiplies it; 0: GRPO.
    lam: the ridge; the larger, the smaller every bonus.
    dimension: hidden states of more numbers are projected to so many.
    """

    name = "rep_exp"
    reads_policy = False
    acts_on_draws = True
    biases = "a bonus depends on what else the group drew"
    trial = Trial(off={"beta": 0.0})

    def __init__(self, *, beta: float = 0.1, lam: float = 1.0, dimension: int = 512):
        self.beta = parameters.number("beta", beta, least=0)
        self.lam = parameters.number("lam", lam, above=0)
        self.dimension = parameters.whole("dimension", dimension, least=1)

    def needs(self, config: Config) -> Needs:
        return Needs(columns=(Column("hidden", "policy", HIDDEN_MEAN),))

    def reward(self, groups: list[Group], context: StepContext) -> None:
        paid = []
        for group in groups:
            samples = [s for s in group.samples if s.reward is not None and "hidden" in s.columns]
            if not samples:
                continue
            hidden = projected(np.stack([s.columns["hidden"] for s in samples]), self.dimension, rng=context.rng)
            for sample, bonus in zip(samples, bonuses(hidden, self.lam), strict=True):
                sample.reward = (sample.reward or 0.0) + self.beta * float(bonus)
                paid.append(float(bonus))
        context.metrics["bonus_mean"] = float(np.mean(paid)) if paid else 0.0


def projected(hidden: np.ndarray, dimension: int, *, rng: np.random.Generator) -> np.ndarray:
    """[n, h] -> [n, dimension], float64, by a sparse random projection (entries -1, 0 and 1); as it is if small."""
    hidden = hidden.astype(np.float64)
    if hidden.shape[1] <= dimension:
        return hidden
    entries = rng.choice([-1.0, 0.0, 1.0], p=[1 / 6, 2 / 3, 1 / 6], size=(hidden.shape[1], dimension))
    return hidden @ entries * np.sqrt(3 / dimension)


def bonuses(hidden: np.ndarray, lam: float) -> np.ndarray:
    """h^T S^-1 h of each row, [n].

    Two completions that are alike share what a third has alone:

    >>> bonuses(np.array([[1.0, 0], [1, 0], [0, 1]]), lam=1.0).round(4).tolist()
    [0.3333, 0.3333, 0.5]
    """
    gram = hidden @ hidden.T  # h^T S^-1 h is the diagonal of G (lam + G)^-1: no larger matrix than [n, n]
    return np.diag(np.linalg.solve(lam * np.eye(len(gram)) + gram, gram)).copy()
