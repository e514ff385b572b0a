"""MARA (arXiv 2510.20817): KL-regularised RL without its collapse onto the base's favourite among equal answers.

Acts at: reward. The optimum of reward with KL is pi ~ pi_base exp(r / beta), in which answers of one reward keep the
base's ratios, whatever beta. So of a group's completions whose verdict scores `reach`, with z the one that the base
finds likeliest,

    r'_i = r_i + beta (log pi_base(z) - log pi_base(y_i))

and the optimum makes them equally likely. (The paper has r_z for r_i, which is the same where all are worth the same.)
Others keep their reward. beta is the KL's coefficient (`algorithm.kl`).
"""

from __future__ import annotations

import numpy as np

from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Needs, StepContext, Strategy, Trial
from explore_rl.strategies.builtin.kl import base_logprob
from explore_rl.types import Group


class Mara(Strategy):
    """Pays right completions for what the base has them too little.

    beta: reward a nat; 0: GRPO.
    reach: score of a verdict from which a completion takes part.
    """

    name = "mara"
    reads_policy = False
    acts_on_draws = True
    trial = Trial(off={"beta": 0.0})
    biases = "a reward depends on what else the group drew"

    def __init__(self, *, beta: float = 0.01, reach: float = 1.0):
        self.beta = parameters.number("beta", beta, least=0)
        self.reach = parameters.number("reach", reach, above=0)

    def needs(self, config: Config) -> Needs:
        return Needs(columns=(base_logprob(config),) if self.beta else ())

    def reward(self, groups: list[Group], context: StepContext) -> None:
        paid = [0.0]
        for group in groups if self.beta else []:
            good = [s for s in group.samples if s.reward is not None and "base_logprob" in s.columns]
            good = [s for s in good if (s.verdict.score or 0.0) >= self.reach]
            logprobs = [float(s.columns["base_logprob"].sum(dtype=np.float64)) for s in good]
            for sample, logprob in zip(good, logprobs, strict=True):
                paid.append(self.beta * (max(logprobs) - logprob))
                sample.reward = (sample.reward or 0.0) + paid[-1]
        context.metrics["paid_largest"] = max(paid)
