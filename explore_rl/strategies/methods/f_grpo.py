"""F-GRPO (arXiv 2602.06717): a group counts the less, the more of it is right; as the focal loss does with examples.

Acts at: advantage (a factor, before other strategies add). With p the share of the group's counting samples that are
right,

    A' = (1 - p)^gamma A
"""

from __future__ import annotations

import numpy as np

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Trial
from explore_rl.strategies.in_group import Factor, counted, right
from explore_rl.types import Sample


class FGrpo(Factor):
    """Scales the advantages of a group.

    gamma: 0 or more; 0: GRPO.
    """

    name = "f_grpo"
    reads_policy = False
    trial = Trial(off={"gamma": 0.0})

    def __init__(self, *, gamma: float = 0.5):
        self.gamma = parameters.number("gamma", gamma, least=0)

    def factors(self, samples: list[Sample], context: StepContext) -> np.ndarray:
        share_right = right(samples)[counted(samples)].mean()
        return np.full(len(samples), (1 - share_right) ** self.gamma)
