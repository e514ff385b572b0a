"""SIREN (arXiv 2509.25133): the entropy of forking tokens, within their nucleus, is held where it was at the start.

Acts at: advantage (which tokens are peaks; the rows of the policy gradient feed the term), terms, state (the anchor).
With H_t the entropy of the `top_p` nucleus of the policy at token t, renormalised, and the peaks those tokens of the
step whose H_t is at or above the `quantile` of all,

    loss = coefficient (mean of H_t over the peaks - anchor)^2,     anchor = that mean in the first step

Improbable tokens and sure ones get no push, so that entropy cannot run away where nothing forks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from explore_rl.config.schema import Config
from explore_rl.objectives import readouts
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Column, Needs, StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT
from explore_rl.strategies.builtin.kl import feed_beside_policy_gradient
from explore_rl.types import Group


class Siren(Strategy):
    """Adds the anchored entropy to the loss.

    coefficient: of the squared distance; 0: GRPO.
    top_p: mass of the nucleus.
    quantile: of a step's entropies, from which on a token is a peak.
    """

    name = "siren"
    regulariser = True
    reads_policy = False  # but for a column of its own
    trial = Trial(on={"coefficient": 0.5}, off={"coefficient": 0.0})

    def __init__(self, *, coefficient: float = 0.005, top_p: float = 0.8, quantile: float = 0.8):
        self.coefficient = parameters.number("coefficient", coefficient, least=0)
        self.top_p = parameters.number("top_p", parameters.share("top_p", top_p), above=0)
        self.quantile = parameters.share("quantile", quantile)
        self.anchor: float | None = None

    def readout(self, config: Config) -> readouts.Readout:
        return readouts.Readout(nucleus_entropy, (("temperature", config.rollout.temperature), ("top_p", self.top_p)))

    def needs(self, config: Config) -> Needs:
        return Needs(
            columns=(Column(self.term_name("nucleus_entropy"), "policy", self.readout(config)),),
            writes=(self.term_name("peaks"), self.term_name("anchor")),
        )

    def terms(self, config: Config) -> list[LossTerm]:
        return [
            LossTerm(
                name=self.term_name("siren"),
                function=anchored,
                columns=(self.term_name("peaks"), self.term_name("anchor"), self.readout(config)),
                normaliser=POLICY_GRADIENT,
                sums=over_peaks,
            )
        ]

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        column = self.term_name("nucleus_entropy")
        samples = [s for g in groups for s in g.samples if column in s.columns]
        seen = np.concatenate([np.zeros(0), *(s.columns[column][~s.rollout.given] for s in samples)])
        if not self.coefficient or not len(seen):
            return
        least = np.quantile(seen, self.quantile)
        mean = float(seen[seen >= least].mean())
        self.anchor = mean if self.anchor is None else self.anchor
        for sample in samples:
            entropy = sample.columns[column]
            sample.columns[self.term_name("peaks")] = (entropy >= least).astype(np.float32)
            sample.columns[self.term_name("anchor")] = np.full_like(entropy, self.anchor)
        feed_beside_policy_gradient(groups, self.term_name("siren"), coefficient=self.coefficient)
        context.metrics |= {"entropy": mean, "anchor": self.anchor}

    def state(self) -> dict[str, Any]:
        return {"anchor": self.anchor}

    def load_state(self, state: dict[str, Any]) -> None:
        self.anchor = state["anchor"]


def nucleus_entropy(log_p: Tensor, targets: Tensor, *, temperature: float, top_p: float) -> Tensor:
    """A readout: entropy of the most probable tokens whose mass reaches top_p, renormalised, nats, [n].

    log_p: [n, V], before temperature.
    targets: int64 [n]; not looked at.
    temperature: above 0.
    top_p: mass of the nucleus, above 0.

    Of 1/2, 1/4, 1/8, 1/8 the first three pass .8, and are 4/7, 2/7, 1/7:

    >>> nucleus_entropy(torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log(), torch.tensor([0]), temperature=1.0, top_p=0.8)
    tensor([0.9557])
    """
    ranked = readouts.at_temperature(log_p, temperature).sort(dim=1, descending=True).values
    mass = ranked.exp()
    outside = mass.cumsum(1) - mass >= top_p  # the mass before a token already reaches top_p
    log_q = ranked.masked_fill(outside, float("-inf")).log_softmax(1).masked_fill(outside, 0.0)
    return -(log_q.exp() * log_q).sum(1)


def over_peaks(logprob: Tensor, peaks: Tensor, anchor: Tensor, entropy: Tensor) -> Tensor:
    """Over the whole mini-batch: the sum of the peaks' entropies, how many there are, and all tokens. [3].

    logprob: [N]; not looked at.
    peaks: 1 where a token is a peak, else 0, [N].
    anchor: [N]; not looked at.
    entropy: of each token's nucleus, nats, [N].
    """
    return torch.stack([(peaks * entropy).sum(), peaks.sum(), torch.ones_like(peaks).sum()])


def anchored(logprob: Tensor, peaks: Tensor, anchor: Tensor, entropy: Tensor, *, sums: Tensor) -> Tensor:
    """(mean H over the peaks - anchor)^2 at each token, [N]; its mean over tokens has the gradient of that square.

    logprob, peaks: as in `over_peaks`.
    anchor: the mean that is to be kept, the same at each token, [N].
    entropy: H, of each token's nucleus, nats, [N], with gradient.
    sums: what `over_peaks` gives of the whole mini-batch, [3].

    Two tokens of .5 and .1 nats, the first a peak, .3 below its anchor: the square is .09, and the whole slope,
    2 x -.3, is the peak's.

    >>> entropy = torch.tensor([0.5, 0.1], requires_grad=True)
    >>> peaks, anchor = torch.tensor([1.0, 0.0]), torch.full((2,), 0.8)
    >>> loss = anchored(entropy, peaks, anchor, entropy, sums=torch.tensor([0.5, 1.0, 2.0]))
    >>> loss.mean().backward()
    >>> round(loss.mean().item(), 4), [round(slope, 4) for slope in entropy.grad.tolist()]
    (0.09, [-0.6, -0.0])
    """
    gap = sums[0] / sums[1].clamp(min=1) - anchor
    pull = peaks * (entropy - entropy.detach()) * sums[2] / sums[1].clamp(min=1)
    return gap**2 + 2 * gap * pull
