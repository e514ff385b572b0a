"""Draws that go on while an engine's weights change, inside the engine's actor.

The trainer's side is `explore_rl.rollout.stream`. Threads of the actor share what stands here: one puts requests in and
asks for answers, another makes the steps.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from explore_rl.rollout.answers import Answer, EndedText
from explore_rl.types import Request

LOOK_S = 1.0  # how often who waits for a draw looks whether it was given up


@dataclass(eq=False)
class Draw:
    """Requests that were asked for together.

    requests: what was asked for.
    answers: of each, None until it has ended.
    left: how many have not.
    ended: texts in the order of ending.
    """

    requests: list[Request]
    answers: list[Answer | None]
    left: int
    ended: list[EndedText] = field(default_factory=list)


@dataclass(eq=False)
class Going:
    """A request in the engine.

    draw, index: which it is.
    places: (tokens drawn, version) from where on the weights are of that version.
    name: in the engine.
    """

    draw: int
    index: int
    places: list[tuple[int, int]]
    name: str = ""


class Streamed:
    """What an engine draws across changes of its weights.

    in_flight: the engine's requests (`vllm_compat.InFlight`).
    settings: of the engine.
    turn: see `flow`.
    broken: what ended the loop, if it did not end by itself: the engine is to be replaced.
    answer_of: makes an Answer of a request, what was drawn for it, the version that began and the changes.
    """

    def __init__(self, in_flight: Any, settings: Any, *, answer_of: Callable[..., Answer]):
        self.in_flight, self.settings, self.answer_of = in_flight, settings, answer_of
        self.turn = 0
        self.draws: dict[int, Draw] = {}
        self.waiting: list[tuple[int, list[Request]]] = []  # asked for, and not in the engine yet
        self.going: dict[str, Going] = {}  # by the request's name
        self.broken: BaseException | None = None
        self.changed = threading.Condition()

    # --- from the thread beside ---------------------------------------------------------------------------------------

    def admit(self, requests: list[Request], draw: int) -> None:
        """Requests that `flow` takes on. Those of a draw that is here already are asked for twice, and drawn once."""
        with self.changed:
            if draw not in self.draws:
                self.draws[draw] = Draw(requests, [None] * len(requests), left=len(requests))
                self.waiting.append((draw, requests))

    def texts(self, draw: int, begin: int) -> list[EndedText]:
        found = self.draws.get(draw)
        return found.ended[begin:] if found else []

    def wait(self, draw: int) -> list[Answer | None]:
        """The answers of a draw, once all have ended; those that ended if it is dropped meanwhile."""
        with self.changed:
            asked = self.draws[draw]
            while self.broken is None and draw in self.draws and asked.left:
                self.changed.wait(LOOK_S)
            if self.broken is not None:
                raise RuntimeError(f"the engine's loop ended: {self.broken}") from self.broken
            return asked.answers

    def forget(self, draw: int) -> None:
        """A draw whose answers have arrived."""
        with self.changed:
            self.draws.pop(draw, None)

    # --- from the engine's thread -------------------------------------------------------------------------------------

    def flow(self, turn: int, version: int, *, on_step: Callable[[bool], Any]) -> None:
        """Decoding steps until nothing is left to draw, or a later turn has come.

        turn: whose this is. The trainer counts them up with every pause, which may arrive before this or after it.
        version: of the engine's weights.
        on_step: as in `vllm_compat.draw`.
        """
        try:
            while self.turn <= turn:
                self.take_in(version)
                if not self.going:
                    return
                on_step(self.in_flight.step())
        except BaseException as error:
            with self.changed:
                self.broken = error  # whoever waits hears of it
                self.changed.notify_all()
            raise

    def take_in(self, version: int) -> None:
        """Puts what was admitted into the engine. version: of its weights."""
        with self.changed:
            waiting, self.waiting = self.waiting, []
        for draw, requests in waiting:
            if requests and not self.settings.own_seeds:
                self.in_flight.seed(requests[0].seed)
            for index, request in enumerate(requests):
                going = Going(draw, index, [(0, version)])
                take = functools.partial(self._take, going)
                going.name = self.in_flight.add_draw(request, self.settings, take=take)
                self.going[going.name] = going

    def _take(self, going: Going, drawn: Any) -> None:
        """A request has ended."""
        del self.going[going.name]
        asked = self.draws.get(going.draw)
        if asked is None:
            return
        request = asked.requests[going.index]
        (_, began), *changes = going.places
        given = len(request.prefix_ids)
        changes = tuple((given + place, version) for place, version in changes)
        answer = self.answer_of(request, drawn, version=began, changes=changes)
        with self.changed:
            asked.answers[going.index] = answer
            asked.ended.append(EndedText(going.index, answer.text, answer.finish_reason))
            asked.left -= 1
            if not asked.left:
                self.changed.notify_all()

    def weights_change(self, version: int) -> bool:
        """What is half drawn goes on under `version`, its keys and values computed anew. Returns whether it could."""
        sampled = self.in_flight.sampled()
        for name, going in self.going.items():
            going.places = changed_at(going.places, sampled[name], version=version)
        return self.in_flight.recompute()

    def drop(self) -> None:
        """Gives up whatever was asked for."""
        self.in_flight.give_up(list(self.going))
        with self.changed:
            self.going = {}
            self.draws = {}
            self.waiting = []
            self.changed.notify_all()


def changed_at(places: list[tuple[int, int]], drawn: int, *, version: int) -> list[tuple[int, int]]:
    """`places` with one more, where the weights become those of `version` after `drawn` tokens.

    Nothing was drawn with weights that came and went in the same place, and the same weights again are no change.

    >>> changed_at([(0, 3)], 5, version=4), changed_at([(0, 3), (5, 4)], 5, version=6)
    ([(0, 3), (5, 4)], [(0, 3), (5, 6)])
    >>> changed_at([(0, 3)], 0, version=4)
    [(0, 4)]
    """
    kept = [place for place in places if place[0] < drawn]
    if kept and kept[-1][1] == version:
        return kept
    return [*kept, (drawn, version)]
