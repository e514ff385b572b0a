"""What a step draws: its batch while it is put together, the seeds of its requests, and a verdict's first reward."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from explore_rl.cluster.faults import RunStopped
from explore_rl.config.schema import Config, RewardsConfig
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.strategies.base import AT_THE_END, StepContext, Strategy
from explore_rl.training.serving import Drawing
from explore_rl.types import Group, Problem, Request, Status, Verdict


@dataclass(eq=False)
class Plans:
    """A draw in rounds, as strategies plan it.

    groups: with what has come back so far.
    round: the next one to plan.
    asked: whether anything was asked for in the last one.
    drawing: what is being drawn of it; None once that has come back.
    """

    groups: list[Group]
    round: int = 0
    asked: bool = True
    drawing: Drawing | None = None


@dataclass(eq=False)
class Batch:
    """What a step learns from.

    number: the step.
    acting: the run's strategies in order, each with its context; a list, since a strategy need not be hashable.
    drawn: the groups of every draw, with all that strategies injected.
    groups: those that count.
    dropped: those that were drawn and left out.
    plans: of the draw that is on its way.
    epoch: passes over the data, when the last draw took its problems.
    entropies: means over tokens, by the identity of a sample without the column, where the update read them.
    idle: share of the rows whose gradient is 0, which were not computed.
    """

    number: int
    acting: list[tuple[Strategy, StepContext]]
    drawn: list[list[Group]] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    dropped: list[Group] = field(default_factory=list)
    plans: Plans | None = None
    epoch: float = 0.0
    entropies: dict[int, float] = field(default_factory=dict)
    idle: float = 0.0

    def judge_last_draw(self) -> int:
        """The strategies say which groups of it count, but for those that act when all draws are done.

        Returns for how many problems more they ask.
        """
        kept = self.drawn[-1]
        wanted = 0
        for strategy, context in self.acting:
            if strategy.turn not in AT_THE_END:
                kept, more = strategy.keep(kept, context)
                wanted = max(wanted, more)
        self.groups += kept
        self.dropped += without(self.drawn[-1], kept)
        return wanted

    def close(self) -> None:
        """When all draws are done: the strategies that act then see the groups of all of them that count.

        Without any it is still a step: the last draw stands for it, and is not dropped. Raises RunStopped for a
        strategy that wants another draw now.
        """
        for strategy, context in self.acting:
            if strategy.turn in AT_THE_END:
                before = self.groups
                self.groups, more = strategy.keep(before, context)
                self.dropped += without(before, self.groups)
                if more:
                    raise RunStopped(
                        f"step {self.number}: {strategy.key} asks for {more} problems more, but its turn is"
                        f' "{strategy.turn}": all draws are done; leave `turn` empty'
                    )
        if not self.groups:
            self.groups = self.drawn[-1]
            self.dropped = without(self.dropped, self.groups)


def without(groups: list[Group], taken: list[Group]) -> list[Group]:
    """The groups that are not among `taken`; a group is itself, whatever it holds."""
    ids = {id(group) for group in taken}
    return [group for group in groups if id(group) not in ids]


def draft(problem: Problem, index: int, *, prompt_ids: np.ndarray, config: Config) -> list[Request]:
    """group_size draws of a problem from the policy, without seeds.

    problem: what is asked.
    index: of its group.
    prompt_ids: int32 [P], the prompt.
    config: the run's.
    """
    rollout = config.rollout
    return [
        Request(
            problem=problem.id,
            group=index,
            prompt_ids=prompt_ids,
            max_tokens=rollout.max_new_tokens,
            temperature=rollout.temperature,
        )
        for _ in range(config.algorithm.group_size)
    ]


def seeded(requests: list[Request], seed: int, *, number: int, attempt: int = 0, plan_round: int = 0) -> list[Request]:
    """The requests, each with a seed of its own: a hash of everything that tells it from every other of the run.

    requests: what strategies planned.
    seed: the run's.
    number: the step.
    attempt: how often the step was drawn before.
    plan_round: the round of the strategies' planning.
    """
    places: Counter[int] = Counter()
    found = []
    for request in requests:
        place = places[request.group]
        places[request.group] += 1
        when = (number, attempt) if plan_round == 0 else (number, attempt, "round", plan_round)
        found.append(replace(request, seed=hashed_seed(seed, "draw", *when, request.group, place)))
    return found


def base_reward(verdict: Verdict, rewards: RewardsConfig) -> float | None:
    """A verdict's reward before any bonus.

    None leaves the sample out of its group: an error is never a reward of 0.
    """
    special = {Status.NO_ANSWER: rewards.no_answer, Status.TIMEOUT: rewards.timeout, Status.ERROR: rewards.error}
    return special.get(verdict.status, verdict.score)
