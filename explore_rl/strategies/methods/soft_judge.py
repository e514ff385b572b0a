"""The soft judge's reward (Crossing the Reward Bridge, arXiv 2503.23829): how sure a judge is that the answer is right.

Acts at: reward. A judge reads question, reference and completion, and answers with one token, 1 or 0:

    reward = pi_judge(1) / (pi_judge(1) + pi_judge(0))

read from the endpoint's log-probabilities (`explore_rl.verifiers.judge`, scale "probability"). What could not be judged
has no reward, and is left out of its group. `share` of the reward is this one, the rest the verifier's.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.types import Group, Problem, Sample
from explore_rl.verifiers.judge import JudgeVerifier


class SoftJudge(Strategy):
    """Rewards by a judge's probability of "right".

    judge: options of the judge (docs/verifiers/judge.md): url and model, and others where wanted.
    reference: where the answer is, a key of Problem.metadata; None: Problem.answer.
    share: its part in the reward; 0: GRPO, and nothing is asked.
    at_once: questions that the judge gets at a time.
    """

    name = "soft_judge"
    acts_on_draws = True
    reads_policy = False
    trial = Trial(off={"share": 0.0})

    def __init__(self, *, judge: dict[str, Any], reference: str | None = None, share: float = 1.0, at_once: int = 16):
        try:
            self.judge = JudgeVerifier(**{"scale": "probability", **judge})
        except InputError as error:
            raise ValueError(str(error)) from None
        self.reference = parameters.text("reference", reference)
        self.share = parameters.share("share", share)
        self.at_once = parameters.whole("at_once", at_once, least=1)

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        missing = [p.id for p in problems if self.reference is not None and self.reference not in p.metadata]
        if missing:
            raise InputError(
                f"strategies: soft_judge: reference={self.reference}: problem {missing[0]} has no such key"
            )

    def reward(self, groups: list[Group], context: StepContext) -> None:
        judged = [(g.problem, s) for g in groups for s in g.samples if s.reward is not None and self.share]
        if not judged:
            return
        # Equal completions of a problem are asked about once.
        asked = {(p.id, s.rollout.text, s.rollout.truncated): p for p, s in judged}
        with ThreadPoolExecutor(self.at_once) as pool:
            scores = dict(zip(asked, pool.map(self._ask, asked.items()), strict=True))
        for problem, sample in judged:
            score = scores[problem.id, sample.rollout.text, sample.rollout.truncated]
            own = (1 - self.share) * (sample.reward or 0.0)
            sample.reward = None if score is None else self.share * score + own
        context.metrics |= self._metrics([sample for _, sample in judged], asked=len(asked))

    def _ask(self, entry: tuple[tuple[str, str, bool], Problem]) -> float | None:
        """The judge's score, or None where it gave none: an error is never a reward of 0."""
        (_, text, truncated), problem = entry
        if self.reference is not None:
            problem = replace(problem, answer=problem.metadata[self.reference])
        return self.judge(text, problem, truncated=truncated).score

    def _metrics(self, samples: list[Sample], *, asked: int) -> dict[str, float]:
        given = [(s.reward, s.verdict.score) for s in samples if s.reward is not None]
        agreed = sum((reward >= 0.5) == (score == 1) for reward, score in given)
        told = {"asked": float(asked), "unjudged": 1 - len(given) / len(samples)}
        return told | ({"agreement": agreed / len(given)} if given and self.share == 1 else {})
