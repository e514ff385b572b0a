"""Controls: rewards that teach nothing about the problems. No methods, so recipes name them as module:Class."""

from __future__ import annotations

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.types import Group


class RandomReward(Strategy):
    """The reward of a draw is a coin, whatever the verifier says (Spurious Rewards, arXiv 2506.10947).

    What a run gains under it is no gain by reward. Verdicts, and so the logged pass@1, stay as they are.

    chance: of a reward of 1; else it is 0.
    share: of the draws whose reward is a coin; 0: GRPO.
    """

    name = "random_reward"
    reads_policy = False
    acts_on_draws = True
    trial = Trial(on={"chance": 0.5}, off={"share": 0.0})

    def __init__(self, *, chance: float = 0.5, share: float = 1.0):
        self.chance = parameters.share("chance", chance)
        self.share = parameters.share("share", share)

    def reward(self, groups: list[Group], context: StepContext) -> None:
        for sample in (s for g in groups for s in g.samples if s.rollout.drawn and s.reward is not None):
            chosen, coin = context.rng.random(2)
            if chosen < self.share:
                sample.reward = float(coin < self.chance)
