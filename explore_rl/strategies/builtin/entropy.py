"""A bonus on the entropy of the next-token distribution over the full vocabulary: `algorithm.entropy_coefficient`.

Acts at: advantage (after all others; the rows of the policy gradient feed it), terms.
"""

from __future__ import annotations

from explore_rl.config.schema import Config
from explore_rl.objectives import losses, readouts
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies.base import StepContext, Strategy
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT
from explore_rl.strategies.builtin.kl import feed_beside_policy_gradient
from explore_rl.types import Group


class EntropyBonus(Strategy):
    """A loss term with the policy gradient's normaliser, so that the coefficient is relative to it."""

    name = "entropy"
    reads_policy = False
    regulariser = True

    def terms(self, config: Config) -> list[LossTerm]:
        return [
            LossTerm(
                name="entropy",
                function=losses.entropy_bonus,
                columns=(readouts.entropy(config.rollout.temperature),),
                normaliser=POLICY_GRADIENT,
            )
        ]

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        feed_beside_policy_gradient(groups, "entropy", coefficient=context.config.algorithm.entropy_coefficient)
