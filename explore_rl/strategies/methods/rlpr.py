"""RLPR (arXiv 2506.18254): without a verifier; the reward is how likely the reference answer is after the reasoning.

Acts at: reward, state (the filter's average). A completion is read as reasoning z up to and with the last `marker`, and
an answer; with the problem's reference y* in the answer's place,

    r  = mean over the tokens of y* of pi(y*_t | x, z, y*_<t)
    r' = the same right after the prompt, with no reasoning but the marker: what is known without thinking
    reward = max(r - r', 0);    0 without a marker, and where the reference would not fit into the budget

Groups whose rewards have a deviation below `filter` times its running mean teach nothing. The probabilities are the
policy's own at the start of the step; `share` of the reward is this one, the rest the verifier's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from explore_rl.objectives import readouts
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.types import Group, Problem

RATE = 0.1  # of the running mean


class Rlpr(Strategy):
    """Rewards reasoning by the probability of the reference answer.

    marker: text after whose last occurrence the answer begins, for example "boxed{" or "=".
    reference: where the answer is, a key of Problem.metadata; None: Problem.answer.
    share: its part in the reward; 0: GRPO.
    filter: groups with less than so much of the usual spread are left out; 0: none.
    """

    name = "rlpr"
    reads_policy = False
    acts_on_draws = True
    trial = Trial(on={"marker": "0", "filter": 0.0}, off={"marker": "0", "filter": 0.0, "share": 0.0})

    def __init__(self, *, marker: str, reference: str | None = None, share: float = 1.0, filter: float = 0.5):
        self.marker = parameters.text("marker", marker) or ""
        self.reference = parameters.text("reference", reference)
        self.share = parameters.share("share", share)
        self.filter = parameters.number("filter", filter, least=0)
        self.biases = "the filter leaves groups out by what was drawn" if filter else ""
        self.usual: float | None = None  # running mean of the groups' deviations

    def reward(self, groups: list[Group], context: StepContext) -> None:
        drawn = [(g.problem, s) for g in groups for s in g.samples if s.reward is not None and self.share]
        if not drawn:
            return
        reasonings = [self._reasoning(sample.rollout.text) for _, sample in drawn]
        # One call of the learner for all: every reasoning once, and each problem's reference without any.
        asked = {}
        for (problem, _), reasoning in zip(drawn, reasonings, strict=True):
            for text in (self.marker, reasoning or self.marker):
                asked.setdefault((problem.id, text), self._sequence(problem, text, context=context))
        read = context.read([(tokens, start) for tokens, start, _ in asked.values()], (readouts.logprob(1.0),))
        means = {}
        for (key, (_, _, count)), (logprobs,) in zip(asked.items(), read, strict=True):
            means[key] = float(np.exp(logprobs[-1 - count : -1], dtype=np.float64).mean())
        for (problem, sample), reasoning in zip(drawn, reasonings, strict=True):
            gain = means[problem.id, reasoning or self.marker] - means[problem.id, self.marker]
            sample.reward = self.share * max(0.0, gain) + (1 - self.share) * (sample.reward or 0.0)
        self._filter(groups, context)

    def _reasoning(self, text: str) -> str:
        """Up to and with the last marker; empty where there is none."""
        return "".join(text.rpartition(self.marker)[:2])

    def _sequence(self, problem: Problem, text: str, *, context: StepContext) -> tuple[np.ndarray, int, int]:
        """Prompt, `text` and reference as token ids, the prompt's length, and how many tokens are the reference's."""
        reference = str(problem.answer if self.reference is None else problem.metadata[self.reference])
        whole = context.encode_completion(text + reference)
        if text != self.marker and len(whole) > context.config.rollout.max_new_tokens:
            return self._sequence(problem, self.marker, context=context)
        count = max(1, len(whole) - len(context.encode_completion(text)))
        prompt = context.encode_prompt(problem)
        return np.concatenate([prompt, whole]), len(prompt), count

    def _filter(self, groups: list[Group], context: StepContext) -> None:
        spreads = np.array(
            [np.std([s.reward for s in group.samples if s.reward is not None] or [0.0]) for group in groups]
        )
        limit = self.filter * (self.usual or 0.0)
        for group, spread in zip(groups, spreads, strict=True):
            for sample in group.samples if spread < limit else []:
                sample.reward = None
        mean = float(spreads.mean())
        self.usual = mean if self.usual is None else self.usual + RATE * (mean - self.usual)
        context.metrics |= {"filtered": float((spreads < limit).mean()), "spread": mean}

    def state(self) -> dict[str, Any]:
        return {"usual": self.usual}

    def load_state(self, state: dict[str, Any]) -> None:
        self.usual = state["usual"]
