"""What an engine may answer: as many log-probabilities as tokens, every one a number."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from explore_rl.cluster.faults import RunStopped
from explore_rl.types import Request, Rollout


class EndedText(NamedTuple):
    """A completion that has ended while others go on.

    index: its request's.
    text: the completion's, a given prefix included.
    finish_reason: as in Rollout.
    """

    index: int
    text: str
    finish_reason: str


class Answer(NamedTuple):
    """What an engine drew for a request, its given prefix included: the fields of a Rollout.

    tokens: int32 [T].
    text: the tokens decoded.
    finish_reason: "stop" or "length".
    logprobs: of each token, float32 [T]; 0 where it was given.
    version: of the weights that drew its first token.
    changes: as in Rollout.
    """

    tokens: np.ndarray
    text: str
    finish_reason: str
    logprobs: np.ndarray
    version: int
    changes: tuple[tuple[int, int], ...] = ()

    def of(self, request: Request) -> Rollout:
        return Rollout(
            request,
            tokens=self.tokens,
            text=self.text,
            finish_reason=self.finish_reason,
            logprobs=self.logprobs,
            weight_version=self.version,
            changes=self.changes,
        )


class BadAnswer(RunStopped):
    """An engine answered with what cannot be learnt from, so its weights or its arithmetic are broken."""


def check_answers(rollouts: list[Rollout]) -> list[Rollout]:
    """The rollouts, if each drawn token has a finite log-probability. Raises BadAnswer, which names the first other."""
    for rollout in rollouts:
        logprobs = rollout.logprobs
        who = f"problem {rollout.request.problem}, drawn by the {rollout.request.engine!r} engines"
        if logprobs is None or not len(logprobs) == len(rollout.tokens) == len(rollout.given):
            count = "no" if logprobs is None else str(len(logprobs))
            raise BadAnswer(f"{who}: {len(rollout.tokens)} tokens with {count} log-probabilities")
        broken = np.flatnonzero(~np.isfinite(logprobs))
        if len(broken):
            raise BadAnswer(
                f"{who} with weights of version {rollout.weight_version}: the log-probability of token {broken[0]} is"
                f" {logprobs[broken[0]]}; either the weights are not finite (look at update/* of metrics.jsonl; a"
                " smaller learning rate may help), or the engine's arithmetic is broken; go on from the last checkpoint"
            )
    return rollouts
