"""SRFT (arXiv 2506.19767): supervised and reinforced fine-tuning in one step, weighed against each other by entropy.

Acts at: plan, inject (as trace injection), advantage, terms. With H the mean entropy of a token, over the traces of the
draw for w_S and over its draws for w_R, both without gradient,

    w_S = .5 e^-H,   w_R = .1 e^H
    loss = w_S (-log pi) + (-A f(pi))   on a trace, f(p) = p / (p + gamma) as in LUFFY
    A    = w_R for a right draw, -1 for a wrong one

so the less sure the policy, the less it imitates and the more its successes count.
"""

from __future__ import annotations

import numpy as np

from explore_rl.config.schema import Config
from explore_rl.objectives import losses
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT, against_group
from explore_rl.strategies.in_group import right
from explore_rl.strategies.rivals import refuse_rivals, refuse_unseen_rewards
from explore_rl.strategies.trace_options import Injection
from explore_rl.types import Group, Problem, Sample


class Srft(Injection):
    """Imitates traces and learns from draws at once.

    imitation: w_S's factor.
    success: w_R's factor.
    gamma: the shaping's.
    share: the part of its advantages in those of draws; the rest is the group's. With share 0 and rate 0: GRPO.
    per_group, when, statistics: see `trace_options.Injection`.
    rate, traces, which, regions, leave_out: see `trace_options.FromTraces`.
    """

    name = "srft"
    turn = "first"
    trial = Trial(off={"rate": 0.0, "share": 0.0})

    def __init__(
        self, *, imitation: float = 0.5, success: float = 0.1, gamma: float = 0.1, share: float = 1.0, **options
    ):
        super().__init__(**options)
        self.imitation = parameters.number("imitation", imitation, least=0)
        self.success = parameters.number("success", success, least=0)
        self.gamma = parameters.number("gamma", gamma, above=0)
        self.share = parameters.share("share", share)

    def trace_terms(self) -> dict[str, float]:
        return {self.term_name("srft_shaped"): 1.0, self.term_name("srft_likelihood"): self.imitation}

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        super().check(config, problems, others)
        refuse_rivals(self, others)
        refuse_unseen_rewards(self, others)

    def terms(self, config: Config) -> list[LossTerm]:
        shaped, likelihood = self.trace_terms()
        return [
            LossTerm(
                name=shaped,
                function=losses.shaped_trace,
                columns=("advantage",),
                params={"gamma": self.gamma},
                normaliser=POLICY_GRADIENT,
            ),
            LossTerm(name=likelihood, function=losses.likelihood, normaliser=POLICY_GRADIENT),
        ]

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        every = [sample for group in groups for sample in group.samples]
        traces = [sample for sample in every if self.is_ours(sample)]
        drawn = [sample for sample in every if sample.rollout.drawn and "entropy" in sample.columns]
        of_traces = mean_entropy(traces)
        of_drawn = mean_entropy(drawn)
        for sample in traces:
            weights = {self.term_name("srft_likelihood"): self.imitation * np.exp(-of_traces)}
            sample.terms = {**sample.terms, **weights}
        pull = self.success * np.exp(of_drawn)
        for group in groups:
            for sample, own in against_group(group, context.config):
                if sample.rollout.drawn:
                    mine = pull if right([sample])[0] else -1.0
                    sample.advantage = self.share * mine + (1 - self.share) * own
        context.metrics |= {"imitation": float(self.imitation * np.exp(-of_traces)), "success": float(pull)}


def mean_entropy(samples: list[Sample]) -> float:
    """Nats a token; 0 without samples."""
    return float(np.concatenate([s.columns["entropy"] for s in samples]).mean()) if samples else 0.0
