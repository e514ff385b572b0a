"""RL-PLUS (arXiv 2508.00222): traces join the group, weighted against a mixture of policies, and surprises count more.

Acts at: plan, inject (as trace injection), terms. A trace token has probability pi now and pi_old at the start of the
step; who wrote it is unknown, and stands in the mixture as (pi_old + 1) / 2:

    w  = 2 pi / (pi_old + (pi_old + 1) / 2) = 2 pi / (1.5 pi_old + .5)       at most 1 while pi = pi_old
    A' = A (1 - sg[pi])^gamma                                                what the policy is sure of counts less
    loss = -w A'                                                             no clip

The 1 is a density of 1 a token and not 1 / |V|: a choice of design, not an estimator.
"""

from __future__ import annotations

from torch import Tensor

from explore_rl.config.schema import Config
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT
from explore_rl.strategies.trace_options import Injection


class RlPlus(Injection):
    """Puts traces into groups with RL-PLUS's weight.

    gamma: how strongly likely tokens are held back.
    per_group, when, statistics: see `trace_options.Injection`.
    rate, traces, which, regions, leave_out: see `trace_options.FromTraces`.
    """

    name = "rl_plus"

    def __init__(self, *, gamma: float = 0.5, **options):
        super().__init__(**options)
        self.gamma = parameters.number("gamma", gamma, least=0)

    def trace_terms(self) -> dict[str, float]:
        return {self.term_name("rl_plus"): 1.0}

    def terms(self, config: Config) -> list[LossTerm]:
        return [
            LossTerm(
                name=self.term_name("rl_plus"),
                function=surprise,
                columns=("old_logprob", "advantage"),
                params={"gamma": self.gamma},
                normaliser=POLICY_GRADIENT,
            )
        ]


def surprise(logprob: Tensor, old_logprob: Tensor, advantage: Tensor, *, gamma: float) -> Tensor:
    """-w A', per token.

    logprob: the policy's, [N], with gradient.
    old_logprob: of the policy at the start of the step, [N].
    advantage: A, [N].
    gamma: how strongly tokens that are likely already are held back.
    Returns [N].

    A token of probability 1/4, before and now, with A = 1: w = .5 / .875 and A' = .75^.5.

    >>> import torch
    >>> lp = torch.tensor([0.25]).log().requires_grad_()
    >>> loss = surprise(lp, lp.detach(), torch.ones(1), gamma=0.5)
    >>> loss.sum().backward()
    >>> round(loss.item(), 6), round(lp.grad.item(), 6)
    (-0.494872, -0.494872)
    """
    probability = logprob.exp()
    weight = 2 * probability / (1.5 * old_logprob.exp() + 0.5)
    return -weight * advantage * (1 - probability.detach()) ** gamma
