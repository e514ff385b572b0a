"""DPH-RL (arXiv 2509.07430): what the base can do is rehearsed on the base's own draws, by a divergence that covers it.

Acts at: plan (the base draws `count` times besides), inject (which groups are easy), terms. A group is easy if at least
`easy` of the base's draws in it are right. There, on the right ones, with u = pi / pi_base a token,

    forward    u - 1 - log u                            the estimator k3 of KL(base || pi) on the base's draws
    js         u log u - (u + 1) log((u + 1) / 2)       Jensen-Shannon, its generator

joins the loss with coefficient eta and a normaliser of its own. With `reinforce: false` the policy's own draws of an
easy group teach nothing, as published. All other groups are GRPO's. A reverse KL is taken on the policy's draws, and
never sees what the policy has forgotten; this one does.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from explore_rl.config.schema import Config
from explore_rl.objectives import divergences
from explore_rl.objectives.losses import ratio_of
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Needs, StepContext, Strategy, Trial
from explore_rl.strategies.builtin.kl import base_logprob
from explore_rl.strategies.in_group import right
from explore_rl.types import Group, Request, Sample

ANCHOR = "anchor"  # the source of the base's draws


class DphRl(Strategy):
    """Rehearses easy problems on the base's draws.

    divergence: "forward" or "js".
    eta: its coefficient.
    count: the base's draws a group; 0: GRPO.
    easy: share of them that is right in an easy group.
    reinforce: whether easy groups feed the policy gradient as well.
    """

    name = "dph_rl"
    acts_on_draws = True
    biases = "which groups are rehearsed follows from what was drawn"
    trial = Trial(on={"easy": 0.25}, off={"count": 0})

    def __init__(
        self,
        *,
        divergence: str = "forward",
        eta: float = 0.01,
        count: int = 4,
        easy: float = 0.75,
        reinforce: bool = False,
    ):
        self.divergence = parameters.choice("divergence", divergence, choices=("forward", "js"))
        self.eta = parameters.number("eta", eta, above=0)
        self.count = parameters.whole("count", count, least=0)
        self.easy = parameters.share("easy", easy)
        self.reinforce = parameters.flag("reinforce", reinforce)

    def needs(self, config: Config) -> Needs:
        return Needs(base_engine=self.count > 0, columns=(base_logprob(config),) if self.count else ())

    def terms(self, config: Config) -> list[LossTerm]:
        function = {"forward": forward_kl, "js": jensen_shannon}[self.divergence]
        name = self.term_name("dph")
        return (
            [LossTerm(name=name, function=function, columns=("base_logprob",), normaliser=name)] if self.count else []
        )

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round:
            return requests
        first = {request.group: request for request in reversed(requests)}
        temperature = context.config.rollout.temperature
        changes = {"source": ANCHOR, "engine": "base", "temperature": temperature, "in_baseline": False, "share": None}
        anchors = [replace(request, **changes) for request in first.values() for _ in range(self.count)]
        return [*requests, *anchors]

    def inject(self, groups: list[Group], context: StepContext) -> None:
        rehearsed = 0
        for group in groups if self.count else []:
            anchors = [s for s in group.samples if s.rollout.request.source == ANCHOR]
            is_easy = bool(anchors) and float(right(anchors).mean()) >= self.easy
            rehearsed += is_easy
            for sample in group.samples:
                sample.terms = self._terms_of(sample, anchors, is_easy=is_easy)
        context.metrics["easy_groups"] = context.metrics.get("easy_groups", 0.0) + rehearsed

    def _terms_of(self, sample: Sample, anchors: list[Sample], *, is_easy: bool) -> dict[str, float]:
        if any(sample is anchor for anchor in anchors):
            return {self.term_name("dph"): self.eta} if is_easy and right([sample])[0] else {}
        drops = is_easy and not self.reinforce and sample.rollout.drawn
        return {} if drops else sample.terms


def forward_kl(logprob: Tensor, base_logprob: Tensor) -> Tensor:
    """u - 1 - log u, [N]. On draws of the base it estimates KL(base || pi), and has its gradient, u - 1.

    >>> lp = torch.tensor([0.25]).log().requires_grad_()
    >>> loss = forward_kl(lp, torch.tensor([0.5]).log())
    >>> loss.sum().backward()
    >>> round(loss.item(), 4), round(lp.grad.item(), 4)
    (0.1931, -0.5)
    """
    return divergences.k3(base_logprob, logprob)


def jensen_shannon(logprob: Tensor, base_logprob: Tensor) -> Tensor:
    """u log u - (u + 1) log((u + 1) / 2), [N]; its slope by logprob is u log(2 u / (u + 1)).

    >>> lp = torch.tensor([0.25]).log().requires_grad_()
    >>> loss = jensen_shannon(lp, torch.tensor([0.5]).log())
    >>> loss.sum().backward()
    >>> round(loss.item(), 4), round(lp.grad.item(), 4)
    (0.0849, -0.2027)
    """
    log_u = logprob - base_logprob
    u = ratio_of(log_u)
    return u * log_u - (u + 1) * (torch.log1p(u) - math.log(2))
