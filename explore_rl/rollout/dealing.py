"""Requests dealt out to engines, and what comes back of them: texts as they end, and all completions in the end."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayActorError

from explore_rl.rollout.answers import Answer, EndedText
from explore_rl.types import Request, Rollout

PIECE = 16  # requests with the same prompt that stay together, so that an engine can reuse the prompt's keys and values
OnTexts = Callable[[list[EndedText]], None]


class EndedTexts:
    """Asks engines which completions have ended, and tells somebody. It waits for no engine.

    shares: (handle of an engine's actor, indices of the requests that it draws) each.
    draw: the number of the draw, as `RolloutActor.generate` was told it.
    on_texts: told.
    """

    def __init__(self, shares: list[tuple[Any, list[int]]], draw: int, *, on_texts: OnTexts):
        self.shares, self.draw, self.on_texts = shares, draw, on_texts
        self.told = [0] * len(shares)
        self.asked: list[Any] = [None] * len(shares)

    def tell(self) -> None:
        for place, (handle, share) in enumerate(self.shares):
            if self.asked[place] is not None and ray.wait([self.asked[place]], timeout=0)[0]:
                self._take(place, share)
            if self.asked[place] is None and self.told[place] < len(share):
                self.asked[place] = handle.texts.remote(self.draw, self.told[place])

    def _take(self, place: int, share: list[int]) -> None:
        answer = self.asked[place]
        self.asked[place] = None
        try:
            ended: list[EndedText] = ray.get(answer, timeout=0)
        except RayActorError:  # whoever waits for the draw finds it dead
            self.told[place] = len(share)
            return
        self.told[place] += len(ended)
        if ended:
            self.on_texts([one._replace(index=share[one.index]) for one in ended])


def split(requests: list[Request], members: list[int], *, engines: int) -> list[list[int]]:
    """Deals requests out to `engines` shares of about the same cost, deterministically. Returns indices of requests.

    Neighbours with the same prompt stay together in pieces of PIECE. The longest pieces are dealt first, each to the
    least loaded share.

    requests: all of them.
    members: indices of the ones to deal out.
    engines: number of shares.
    """
    pieces: list[tuple[int, ...]] = []
    for _, neighbours in itertools.groupby(members, key=lambda i: requests[i].prompt_ids.tobytes()):
        same = tuple(neighbours)
        pieces += [same[at : at + PIECE] for at in range(0, len(same), PIECE)]
    cost = {piece: sum(len(requests[i].prompt_ids) + requests[i].max_tokens for i in piece) for piece in pieces}
    # A heap of (cost so far, share).
    shares: list[list[int]] = [[] for _ in range(engines)]
    load = [(0, s) for s in range(engines)]
    for piece in sorted(pieces, key=lambda p: -cost[p]):
        carried, share = heapq.heappop(load)
        shares[share].extend(piece)
        heapq.heappush(load, (carried + cost[piece], share))
    return shares


def by_request(
    requests: list[Request], shares: list[tuple[Any, list[int]]], *, answers: list[list[Answer | None]]
) -> dict[int, Rollout]:
    """The completions by their request's index.

    shares: each engine's indices.
    answers: one list an engine, in the order of its share; None where nothing was drawn. Empty for an engine that did
        not answer.
    """
    rollouts = {}
    for (_, share), drawn in zip(shares, answers, strict=True):
        for i, answer in zip(share, drawn, strict=False):
            if answer is not None:
                rollouts[i] = answer.of(requests[i])
    return rollouts
