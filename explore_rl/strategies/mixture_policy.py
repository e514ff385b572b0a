"""A mixture of behaviour policies with importance weights per sequence (balance heuristic; methods of multiple importance sampling).

Acts at: plan (which component draws each sample), advantage (the weight). Needs: the base engine, and every component's log-probabilities.

Each sample's component j is drawn at random with probability share_j from: the current policy at the training temperature, the frozen base,
and the current policy at a hotter temperature. With q_j(y) a component's probability of the whole sequence, end token included,

    w(y) = exp( log pi_old(y) - logsumexp_j( log share_j + log q_j(y) ) )        <= 1 / share_policy

in float64, from the learner's own forward passes, fixed over the updates of the batch; it multiplies the advantage. The ratio stays
pi / pi_old, and no other correction goes on top.

weight "exact" estimates the on-policy gradient without bias, so that by itself it adds no mass to lost answers: it only changes the
variance of their estimate. "power" raises w to lambda < 1 and "none" sets it to 1: those do add mass, with bias.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.errors import InputError
from explore_rl.config import Config
from explore_rl.objectives.corrections import mixture_weight
from explore_rl.strategies.base import Needs, Score, StepContext, Strategy
from explore_rl.types import Group, Problem, Request

WEIGHTS = ("exact", "power", "none")


class MixturePolicy(Strategy):
    """share_policy, share_base, share_hot: probabilities of the components, share_policy above 0, sum 1. hot_temperature: of the hot one.
    weight: "exact", "power" or "none"; power: the lambda of w^lambda, in (0, 1).
    """

    name = "mixture_policy"

    def __init__(
        self,
        share_policy: float = 0.5,
        share_base: float = 0.25,
        share_hot: float = 0.25,
        hot_temperature: float = 1.5,
        weight: str = "exact",
        power: float = 0.5,
    ):
        shares = {"policy": float(share_policy), "base": float(share_base), "hot": float(share_hot)}
        if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-9:
            raise ValueError(f"shares {shares}: expected non-negative numbers with sum 1")
        if not shares["policy"] > 0:
            raise ValueError("share_policy: expected above 0, or the weights have no bound")
        if weight not in WEIGHTS:
            raise ValueError(f"weight={weight!r}: expected one of {', '.join(WEIGHTS)}")
        if not 0 < power < 1:
            raise ValueError(f"power={power!r}: expected in (0, 1); for 1 use weight=exact, for 0 weight=none")
        self.shares = {name: share for name, share in shares.items() if share > 0}
        self.hot_temperature, self.weight = float(hot_temperature), weight
        self.exponent = {"exact": 1.0, "power": float(power), "none": 0.0}[weight]

    def check(self, config: Config, problems: list[Problem]) -> None:
        algorithm = config.algorithm
        if algorithm.importance_cap is not None:
            raise InputError("strategies: mixture_policy: its weight is the whole correction; set algorithm.importance_cap=null")
        if self.weight == "exact" and (algorithm.advantage != "rloo" or algorithm.divide_by_std):
            raise InputError(
                "strategies: mixture_policy: weight=exact is unbiased only with a leave-one-out baseline and no division by the spread; "
                "set algorithm.advantage=rloo"
            )
        if "hot" in self.shares and self.hot_temperature <= config.rollout.temperature:
            raise InputError(f"strategies: mixture_policy: hot_temperature={self.hot_temperature}: expected above rollout.temperature={config.rollout.temperature}")

    def needs(self, config: Config) -> Needs:
        scores = []
        if "base" in self.shares:
            scores.append(Score("base_logprob", "base", config.rollout.temperature))
        if "hot" in self.shares:
            scores.append(Score("hot_logprob", "policy", self.hot_temperature))
        return Needs(base_engine="base" in self.shares, scores=tuple(scores))

    def plan(self, requests: list[Request], groups: list[Group], round: int, step: StepContext) -> list[Request]:
        if round > 0:
            return requests
        names = list(self.shares)
        components = step.rng.choice(names, size=len(requests), p=[self.shares[name] for name in names])
        return [self.drawn_by(component, request) for component, request in zip(components, requests, strict=True)]

    def drawn_by(self, component: str, request: Request) -> Request:
        """The group's baseline is the current policy's own: any baseline that does not look at the sample leaves the weighted gradient unbiased."""
        if component == "base":
            return replace(request, source="base", engine="base", in_baseline=False)
        if component == "hot":
            return replace(request, source="hot", temperature=self.hot_temperature, in_baseline=False)
        return request

    def advantage(self, groups: list[Group], step: StepContext) -> None:
        samples = [s for g in groups for s in g.samples if s.reward is not None and s.rollout.logprobs is not None and "old_logprob" in s.columns]
        if not samples:
            return
        columns = {"policy": "old_logprob", "base": "base_logprob", "hot": "hot_logprob"}
        totals = {name: np.array([s.columns[columns[name]].sum(dtype=np.float64) for s in samples]) for name in self.shares}
        exact = mixture_weight(totals["policy"], np.stack([totals[n] for n in self.shares]), np.array([self.shares[n] for n in self.shares]))
        for sample, weight in zip(samples, exact**self.exponent, strict=True):
            sample.weight = float(weight)
        step.metrics["effective_sample_size"] = float(exact.sum() ** 2 / (exact**2).sum() / len(exact))
        for name in self.shares:
            of_source = exact[[s.rollout.request.source == name for s in samples]]
            if len(of_source):
                step.metrics[f"weight_{name}"] = float(of_source.mean())
