"""NSR and W-REINFORCE (arXiv 2506.01347): failures push in full, successes pull a little or not at all.

Acts at: advantage (in place of the group's, before other strategies add to it):

    A = positive   for a right completion
    A = -negative  for a wrong one

positive = .1 is W-REINFORCE, 0 is NSR (negative samples alone), and negative = 0 is PSR. Nothing is compared within a
group, so groups that failed as a whole push too. A push on what failed hands its probability to everything else in
proportion to what it has, so it lifts no winner over others.
"""

from __future__ import annotations

import numpy as np

from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Strategy
from explore_rl.strategies.in_group import InPlace, right
from explore_rl.strategies.rivals import refuse_unseen_rewards
from explore_rl.types import Problem, Sample


class WReinforce(InPlace):
    """Gives right and wrong completions fixed advantages.

    positive: weight of a right one; 0 or more.
    negative: what is taken off for a wrong one; 0 or more.
    share: its part in an advantage; the rest is what `algorithm.advantage` says. 0: GRPO.
    """

    name = "w_reinforce"
    reads_policy = False
    biases = ""  # of one sample alone

    def __init__(self, *, positive: float = 0.1, negative: float = 1.0, share: float = 1.0):
        self.positive = parameters.number("positive", positive, least=0)
        self.negative = parameters.number("negative", negative, least=0)
        if not positive and not negative:
            raise ValueError("positive=0 and negative=0: nothing would be learnt; NSR is positive=0 alone")
        self.share = parameters.share("share", share)

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        super().check(config, problems, others)
        refuse_unseen_rewards(self, others)

    def of_group(self, samples: list[Sample]) -> np.ndarray:
        return np.where(right(samples), self.positive, -self.negative)
