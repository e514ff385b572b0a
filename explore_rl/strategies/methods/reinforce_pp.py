"""REINFORCE++ (arXiv 2501.03262, section 3): advantages are normalised over the whole batch, not within a group.

Acts at: keep, when every strategy has changed the advantages that it would and dynamic sampling has said which groups
count; it writes advantages per token. With r the reward of a completion, or with `baseline: group` its advantage within
the group (r - mean of the group by `algorithm.advantage: dr_grpo`, or what `rs_grpo`, `remax` or `ppo` make of it),

    A_t = r - kl_coefficient sum over i >= t of (log pi_old(y_i) - log pi_base(y_i))
    A_t <- (A_t - mean) / std      over all drawn tokens of the batch

With dynamic sampling a batch has several draws, which are normalised together. Which groups count is judged before.

The sum is what the tokens from t on pay in KL, the estimator k1 at each of them. The form with baseline has its KL in
the loss instead (algorithm.kl: k2).
"""

from __future__ import annotations

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.objectives.advantages import EPSILON
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Needs, StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import against_group
from explore_rl.strategies.builtin.kl import base_logprob
from explore_rl.strategies.rivals import WHOLE_ADVANTAGE, refuse_second
from explore_rl.types import Group, Problem, Sample


class ReinforcePP(Strategy):
    """Writes Sample.columns["advantage"].

    baseline: "none" (REINFORCE++) or "group" (REINFORCE++-baseline).
    kl_coefficient: weight of the KL in the tokens' rewards.
    whiten: whether advantages are normalised over the batch. Without it and the rest, "group" is Dr. GRPO.
    share: its part in the advantage; the rest is what `algorithm.advantage` and others say. 0: GRPO.
    """

    name = "reinforce_pp"
    turn = "last"
    trial = Trial(
        on={"baseline": "group"}, off={"baseline": "group", "share": 0.0}, settings=("algorithm.advantage=dr_grpo",)
    )

    def __init__(self, *, baseline: str = "none", kl_coefficient: float = 0.0, whiten: bool = True, share: float = 1.0):
        self.baseline = parameters.choice("baseline", baseline, choices=("none", "group"))
        self.kl_coefficient = parameters.number("kl_coefficient", kl_coefficient)
        self.reads_policy = self.kl_coefficient != 0
        self.whiten = parameters.flag("whiten", whiten)
        self.share = parameters.share("share", share)
        self.own_baseline = self.baseline == "none" and self.share == 1
        if whiten:
            self.biases = "the spread that it divides by is that of what was drawn"

    def needs(self, config: Config) -> Needs:
        return Needs(columns=(base_logprob(config),) if self.kl_coefficient else ())

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        refuse_second(self, others)
        algorithm = config.algorithm
        makes = next((other.name for other in others if other.name in WHOLE_ADVANTAGE), None)
        if self.baseline == "none" and makes:
            raise InputError(f"strategies: reinforce_pp: {makes} is a baseline, and baseline=none has none; set group")
        divides = algorithm.divide_by_std or (algorithm.divide_by_std is None and algorithm.advantage == "grpo")
        if self.whiten and self.baseline == "group" and divides and makes != "rs_grpo":
            raise InputError(
                f"algorithm.advantage={algorithm.advantage}: it divides by the spread of a group, and reinforce_pp with"
                " baseline=group by that of the batch; choose dr_grpo or rloo"
            )

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        own = {id(sample): value for g in groups for sample, value in against_group(g, context.config)}
        samples = [
            s
            for group in (groups if self.share else ())
            for s in group.samples
            if s.reward is not None
            and len(s.rollout.tokens)
            and (not self.kl_coefficient or "old_logprob" in s.columns)
        ]
        returns = [self._returns(s, own.get(id(s), 0.0)) for s in samples]
        drawn = [(s, value) for s, value in zip(samples, returns, strict=True) if s.rollout.request.in_baseline]
        tokens = np.concatenate([np.zeros(0), *(value[~s.rollout.given] for s, value in drawn)])
        mean, std = (tokens.mean(), tokens.std()) if len(tokens) else (0.0, 0.0)
        for sample, value in zip(samples, returns, strict=True):
            if self.whiten:
                value = (value - mean) / std if std > EPSILON else value - mean
            found = sample.columns.get("advantage", sample.advantage)
            sample.columns["advantage"] = (self.share * value + (1 - self.share) * found).astype(np.float32)
        context.metrics |= {"mean": float(mean), "std": float(std)}
        return groups, 0

    def _returns(self, sample: Sample, in_group: float) -> np.ndarray:
        """A_t before it is normalised, float64 [T]. in_group: what the group alone says of the sample."""
        value = sample.columns.get("advantage", sample.advantage)
        if self.baseline == "none":
            value = (sample.reward or 0.0) + (value - in_group)  # what other strategies have added stays
        values = np.zeros(len(sample.rollout.tokens)) + value
        if self.kl_coefficient:
            paid = sample.columns["old_logprob"].astype(np.float64) - sample.columns["base_logprob"]
            values -= self.kl_coefficient * paid[::-1].cumsum()[::-1]
        return values
