"""DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13): what comes near the budget costs reward, more and more.

Acts at: reward, so that it is normalised together with the reward. Every member of a group pays it, traces too, since
they are compared with each other. With L the budget (rollout.max_new_tokens), C the
buffer, and |y| the tokens of the completion:

    0                  |y| <= L - C
    (L - C - |y|) / C  in between
    -1                 at the budget
"""

from __future__ import annotations

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.types import Group, Problem


class SoftOverlong(Strategy):
    """Adds the punishment to the rewards.

    buffer: C in tokens; the paper's is a fifth of the budget (4096 of 20480).
    coefficient: multiplies it. 0.5 on rewards of 0 and 1 is the paper's 1 on rewards of -1 and 1.
    """

    name = "soft_overlong"
    reads_policy = False
    trial = Trial(on={"buffer": 2})

    def __init__(self, *, buffer: int, coefficient: float = 0.5):
        self.buffer = parameters.whole("buffer", buffer, least=1)
        self.coefficient = parameters.number("coefficient", coefficient)

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        if self.buffer > config.rollout.max_new_tokens:
            raise InputError(
                f"strategies: soft_overlong: buffer={self.buffer}: above"
                f" rollout.max_new_tokens={config.rollout.max_new_tokens}"
            )

    def reward(self, groups: list[Group], context: StepContext) -> None:
        budget = context.config.rollout.max_new_tokens
        punishments = []
        for sample in (s for g in groups for s in g.samples):
            if sample.reward is not None:
                punishments.append(punishment(len(sample.rollout.tokens), budget=budget, buffer=self.buffer))
                sample.reward += self.coefficient * punishments[-1]
        context.metrics["punished"] = sum(p < 0 for p in punishments) / max(1, len(punishments))
        context.metrics["punishment"] = sum(punishments) / max(1, len(punishments))


def punishment(length: int, *, budget: int, buffer: int) -> float:
    """From 0 down to -1. All in tokens.

    >>> [punishment(length, budget=10, buffer=4) for length in (6, 7, 10)]
    [0.0, -0.25, -1.0]
    """
    return max(-1.0, min((budget - buffer - length) / buffer, 0.0))
