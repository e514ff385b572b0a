"""KL(policy, base) from what was drawn: `algorithm.kl`, `kl_coefficient`, `kl_place` (objectives/divergences.py).

In the loss it acts at: advantage (after all others; the rows of the policy gradient feed it), terms.
In the reward it acts at: reward (before all others). Every member of a group pays it, traces and other components of a
mixture too, since they are compared with each other.
"""

from __future__ import annotations

from explore_rl.config.schema import Config
from explore_rl.objectives import divergences, readouts
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies.base import Column, Needs, StepContext, Strategy
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT
from explore_rl.types import Group


def base_logprob(config: Config) -> Column:
    """The frozen base's log-probabilities at the training temperature."""
    return Column("base_logprob", "base", readouts.logprob(config.rollout.temperature))


class KLInLoss(Strategy):
    """A loss term on the rows of the policy gradient, with its normaliser: the coefficient is relative to it."""

    name = "kl"
    reads_policy = False
    regulariser = True

    def needs(self, config: Config) -> Needs:
        return Needs(columns=(base_logprob(config),))

    def terms(self, config: Config) -> list[LossTerm]:
        estimator = getattr(divergences, config.algorithm.kl)
        return [LossTerm(name="kl", function=estimator, columns=("base_logprob",), normaliser=POLICY_GRADIENT)]

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        feed_beside_policy_gradient(groups, "kl", coefficient=context.config.algorithm.kl_coefficient)


class KLInReward(Strategy):
    """Taken off the reward of every completion that the learner scored."""

    name = "kl"

    def needs(self, config: Config) -> Needs:
        return Needs(columns=(base_logprob(config),))

    def reward(self, groups: list[Group], context: StepContext) -> None:
        algorithm = context.config.algorithm
        for sample in (s for g in groups for s in g.samples):
            if sample.reward is not None and "base_logprob" in sample.columns:
                kl = divergences.in_reward(
                    algorithm.kl, sample.columns["old_logprob"], reference_logprob=sample.columns["base_logprob"]
                )
                sample.reward -= algorithm.kl_coefficient * kl


def feed_beside_policy_gradient(groups: list[Group], term: str, *, coefficient: float) -> None:
    """Adds a term to every sample that feeds the policy gradient, with the sample's weight."""
    for sample in (s for g in groups for s in g.samples):
        if POLICY_GRADIENT in sample.terms:
            sample.terms = {**sample.terms, term: coefficient * sample.weight}
