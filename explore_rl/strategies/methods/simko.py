"""SimKO (arXiv 2510.14807): at forking tokens a success lifts the top K too, and a failure's top-1 is pushed harder.

Acts at: advantage (which tokens fork; the rows of the policy gradient feed the term), terms.

A token forks if its entropy is above the completion's own quantile. There, with rho the ratio of new and old policy,

    A > 0:   rho' = (1 - alpha) rho + (alpha / K) sum_{k in top K} sg[rho / rho_k] rho_k
    A < 0:   A' = penalty A   if the token drawn is the likeliest

Since sg[rho / rho_k] rho_k has the value rho and the gradient rho grad log pi_k, the old policy's top K is not needed:
rho' is the ratio of a log-probability whose gradient is (1 - alpha) grad log pi(y) + alpha mean_k grad log pi_k. The
term is what SimKO's loss has over the clipped one, so that it composes with everything that goes with that one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.objectives import readouts
from explore_rl.objectives.losses import ppo_clip
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Needs, StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT, policy_gradient
from explore_rl.types import Group, Problem

MOST = 64  # candidates: more are no top any more, and each is read at every token


class SimKO(Strategy):
    """Adds SimKO's difference to the policy gradient.

    k: how many candidates a success lifts, at most 64.
    alpha: share of its gradient that they get.
    penalty: of a failure's likeliest token, times its advantage.
    quantile: a token forks above this quantile of its completion's entropies.
    """

    name = "simko"
    acts_on_draws = True
    trial = Trial(off={"alpha": 0.0, "penalty": 1.0})

    def __init__(self, *, k: int = 3, alpha: float = 0.01, penalty: float = 1.1, quantile: float = 0.8):
        self.k = parameters.whole("k", k, least=1, most=MOST)
        self.alpha = parameters.share("alpha", alpha)
        self.penalty = parameters.number("penalty", penalty, above=0)
        self.quantile = parameters.share("quantile", quantile)

    def needs(self, config: Config) -> Needs:
        return Needs(writes=(self.term_name("forks"),))

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        if config.algorithm.loss != "ppo_clip":
            raise InputError(
                f"strategies: simko: changes the clipped loss; algorithm.loss={config.algorithm.loss} is none"
            )

    def terms(self, config: Config) -> list[LossTerm]:
        top = (("k", self.k), ("temperature", config.rollout.temperature))
        return [
            LossTerm(
                name=self.term_name("simko"),
                function=difference,
                columns=(
                    "old_logprob",
                    "advantage",
                    self.term_name("forks"),
                    readouts.Readout(mean_of_top, top),
                    readouts.rank_of_target(),
                ),
                params={"alpha": self.alpha, "penalty": self.penalty, "clip": policy_gradient(config.algorithm).params},
                normaliser=POLICY_GRADIENT,
            )
        ]

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        forking = []
        for sample in (s for g in groups for s in g.samples):
            entropy = sample.columns.get("entropy")
            if POLICY_GRADIENT not in sample.terms or entropy is None:
                continue
            forks = entropy > np.quantile(entropy, self.quantile)
            sample.columns[self.term_name("forks")] = forks.astype(np.float32)
            sample.terms = {**sample.terms, self.term_name("simko"): sample.terms[POLICY_GRADIENT]}
            forking.append(forks)
        context.metrics["forks"] = float(np.concatenate(forking).mean()) if forking else 0.0


def mean_of_top(log_p: Tensor, targets: Tensor, *, k: int, temperature: float) -> Tensor:
    """A readout: mean of the k largest log-probabilities; the gradient goes to each of the k.

    log_p: [n, V], before temperature.
    targets: int64 [n]; not looked at.
    k: how many; in a smaller vocabulary all.
    temperature: above 0.
    Returns [n].
    """
    return readouts.at_temperature(log_p, temperature).topk(min(k, log_p.shape[1]), dim=1).values.mean(1)


def difference(
    logprob: Tensor,
    old_logprob: Tensor,
    advantage: Tensor,
    forks: Tensor,
    top: Tensor,
    rank: Tensor,
    *,
    alpha: float,
    penalty: float,
    clip: dict[str, Any],
) -> Tensor:
    """SimKO's loss minus the clipped one, per token, [N]. At A > 0 its value is 0: only the gradient is another.

    logprob, old_logprob, advantage: as in `ppo_clip`, [N].
    forks: above 0 where the policy is unsure (see the top of this file).
    top: mean log-probability of the top K.
    rank: 0 where the token is the likeliest.
    alpha, penalty: the paper's.
    clip: `ppo_clip`'s parameters.

    >>> lp, top = torch.tensor([-1.0], requires_grad=True), torch.tensor([-2.0], requires_grad=True)
    >>> one, zero = torch.ones(1), torch.zeros(1)
    >>> bounds = {"clip_low": 0.2, "clip_high": 0.2}
    >>> loss = difference(lp, lp.detach(), one, one, top, zero, alpha=0.1, penalty=1.1, clip=bounds)
    >>> loss.sum().backward()
    >>> loss.item(), round(lp.grad.item(), 6), round(top.grad.item(), 6)
    (0.0, 0.1, -0.1)
    """
    shared = logprob + alpha * (top - top.detach() - logprob + logprob.detach())
    used = torch.where((forks > 0) & (advantage > 0), shared, logprob)
    harder = torch.where((forks > 0) & (advantage < 0) & (rank == 0), penalty * advantage, advantage)
    return ppo_clip(used, old_logprob, harder, **clip) - ppo_clip(logprob, old_logprob, advantage, **clip)
