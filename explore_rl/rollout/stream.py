"""Draws that go on while the weights of the engines change (`rollout.streaming`), as the trainer asks for them.

What happens in an engine's actor is `explore_rl.rollout.engine_stream`.
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
class Share:
    """An engine's share of a draw.

    engine, handle: who draws it; another handle than the engine's means that it was lost.
    indices: of its requests.
    texts: what of it has ended.
    """

    engine: Engine
    handle: Any
    indices: list[int]
    texts: EndedTexts


@dataclass(eq=False)
class Streaming:
    """A draw that is on its way.

    requests: all of it.
    on_texts: told which completions have ended.
    shares: by the engine's name.
    """

    requests: list[Request]
    on_texts: OnTexts
    shares: dict[str, Share] = field(default_factory=dict)


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
        for engine, indices in self.engines.deal(requests):
            draw.shares[engine.name] = Share(engine, None, indices, EndedTexts([], number, on_texts=on_texts))
        return number

    def mend(self) -> None:
        """Asks engines for the shares that their present actors do not know of. Raises ActorFault for one that died."""
        lost = [(n, share) for n, draw in self.draws.items() for share in draw.shares.values() if _is_lost(share)]
        if not lost:
            return
        refs = []
        for number, share in lost:
            draw = self.draws[number]
            share.handle = share.engine.handle
            share.texts = EndedTexts([(share.handle, share.indices)], number, on_texts=draw.on_texts)
            refs.append(share.handle.admit.remote([draw.requests[i] for i in share.indices], number))
        try:
            self.engines.gather([share.engine for _, share in lost], refs, doing="take requests", together=False)
        except ActorFault:
            for _, share in lost:
                share.handle = None
            raise
        self._go_on()

    def tell(self) -> None:
        """Tells whoever began the draws which completions have ended. It waits for no engine."""
        for draw in self.draws.values():
            for share in draw.shares.values():
                share.texts.tell()

    def finish(self, number: int) -> list[Rollout]:
        """The completions of a draw, in the order of its requests.

        Raises ActorFault for an engine that died or got stuck; once it was replaced, this again goes on.
        """
        self.mend()
        draw = self.draws[number]
        shares = list(draw.shares.values())
        refs = [share.handle.drawn.remote(number) for share in shares]
        doing = f"draw {len(draw.requests)} completions"
        engines = [share.engine for share in shares]
        answers: list[list[Answer | None]] = self.engines.gather(
            engines, refs, doing=doing, meanwhile=self.tell, together=False
        )
        dealt = [(share.engine, share.indices) for share in shares]
        rollouts = self.engines.checked(draw.requests, dealt, answers=answers)
        del self.draws[number]
        for share in shares:
            share.handle.forget.remote(number)
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


def _is_lost(share: Share) -> bool:
    return share.handle is not share.engine.handle
