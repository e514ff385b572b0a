"""Updates on a batch that a test writes down: no draws; all else is what a run does, over a table of logits.

The prompt is one token, and a position of the completion is a row of the table: what was drawn before does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from explore_rl.strategies import together
from explore_rl.strategies.base import StepContext, Strategy, needs_of
from explore_rl.testing import LogitTable, TableLearner, Update, digits_config
from explore_rl.training.actors import models_of
from explore_rl.training.columns import fill_columns
from explore_rl.training.rows import make_minibatches
from explore_rl.types import Group, Problem, Request, Rollout, Sample, Status, Verdict

PROMPT = np.array([0], dtype=np.int32)
SETTINGS = ("algorithm.importance_cap=null", "rollout.max_new_tokens=8")


def never(*_):
    raise AssertionError("nothing here is encoded or verified")


def drawn(tokens, reward, group=0):
    """A completion that the policy drew, right if its reward is 1."""
    tokens = np.array(tokens, dtype=np.int32)
    request = Request("p", group, PROMPT, max_tokens=8)
    rollout = Rollout(request, tokens, "text", "stop", logprobs=np.zeros(len(tokens), dtype=np.float32))
    return Sample(rollout, Verdict(Status.CORRECT if reward == 1 else Status.WRONG, reward), reward=float(reward))


@dataclass
class OneStep:
    """Steps of one strategy. probabilities: [positions, vocabulary], of the policy and of the base at the start."""

    strategy: Strategy
    probabilities: list[list[float]]
    settings: tuple[str, ...] = ()
    number: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        self.config = digits_config(*SETTINGS, *self.settings)
        table = LogitTable.by_position([(0,)], positions=len(self.probabilities), vocabulary=len(self.probabilities[0]))
        table.logits[:] = np.log(self.probabilities)
        self.every = together.assemble([self.strategy], self.config)
        together.check(self.every, self.config, problems=[])
        self.needs = needs_of(self.every, self.config)
        self.learner = TableLearner(self.config, table, models_of(self.needs))

    def step(self, samples: list[Sample]) -> Update:
        """One update on one group."""
        groups = [Group(Problem("p", "0", None, "none"), samples)]
        terms, free = together.terms_of(self.every, self.config)
        contexts = [
            StepContext(
                self.number, np.random.default_rng(0), self.config,
                encode_prompt=never, encode_completion=never, verify=never, read=self.learner.read,
                refresh_base=self.learner.refresh_base, reset_optimizer=self.learner.reset_optimizer,
                terms={term.name: term for term in terms}, free_terms=free,
            )
            for _ in self.every
        ]  # fmt: skip
        acting = list(zip(self.every, contexts, strict=True))
        fill_columns(groups, self.needs.columns, learner=self.learner, config=self.config)
        for strategy, context in acting:
            strategy.reward(groups, context)
        for strategy, context in acting:
            strategy.advantage(groups, context)
        for strategy, context in acting:
            groups, _ = strategy.keep(groups, context)
        minibatches = make_minibatches(groups, terms, config=self.config, step=self.number)
        self.learner.update([minibatch.rows for minibatch in minibatches], terms)
        for strategy, context in acting:
            strategy.after_update(groups, context)
            if strategy is self.strategy:
                self.metrics = context.metrics
        self.number += 1
        return self.learner.history[-1]
