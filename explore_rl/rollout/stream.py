"""Draws that go on while the weights of the engines change (`rollout.streaming`), as the trainer asks for them.

What happens in an engine's actor is `explore_rl.rollout.streamed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from explore_rl.cluster.faults import ActorFault
from explore_rl.rollout.answers import Answer
from explore_rl.rollout.dealing import EndedTexts, OnTexts
from explore_rl.rollout.engines import Engine, Engines
from explore_rl.types import Request, Rollout


@dataclass(eq=False)
class Part:
    """An engine's part of a draw.

    engine, handle: who draws it; another handle than the engine's means that it was lost.
    share: indices of its requests.
    texts: what of it has ended.
    """

    engine: Engine
    handle: Any
    share: list[int]
    texts: EndedTexts


@dataclass(eq=False)
class Streaming:
    """A draw that is on its way.

    requests: all of it.
    on_texts: told which completions have ended.
    parts: by the engine's name.
    """

    requests: list[Request]
    on_texts: OnTexts
    parts: dict[str, Part] = field(default_factory=dict)


class Stream:
    """Draws of a run on its engines.

    `begin` notes a draw, and `mend` hands it out. What an engine had to draw when it died, `mend` hands to the one in
    its place.

    engines: of the run.
    """

    def __init__(self, engines: Engines):
        self.engines = engines
        self.draws: dict[int, Streaming] = {}  # by number
        self.turn = 0  # the engines' present one, which a pause ends; they are counted as draws are

    def begin(self, requests: list[Request], on_texts: OnTexts) -> int:
        """Notes requests for the engines; returns the number of the draw. Raises InputError as `Engines.generate` does.

        on_texts: told by `tell` which completions have ended.
        """
        self.engines.check(requests)
        number = next(self.engines.draws)
        if not self.draws:
            self.turn = number  # later than any pause so far, of whichever run
        draw = self.draws[number] = Streaming(requests, on_texts)
        for engine, share in self.engines.deal(requests):
            draw.parts[engine.name] = Part(engine, None, share, EndedTexts([], number, on_texts=on_texts))
        return number

    def mend(self) -> None:
        """Asks engines for the parts that their present actors do not know of. Raises ActorFault for one that died."""
        lost = [(n, part) for n, draw in self.draws.items() for part in draw.parts.values() if _is_lost(part)]
        if not lost:
            return
        refs = []
        for number, part in lost:
            draw = self.draws[number]
            part.handle = part.engine.handle
            part.texts = EndedTexts([(part.handle, part.share)], number, on_texts=draw.on_texts)
            refs.append(part.handle.admit.remote([draw.requests[i] for i in part.share], number))
        try:
            self.engines.gather([part.engine for _, part in lost], refs, doing="take requests", together=False)
        except ActorFault:
            for _, part in lost:
                part.handle = None
            raise
        self._go_on()

    def tell(self) -> None:
        """Tells whoever began the draws which completions have ended. It waits for no engine."""
        for draw in self.draws.values():
            for part in draw.parts.values():
                part.texts.tell()

    def finish(self, number: int) -> list[Rollout]:
        """The completions of a draw, in the order of its requests.

        Raises ActorFault for an engine that died or got stuck; once it was replaced, this again goes on.
        """
        self.mend()
        draw = self.draws[number]
        parts = list(draw.parts.values())
        refs = [part.handle.drawn.remote(number) for part in parts]
        doing = f"draw {len(draw.requests)} completions"
        engines = [part.engine for part in parts]
        answers: list[list[Answer | None]] = self.engines.gather(
            engines, refs, doing=doing, meanwhile=self.tell, together=False
        )
        shares = [(part.engine, part.share) for part in parts]
        rollouts = self.engines.checked(draw.requests, shares, answers=answers)
        del self.draws[number]
        for part in parts:
            part.handle.forget.remote(number)
        return [rollouts[i] for i in range(len(draw.requests))]

    @contextmanager
    def held(self) -> Iterator[None]:
        """The engines stop between two decoding steps, for whatever else they are asked meanwhile, and go on."""
        if not self.draws:
            yield
            return
        self._stop()
        try:
            yield
        finally:
            self._go_on()

    def _stop(self) -> None:
        self.turn = next(self.engines.draws)
        for engine in self.engines.engines:
            engine.handle.pause.remote(self.turn)

    def _go_on(self) -> None:
        for engine in self.engines.engines:
            engine.handle.flow.remote(self.turn)

    def drop(self) -> None:
        """Gives up whatever is on its way. An engine that does not answer is left to `Engines.restart_dead`."""
        if not self.draws:
            return
        self.draws = {}
        self._stop()
        refs = [engine.handle.drop_stream.remote() for engine in self.engines.engines]
        with suppress(ActorFault):
            self.engines.gather(self.engines.engines, refs, doing="give up draws", together=False)


def _is_lost(part: Part) -> bool:
    return part.handle is not part.engine.handle
