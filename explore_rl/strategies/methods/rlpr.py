"""RLPR (arXiv 2506.18254): without a verifier; the reward is how likely the reference answer is after the reasoning.

Acts at: reward, state (the filter's average). A completion is read as reasoning z up to and with the last `marker`, and
an answer; with the problem's reference y* in the answer's place,

    r  = mean over the tokens of y* of pi(y*_t | x, z, y*_<t)
    r' = the same right after the prompt, with no reasoning but the marker: what is known without thinking
    reward = clip(r - r', 0, 1);    0 where there is no marker

Groups whose rewards have a deviation below `filter` times its running mean teach nothing. The probabilities are the
policy's own at the start of the step; `share` of the reward is this one, the rest the verifier's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from explore_rl.objectives import readouts
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.types import Group, Problem, Sample

RATE = 0.1  # of the running mean


class Rlpr(Strategy):
    """Rewards reasoning by the probability of the reference answer.

    marker: text after whose last occurrence the answer begins, for example "boxed{" or "=".
    reference: where the answer is, a key of Problem.metadata; None: Problem.answer.
    share: of it in the reward; 0: GRPO.
    filter: groups with less than so much of the usual spread are left out; 0: none.
    """

    name = "rlpr"
    acts_on_draws = True
    trial = Trial(on={"marker": "0", "filter": 0.0}, off={"marker": "0", "filter": 0.0, "share": 0.0})
    biases = "the filter leaves groups out by what was drawn"

    def __init__(self, *, marker: str, reference: str | None = None, share: float = 1.0, filter: float = 0.5):
        self.marker = parameters.text("marker", marker) or ""
        self.reference = parameters.text("reference", reference)
        self.share = parameters.share("share", share)
        self.filter = parameters.number("filter", filter, least=0)
        self.usual: float | None = None  # running mean of the groups' deviations

    def reward(self, groups: list[Group], context: StepContext) -> None:
        drawn = [(g.problem, s) for g in groups for s in g.samples if s.reward is not None] if self.share else []
        if not drawn:
            return
        paid = self._rewards(drawn, context)
        for (_, sample), value in zip(drawn, paid, strict=True):
            assert sample.reward is not None
            sample.reward = self.share * value + (1 - self.share) * sample.reward
        self._filter(groups, context)
        context.metrics["reward"] = float(np.mean(paid))

    def _rewards(self, drawn: list[tuple[Problem, Sample]], context: StepContext) -> list[float]:
        """One call of the learner for all, and one sequence a problem for what is known without reasoning."""
        asked: dict[tuple[str, str], tuple[np.ndarray, int, int]] = {}
        for problem, sample in drawn:
            for reasoning in ("", self._reasoning(sample.rollout.text)):
                if reasoning is not None:
                    asked.setdefault((problem.id, reasoning), self._sequence(problem, reasoning, context))
        read = context.read([(tokens, prompt) for tokens, prompt, _ in asked.values()], (readouts.logprob(1.0),))
        means = {}
        for (key, (_, _, count)), (logprobs,) in zip(asked.items(), read, strict=True):
            means[key] = float(np.exp(logprobs[len(logprobs) - 1 - count : -1], dtype=np.float64).mean())
        rewards = []
        for problem, sample in drawn:
            reasoning = self._reasoning(sample.rollout.text)
            with_it = 0.0 if reasoning is None else means[problem.id, reasoning] - means[problem.id, ""]
            rewards.append(min(1.0, max(0.0, with_it)))
        return rewards

    def _reasoning(self, text: str) -> str | None:
        before, marker, _ = text.rpartition(self.marker)
        return before + marker if marker else None

    def _sequence(self, problem: Problem, reasoning: str, context: StepContext) -> tuple[np.ndarray, int, int]:
        """Token ids, the prompt's length, and how many tokens before the end token are the reference's."""
        prompt = context.encode_prompt(problem)
        reference = str(problem.answer if self.reference is None else problem.metadata[self.reference])
        shown = reasoning or self.marker
        whole = context.encode_completion(shown + reference)
        count = max(1, len(whole) - len(context.encode_completion(shown)))
        return np.concatenate([prompt, whole]), len(prompt), count

    def _filter(self, groups: list[Group], context: StepContext) -> None:
        spreads = []
        for group in groups:
            rewards = [s.reward for s in group.samples if s.reward is not None]
            spreads.append(float(np.std(rewards)) if rewards else 0.0)
        limit = 0.0 if self.usual is None else self.filter * self.usual
        for group, spread in zip(groups, spreads, strict=True):
            for sample in group.samples if spread < limit else []:
                sample.reward = None
        mean = float(np.mean(spreads))
        self.usual = mean if self.usual is None else self.usual + RATE * (mean - self.usual)
        context.metrics |= {"filtered": float(np.mean(np.array(spreads) < limit)), "spread": mean}

    def state(self) -> dict[str, Any]:
        return {"usual": self.usual}

    def load_state(self, state: dict[str, Any]) -> None:
        self.usual = state["usual"]
