"""Updates on a batch that a test writes down: no draws; all else is what a run does, over a table of logits.

A prompt is one token, and a position of the completion is a row of the table, the rows of one prompt after those of
another: what was drawn before does not matter.
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
from explore_rl.types import Group, Problem, Request, Rollout, Sample, Status, Trace, Verdict

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
    """Steps of one strategy.

    probabilities: [positions, vocabulary], of the policy and of the base at the start, after every prompt.
    problems: that are trained on; without any the prompt is 0.
    """

    strategy: Strategy
    probabilities: list[list[float]]
    settings: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    number: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        self.config = digits_config(*SETTINGS, *self.settings)
        positions, vocabulary = np.shape(self.probabilities)
        prompts = sorted({(0,), *((int(problem.prompt),) for problem in self.problems)})
        table = LogitTable.by_position(prompts, positions=positions, vocabulary=vocabulary)
        table.logits[:] = np.log([*self.probabilities] * len(prompts))
        self.every = together.assemble([self.strategy], self.config)
        together.check(self.every, self.config, problems=self.problems)
        self.needs = needs_of(self.every, self.config)
        self.learner = TableLearner(self.config, table, needs=models_of(self.needs))

    def step(self, samples: list[Sample]) -> Update:
        """One update on one group."""
        return self._learn([Group(Problem("p", "0", None, "none"), samples)], self._contexts())

    def play(self, answers: list[str], *, right: str) -> Update:
        """A step from its first place to its last, on the first problem, or the one that `choose` has in its place.

        Texts are token ids as digits; encoding a completion adds the token 3 as its end.

        answers: what the policy draws, one a request, in the order in which they are asked for; a given prefix is not
            part of it.
        right: what right completions end with.
        """
        contexts = self._contexts(
            encode_prompt=lambda p: np.array([int(p.prompt)], dtype=np.int32),
            encode_completion=lambda text: np.array([*map(int, text), 3], dtype=np.int32),
            verify=lambda pairs: [Verdict(Status.CORRECT, 1.0) for _ in pairs],
            problems=self.problems,
        )
        acting = list(zip(self.every, contexts, strict=True))
        (problem,) = self.problems[:1]
        for strategy, context in acting:
            (problem,) = strategy.choose([problem], context)
        group = Group(problem, [])
        prompt = np.array([int(problem.prompt)], dtype=np.int32)
        wanted = [Request(problem.id, 0, prompt, max_tokens=8) for _ in range(self.config.algorithm.group_size)]
        waiting = iter(answers)
        for round_ in range(9):
            for strategy, context in acting:
                wanted = strategy.plan(wanted, [group], round_, context)
            if not wanted:
                break
            for request in wanted:
                text = "".join(map(str, request.prefix_ids)) + next(waiting)
                group.samples.append(completion(text, request=request, score=float(text.endswith(right))))
            wanted = []
        assert next(waiting, None) is None, "not all that was written down was asked for"
        for strategy, context in acting:
            strategy.inject([group], context)
        return self._learn([group], contexts)

    def _contexts(self, **known) -> list[StepContext]:
        terms, free = together.terms_of(self.every, self.config)
        known = {"encode_prompt": never, "encode_completion": never, "verify": never} | known
        return [
            StepContext(
                self.number, np.random.default_rng(0), self.config, **known, read=self.learner.read,
                refresh_base=self.learner.refresh_base, reset_optimizer=self.learner.reset_optimizer,
                terms={term.name: term for term in terms}, free_terms=free,
            )
            for _ in self.every
        ]  # fmt: skip

    def _learn(self, groups: list[Group], contexts: list[StepContext]) -> Update:
        terms, _ = together.terms_of(self.every, self.config)
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


def problem(prompt: int = 0, trace: str = "") -> Problem:
    return Problem(f"p{prompt}", str(prompt), 2, "none", (Trace(trace, "teacher"),) if trace else ())


def completion(text: str, *, request: Request, score: float) -> Sample:
    """What an engine draws for a request, its prefix included."""
    tokens = np.array([*map(int, text)], dtype=np.int32)
    rollout = Rollout(request, tokens, text, "stop", logprobs=np.zeros(len(tokens), dtype=np.float32))
    return Sample(rollout, Verdict(Status.CORRECT if score == 1 else Status.WRONG, score), reward=score)
