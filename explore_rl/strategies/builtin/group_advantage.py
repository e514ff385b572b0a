"""GRPO itself: rewards of a group become advantages, and the policy gradient follows them.

Acts at: advantage (before all others), terms. Advantages are `algorithm.advantage` (objectives/advantages.py), the loss
is `algorithm.loss` (objectives/losses.py) with `algorithm.loss_options`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import AlgorithmConfig, Config
from explore_rl.objectives import advantages
from explore_rl.objectives.losses import find_loss
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies.base import StepContext, Strategy
from explore_rl.types import Group, Problem, Sample

POLICY_GRADIENT = "policy_gradient"  # the term that every sample feeds unless a strategy says otherwise


class GroupAdvantage(Strategy):
    """Compares the members of a group, and declares the policy gradient."""

    name = "group_advantage"
    reads_policy = False

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        policy_gradient(config.algorithm)
        least = min(config.algorithm.group_size, config.rewards.min_group)
        if least == 1 and not any(other.own_baseline for other in others):
            key = "algorithm.group_size" if config.algorithm.group_size == 1 else "rewards.min_group"
            raise InputError(
                f"{key}=1: a group of one has no baseline and so no signal; expected at least 2, or a strategy that "
                "weighs each draw alone: ppo, remax, reinforce_pp"
            )

    def terms(self, config: Config) -> list[LossTerm]:
        return [policy_gradient(config.algorithm)]

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        for group in groups:
            compared = against_group(group, context.config)
            for sample, value in compared:
                sample.advantage = value
            # With too few samples to compare with, only those stay whose terms need no comparison.
            for sample in () if compared else group.samples:
                if needs_comparison(sample, context):
                    sample.reward = None


def against_group(group: Group, config: Config) -> list[tuple[Sample, float]]:
    """The samples that have a reward, each with what `algorithm.advantage` says of it; none where too few have one."""
    rewarded = [s for s in group.samples if s.reward is not None]
    in_baseline = np.array([s.rollout.request.in_baseline for s in rewarded])
    if in_baseline.sum() < config.rewards.min_group:
        return []
    rewards = np.array([s.reward for s in rewarded])
    algorithm = config.algorithm
    values = advantages.group_advantages(
        algorithm.advantage, rewards, counts=in_baseline, divide_by_std=algorithm.divide_by_std
    )
    return [(sample, float(value)) for sample, value in zip(rewarded, values, strict=True)]


def needs_comparison(sample: Sample, context: StepContext) -> bool:
    """Whether any term that the sample feeds reads its advantage."""
    return any("advantage" in context.terms[name].columns for name in sample.terms)


def policy_gradient(algorithm: AlgorithmConfig) -> LossTerm:
    """The term of `algorithm.loss`. Raises InputError for one that is not there, or has no such options."""
    options: dict[str, Any] = dict(algorithm.loss_options)
    if algorithm.loss == "ppo_clip":
        # Without clipping the bounds are those that no ratio passes.
        bounds: dict[str, Any] = {"clip_low": 1.0, "clip_high": math.inf}
        if algorithm.clip:
            bounds = {"clip_low": algorithm.clip_low, "clip_high": algorithm.clip_high}
            if algorithm.dual_clip is not None:
                bounds["dual_clip"] = algorithm.dual_clip
        options = bounds | options
    loss = find_loss(algorithm.loss, options)
    return LossTerm(
        name=POLICY_GRADIENT,
        function=loss.function,
        columns=loss.columns,
        params=options,
        normaliser=POLICY_GRADIENT,
        metrics=loss.metrics,
        sums=loss.sums,
        gathered=loss.gathered,
        vanishes=loss.vanishes,
    )
