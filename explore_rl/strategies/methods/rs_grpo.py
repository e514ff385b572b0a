"""Risk-sensitive advantages: RS-GRPO (arXiv 2509.24261), between Dr. GRPO and MaxRL (arXiv 2602.02710).

Acts at: advantage (in place of the group's, before other strategies add to it). With the mean over the group's samples
that count,

    A_i = (1 / beta) (e^(beta r_i) / mean_j e^(beta r_j) - 1)     beta > 0
    A_i = r_i - mean r                                            beta = 0, the limit: Dr. GRPO
    A_i = r_i / mean r - 1                                        beta = inf: MaxRL, for rewards of at least 0

For rewards of 0 and 1, MaxRL is also the limit of beta x A. The larger beta, the more a group counts that has few
successes. MaxRL follows the gradient of sum_k (1/k) pass@k up to k = n - 1, n the group's size; a group that failed as
a whole has A = 0. With all_wrong it has A = -1, and the sum goes up to k = n.
"""

from __future__ import annotations

import math

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import against_group
from explore_rl.strategies.rivals import refuse_rivals
from explore_rl.types import Group, Problem


class RsGrpo(Strategy):
    """Gives each sample of a group the family's advantage.

    beta: from 0 to infinity (.inf in a recipe); 2 in the paper.
    all_wrong: whether a group without any reward has A = -1; with beta = inf alone.
    """

    name = "rs_grpo"
    reads_policy = False
    acts_on_draws = True
    turn = "first"
    trial = Trial(
        off={"beta": 0.0}, settings=("algorithm.divide_by_std=null",), left=("algorithm.divide_by_std=false",)
    )
    biases = "it divides by the group's mean, which looks at the sample itself"

    def __init__(self, *, beta: float = 2.0, all_wrong: bool = False):
        self.beta = beta if beta == math.inf else parameters.number("beta", beta)
        if self.beta < 0:
            raise ValueError(f"beta={beta!r}: expected 0 to infinity (.inf)")
        self.all_wrong = parameters.flag("all_wrong", all_wrong)
        if all_wrong and beta != math.inf:
            raise ValueError(f"all_wrong=true has no effect with beta={beta}: it is for beta=.inf (MaxRL)")

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        refuse_rivals(self, others)
        algorithm = config.algorithm
        for key, default in (("advantage", "grpo"), ("divide_by_std", None)):
            if getattr(algorithm, key) != default:
                value = getattr(algorithm, key)
                raise InputError(f"algorithm.{key}={value}: has no effect beside rs_grpo, which makes the advantages")
        pays = algorithm.kl != "none" and algorithm.kl_place == "reward" or "soft_overlong" in [o.name for o in others]
        least = min(config.rewards.no_answer, config.rewards.timeout or 0.0, config.rewards.error or 0.0)
        if self.beta == math.inf and (pays or least < 0):
            raise InputError(
                "strategies: rs_grpo: beta=.inf wants rewards of at least 0; set algorithm.kl_place=loss, leave out"
                " soft_overlong, and give nothing under rewards a number below 0"
            )

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        largest = context.metrics.get("largest", 0.0)
        for group in groups:
            in_group = against_group(group, context.config)
            if not in_group:
                continue
            rewards = np.array([sample.reward for sample, _ in in_group], dtype=np.float64)
            counts = np.array([sample.rollout.request.in_baseline for sample, _ in in_group], dtype=bool)
            values = family(rewards, counts, beta=self.beta, all_wrong=self.all_wrong)
            for (sample, _), value in zip(in_group, values, strict=True):
                sample.advantage = float(value)
            largest = max(largest, float(values.max()))
        context.metrics["largest"] = largest


def family(rewards: np.ndarray, counts: np.ndarray, *, beta: float, all_wrong: bool = False) -> np.ndarray:
    """The advantages of one group, [n].

    Raises InputError for a negative reward with beta = inf.

    rewards: [n].
    counts: bool [n], those that the mean is taken over, one of them at least.
    beta: 0: Dr. GRPO; inf: MaxRL; between: RS-GRPO.
    all_wrong: see the top of this file.

    Two of eight are right (correct, wrong): Dr. GRPO, RS-GRPO and MaxRL.

    >>> rewards, counts = np.array([1.0, 1, 0, 0, 0, 0, 0, 0]), np.ones(8, dtype=bool)
    >>> for beta in (0, 2, math.inf):
    ...     print(family(rewards, counts, beta=beta)[[0, 7]].round(4).tolist())
    [0.75, -0.25]
    [0.9225, -0.3075]
    [3.0, -1.0]
    """
    if beta == 0:
        return rewards - rewards[counts].mean()
    if beta < math.inf:
        raised = np.exp(beta * (rewards - rewards.max()))  # a factor in common cancels
        return (raised / raised[counts].mean() - 1) / beta
    if (rewards < 0).any():
        raise InputError(f"strategies: rs_grpo: a reward of {rewards.min():g}: beta=.inf (MaxRL) wants at least 0")
    mean = rewards[counts].mean()
    if mean == 0:
        return np.where(rewards > 0, 0.0, -1.0 if all_wrong else 0.0)
    return rewards / mean - 1
