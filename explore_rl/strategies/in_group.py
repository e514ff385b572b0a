"""Methods that say what the members of a group are worth: in place of the group's advantages, or as factors on them."""

from __future__ import annotations

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import against_group
from explore_rl.strategies.rivals import refuse_rivals
from explore_rl.types import Group, Problem, Sample, Status


class InPlace(Strategy):
    """Makes the advantages of a group. A subclass has `of_group` and sets `share`.

    share: the method's part in an advantage; the rest is what `algorithm.advantage` says. 0: GRPO.
    """

    acts_on_draws = True
    turn = "first"
    biases = "what it makes of a sample depends on the sample's group"
    trial = Trial(off={"share": 0.0})
    share = 1.0

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        refuse_rivals(self, others)

    def of_group(self, samples: list[Sample]) -> np.ndarray:
        """The advantage of each of the group's samples with a reward, [n]; one counts for the baseline at least."""
        raise NotImplementedError

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        silent = 0
        for group in groups:
            compared = against_group(group, context.config)
            made = self.of_group([sample for sample, _ in compared]) if compared else np.zeros(0)
            silent += not made.any()
            for (sample, own), value in zip(compared, made, strict=True):
                sample.advantage = self.share * float(value) + (1 - self.share) * own
        context.metrics["groups_at_zero"] = silent / len(groups)


class Factor(Strategy):
    """Multiplies what a group's members are worth, before other strategies add to it. A subclass has `factors`."""

    acts_on_draws = True
    turn = "scale"
    biases = "its factor depends on what else the group drew"

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        for other in others:
            if other.name == "ppo" or getattr(other, "baseline", "") == "none":
                raise InputError(
                    f"strategies: {self.name}: scales the group's advantages, and {other.name} puts others in their"
                    " place; leave one out"
                )

    def factors(self, samples: list[Sample], context: StepContext) -> np.ndarray:
        """The factor of each of the group's samples with a reward, [n]; one counts for the baseline at least."""
        raise NotImplementedError

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        used = []
        for group in groups:
            samples = [sample for sample, _ in against_group(group, context.config)]
            factors = self.factors(samples, context) if samples else np.zeros(0)
            for sample, factor in zip(samples, factors, strict=True):
                sample.advantage *= float(factor)
            used.append(factors)
        joined = np.concatenate(used) if used else np.zeros(0)
        context.metrics |= {"mean": float(joined.mean()), "largest": float(joined.max())} if len(joined) else {}


def right(samples: list[Sample]) -> np.ndarray:
    """Which samples are correct, bool [n]: by the verdict, so that no bonus and no KL in the reward enters."""
    return np.array([sample.verdict.status is Status.CORRECT for sample in samples], dtype=bool)


def counted(samples: list[Sample]) -> np.ndarray:
    """Which samples count for the group's mean and spread, bool [n]."""
    return np.array([sample.rollout.request.in_baseline for sample in samples], dtype=bool)


def rewards_of(samples: list[Sample]) -> np.ndarray:
    """float64 [n]."""
    return np.array([sample.reward for sample in samples], dtype=np.float64)
