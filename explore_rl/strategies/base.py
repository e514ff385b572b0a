"""The interface of an exploration strategy: one file, five places, and needs that are declared beforehand.

The five places, in the order of a step. A strategy overrides the ones it uses and inherits the rest, which do nothing:

    plan       who draws each sample of a group; runs in rounds and sees what came back
    inject     put traces or replays into a group
    reward     a bonus before the group is normalised
    advantage  a bonus after it
    terms      loss terms it declares (pure functions of `explore_rl.objectives`); samples name the ones they feed

Plain GRPO is the empty list of strategies. Strategies compose: each place runs them in the order of the config.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from explore_rl.types import Group, Problem, Request, Rollout, Verdict

if TYPE_CHECKING:
    from explore_rl.config.schema import Config
    from explore_rl.objectives.terms import LossTerm


@dataclass(frozen=True)
class Column:
    """Log-probabilities that the learner fills in for every sample of a step, from its own forward pass.

    name: of the column in Sample.columns.
    model: "policy" (weights at the start of the step) or "base" (frozen).
    temperature: of the softmax.
    """

    name: str
    model: str
    temperature: float


@dataclass(frozen=True)
class Needs:
    """What a strategy needs, read before any actor starts.

    base_engine: whether it draws from an engine with the frozen base model.
    columns: for the learner to fill.
    """

    base_engine: bool = False
    columns: tuple[Column, ...] = ()

    @property
    def base_model(self) -> bool:
        return any(column.model == "base" for column in self.columns)


@dataclass
class StepContext:
    """What a strategy may use in a step, besides the groups.

    number: the step, from 0.
    rng: seeded by run, step and strategy, so that it is the same after a resume.
    config: the run's.
    encode_prompt: encode_prompt(problem) -> token ids, by the policy's own template.
    encode_completion: encode_completion(text) -> token ids with the end token, by the policy's own template.
    verify: verify([(problem, text), ...]) -> a Verdict for each.
    read: read(sequences, readouts, model), as Learner.read.
    metrics: what is put here is logged under the strategy's name.
    """

    number: int
    rng: np.random.Generator
    config: Config
    encode_prompt: Callable[[Problem], tuple[int, ...]]
    encode_completion: Callable[[str], tuple[int, ...]]
    verify: Callable[[list[tuple[Problem, str]]], list[Verdict]]
    read: Callable[..., list]
    metrics: dict[str, float] = field(default_factory=dict)


class Strategy:
    """Base of all strategies: does nothing at each of the five places."""

    name = "strategy"

    def needs(self, config: Config) -> Needs:
        return Needs()

    def check(self, config: Config, problems: list[Problem]) -> None:
        """Refuses settings that make no sense together. Called before any actor starts. Raises InputError."""

    def terms(self, config: Config) -> list[LossTerm]:
        """The strategy's loss terms, besides "policy_gradient"."""
        return []

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        """Round 0: `requests` are the draft, group_size a problem from the policy; returns what to draw in its place.

        Round 1 and on: `requests` is empty, and `groups[i].samples` is what has come back for the problem so far;
            returns
        what to draw in addition (Request.group = i). The rounds end when no strategy asks for more.
        """
        return requests

    def inject(self, groups: list[Group], context: StepContext) -> None:
        """Adds samples to the groups, or takes some out. An added sample names its source in rollout.request.source."""

    def reward(self, groups: list[Group], context: StepContext) -> None:
        """Changes Sample.reward, before the group is normalised. Columns are filled by now."""

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        """Changes Sample.advantage or Sample.weight, after normalisation."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep: plain JSON."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned when the checkpoint was made."""


def needs_of(strategies: list[Strategy], config: Config) -> Needs:
    """Everything that config and strategies need, merged. It is read before any actor starts."""
    wanted = [s.needs(config) for s in strategies]
    columns = [column for needs in wanted for column in needs.columns]
    if config.algorithm.kl != "none":
        columns.append(Column("base_logprob", "base", config.rollout.temperature))
    return Needs(base_engine=any(needs.base_engine for needs in wanted), columns=tuple(dict.fromkeys(columns)))


def given(like: Request, *, tokens: tuple[int, ...], text: str, source: str, in_baseline: bool = True) -> Rollout:
    """A rollout that nobody drew (a trace or a replay), to be put into a group.

    like: a request of the same problem and group: prompt, temperature and budget are taken from it.
    tokens: completion token ids, end token included.
    text: the tokens decoded, without special tokens.
    source: how records and metrics name it.
    in_baseline: whether it counts for the group's mean and spread.
    """
    request = replace(like, source=source, seed=0, in_baseline=in_baseline)
    return Rollout(request=request, tokens=tokens, text=text, finish_reason="stop")
