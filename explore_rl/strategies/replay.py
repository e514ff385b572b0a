"""The policy's own successes, kept for later: what was drawn, and how likely it was then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from explore_rl.objectives import readouts
from explore_rl.strategies.base import StepContext, Strategy, given
from explore_rl.strategies.held_out import refuse_held_out
from explore_rl.types import Group, Request, Sample, Status, Verdict

REPLAY = "replay"  # the source of a replay


@dataclass(frozen=True)
class Kept:
    """A success.

    tokens, text: the completion.
    logprobs: its tokens', under the policy that drew it, at the training temperature; 0 where it was not read.
    answer, mode, score: its verdict's.
    """

    tokens: list[int]
    text: str
    logprobs: list[float]
    answer: str | None
    mode: str | None
    score: float


class Bank:
    """Successes by problem id, no completion twice; of more than `size` of a problem the oldest goes.

    name: the strategy's, for messages.
    """

    def __init__(self, name: str, *, size: int):
        self.name, self.size = name, size
        self.kept: dict[str, list[Kept]] = {}

    def add(self, groups: Iterable[Group], context: StepContext) -> int:
        """Takes in what the groups drew and got right. Returns how many were new. Raises InputError: see `held_out`."""
        new = 0
        for group in groups:
            won = [s for s in group.samples if _is_own_success(s)]
            if won:
                refuse_held_out(self.name, [group.problem], config=context.config)
            known = {tuple(kept.tokens) for kept in self.kept.get(group.problem.id, [])}
            for sample in won:
                tokens = tuple(sample.rollout.tokens.tolist())
                if tokens not in known:
                    known.add(tokens)
                    self._keep(group.problem.id, sample, logprobs=sample.columns["old_logprob"])
                    new += 1
        return new

    def take(self, groups: Iterable[Group], context: StepContext) -> int:
        """Takes in what is right, whoever wrote it, one completion of each mode (of each text, where there are none).

        Returns how many were new. Raises InputError: see `held_out`.
        """
        new = 0
        for group in groups:
            known = {kept.mode or kept.text for kept in self.of(group.problem.id)}
            for sample in group.samples:
                mode = sample.verdict.mode or sample.rollout.text
                if sample.verdict.status is Status.CORRECT and mode not in known:
                    refuse_held_out(self.name, [group.problem], config=context.config)
                    known.add(mode)
                    self._keep(group.problem.id, sample, logprobs=np.zeros(len(sample.rollout.tokens)))
                    new += 1
        return new

    def _keep(self, problem: str, sample: Sample, *, logprobs: np.ndarray) -> None:
        verdict = sample.verdict
        kept = Kept(
            tokens=sample.rollout.tokens.tolist(),
            text=sample.rollout.text,
            logprobs=[float(x) for x in logprobs],
            answer=verdict.answer,
            mode=verdict.mode,
            score=float(verdict.score or 0.0),
        )
        self.kept[problem] = [*self.kept.get(problem, []), kept][-self.size :]

    def surest(self, group: Group, context: StepContext) -> Kept:
        """The problem's success whose tokens have the least entropy under the present policy: lucky ones have much."""
        stored = self.of(group.problem.id)
        prompt = context.encode_prompt(group.problem)
        sequences = [(np.concatenate([prompt, np.array(k.tokens, dtype=np.int32)]), len(prompt)) for k in stored]
        found = context.read(sequences, (readouts.entropy(context.config.rollout.temperature),))
        return stored[int(np.argmin([entropy.mean() for (entropy,) in found]))]

    def of(self, problem: str) -> list[Kept]:
        return self.kept.get(problem, [])

    def sample(self, group: Group, index: int, *, kept: Kept, context: StepContext, in_baseline: bool) -> Sample:
        """The success as a sample of `group`; its column "past_logprob" says how likely it was.

        group: the one it joins.
        index: the group's number in the draw.
        kept: the success.
        context: the step's.
        in_baseline: whether it counts for the group's baseline.
        """
        like = Request(
            problem=group.problem.id,
            group=index,
            prompt_ids=context.encode_prompt(group.problem),
            max_tokens=context.config.rollout.max_new_tokens,
            temperature=context.config.rollout.temperature,
        )
        tokens = np.array(kept.tokens, dtype=np.int32)
        rollout = given(like, tokens=tokens, text=kept.text, source=REPLAY, in_baseline=in_baseline)
        verdict = Verdict(Status.CORRECT, kept.score, answer=kept.answer, mode=kept.mode)
        sample = Sample(rollout, verdict, reward=kept.score)
        sample.columns["past_logprob"] = np.array(kept.logprobs, dtype=np.float32)
        return sample

    def state(self) -> dict[str, Any]:
        return {problem: [asdict(kept) for kept in of_problem] for problem, of_problem in self.kept.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.kept = {problem: [Kept(**kept) for kept in of_problem] for problem, of_problem in state.items()}


class WithBank(Strategy):
    """A strategy whose state is a bank alone, `self.bank`."""

    bank: Bank

    def state(self) -> dict[str, Any]:
        return self.bank.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.bank.load_state(state)


def _is_own_success(sample: Sample) -> bool:
    """Drawn as a whole by the policy, at the problem's own prompt, and right."""
    rollout = sample.rollout
    own = rollout.request.source == "policy" and not rollout.given.any() and "old_logprob" in sample.columns
    return own and sample.verdict.status is Status.CORRECT
