"""Engines and verifiers as a step uses them: completions, verdicts, new weights; engines that die are replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from explore_rl.cluster.faults import MEANWHILE_S, ActorFault
from explore_rl.rollout.answers import EndedText
from explore_rl.rollout.dealing import OnTexts
from explore_rl.rollout.engines import DrawFault
from explore_rl.training.actors import Actors
from explore_rl.training.learning import Learning
from explore_rl.training.metrics import StageClock
from explore_rl.training.parity import Parity
from explore_rl.types import Group, Request, Rollout, Verdict
from explore_rl.verifiers.pool import Item

log = logging.getLogger(__name__)

Done = TypeVar("Done")
ENGINE_RETRIES = 2  # how often a step is drawn again after an engine died


class Serving:
    """What stands between a step and its actors.

    actors: the run's.
    parity: holds the engines to the learner after every transfer.
    learning: tells whether the learner's weights are changing meanwhile.
    streaming: whether draws go on while weights change (rollout.streaming).
    version: which weights the engines hold.
    """

    def __init__(self, actors: Actors, parity: Parity, *, learning: Learning, streaming: bool):
        self.actors, self.parity, self.learning = actors, parity, learning
        self.streaming = streaming
        self.version = 0

    def send(self, step: int, clock: StageClock) -> dict[str, float]:
        """The learner's present weights to the engines. Returns figures of it; `check_sent` has to follow.

        step, clock: those of the step that ends with it.
        """
        # On shared GPUs the learner's memory is the engines' afterwards. A stream goes on with the next draw at once.
        first = self.actors.layout.colocated or self.streaming
        if first:
            with clock("parity"):
                self.parity.expect()
        self.version = self.learning.version
        with self.actors.stream.held():
            with clock("transfer"):
                sent = self.actors.weights.send(self.version)
            with clock("parity"):
                self.parity.ask(learner=not first)
                gap = self.check_parity(step) if self.streaming else {}
        self.on_all_engines(self.actors.stream.mend, step)  # what those had to draw that were replaced on the way
        return {
            "transfer/gather_seconds": sent["gather_s"],
            "transfer/send_seconds": sent["transfer_s"],
            **gap,
        }

    def check_sent(self, step: int, clock: StageClock) -> dict[str, float]:
        """Holds the engines to the learner after `send`, once what can be done meanwhile is done. Returns its figures.

        step, clock: those that `send` had. What is waited for counts as "parity".
        """
        if self.streaming:  # held in `send`
            return {}
        with clock("parity"):
            return self.check_parity(step)

    def begin(self, groups: list[Group], requests: list[Request], *, step: int) -> Drawing:
        """A draw, to be finished by `finish`. With rollout.streaming the engines begin with it at once.

        groups: that the requests name by their place.
        step: for messages.
        """
        drawing = Drawing(requests, Checks(groups, requests, verifiers=self.actors.verifiers))
        if self.streaming:
            drawing.number = self.actors.stream.begin(requests, drawing.checks.begin)
            self.on_all_engines(self.actors.stream.mend, step)
        return drawing

    def finish(self, drawing: Drawing, *, step: int, clock: StageClock) -> list[tuple[Rollout, Verdict]]:
        """Completions with their verdicts, in the order of the requests: verified as they end, while others go on.

        step, clock: as in `send`; what verification takes beyond the draw counts as "verify".
        """
        with clock("generate"):
            if self.streaming:
                rollouts = self.on_all_engines(lambda: self.actors.stream.finish(drawing.number), step)
            else:
                rollouts = self.generate(drawing.requests, step, on_texts=drawing.checks.begin)
        with clock("verify"):
            return list(zip(rollouts, drawing.checks.verdicts(rollouts), strict=True))

    def verify_until_learnt(self) -> None:
        """Hands texts to the verifiers as they end, until the update that goes on is done."""
        while not self.learning.done(MEANWHILE_S):
            self.actors.stream.tell()

    def on_all_engines(self, work: Callable[[], Done], step: int) -> Done:
        """What `work` returns, which is called again when an engine died in it and was replaced.

        The new one draws what the old one had to, with the weights that the learner has. Raises ActorFault as
        `generate` does.
        """
        for retry in range(ENGINE_RETRIES + 1):
            try:
                return work()
            except ActorFault as fault:
                with self.actors.stream.held():
                    self.replace_dead(fault, retry)
                    self.check_parity(step)
        raise AssertionError("unreachable")

    def generate(self, requests: list[Request], step: int, *, on_texts: OnTexts | None = None) -> list[Rollout]:
        """Draws. If an engine dies, what was finished is kept and the rest is drawn again, which gives the same.

        For the seeds are in the requests (on GPUs an engine has one of its own). Only where a batch is learnt meanwhile
        (run.ahead=1), the rest is drawn with the weights that come of it, and says so. Raises ActorFault if an engine
        still dies after ENGINE_RETRIES more attempts, or if none can be replaced.

        step: for messages.
        on_texts: as in `Engines.generate`; a completion that was told of may be drawn again all the same.
        """
        with self.actors.stream.held():
            return self._generate(requests, step, on_texts=on_texts)

    def _generate(self, requests: list[Request], step: int, *, on_texts: OnTexts | None) -> list[Rollout]:
        drawn: dict[int, Rollout] = {}  # by the request's index
        for retry in range(ENGINE_RETRIES + 1):
            left = [i for i in range(len(requests)) if i not in drawn]
            try:
                rollouts = self.actors.engines.generate([requests[i] for i in left], on_texts=_at(left, on_texts))
            except DrawFault as fault:
                drawn |= {left[i]: rollout for i, rollout in fault.done.items()}
                self.replace_dead(fault, retry)
                self.check_parity(step)
            else:
                drawn |= dict(zip(left, rollouts, strict=True))
                return [drawn[i] for i in range(len(requests))]
        raise AssertionError("unreachable")

    def check_parity(self, step: int, **options: Any) -> dict[str, float]:
        """`Parity.check`, and again if an engine dies meanwhile. Raises ActorFault as `generate` does."""
        self.parity.await_learner()
        self.actors.learner.offload()  # the engines stay awake from here on
        for retry in range(ENGINE_RETRIES + 1):
            try:
                return self.parity.check(step, **options)
            except ActorFault as fault:
                self.replace_dead(fault, retry)
        raise AssertionError("unreachable")

    def replace_dead(self, fault: ActorFault, retry: int) -> None:
        """Starts dead engines anew, with the weights that the learner has.

        Raises `fault` after ENGINE_RETRIES retries, or if nobody was replaced.
        """
        if retry == ENGINE_RETRIES:
            raise fault
        log.warning("%s; starting it anew and asking again", fault)
        self.parity.forget_asked()
        if not self.actors.engines.restart_dead():
            raise fault
        if self.learning.goes_on:  # the weights that the others hold are gone: all get the next ones
            self.learning.wait()
            self.parity.expect()
            self.version = self.learning.version + 1
        self.actors.weights.send(self.version)


@dataclass
class Drawing:
    """A draw that was begun.

    checks: its verification.
    number: of the stream's draw; -1 without one.
    """

    requests: list[Request]
    checks: Checks
    number: int = -1


class Checks:
    """Verification beside a draw.

    groups: that the requests name by their place.
    requests: what is drawn.
    verifiers: the pool.
    """

    def __init__(self, groups: list[Group], requests: list[Request], *, verifiers: Any):
        self.groups, self.requests, self.verifiers = groups, requests, verifiers
        # By the request's index: the text that its verdict is of, and where that verdict comes from.
        self.begun: dict[int, tuple[str, bool, Callable[[], list[Verdict]], int]] = {}

    def begin(self, texts: list[EndedText]) -> None:
        """Hands texts to the verifiers."""
        items = [
            Item(self.groups[self.requests[one.index].group].problem, one.text, one.finish_reason == "length")
            for one in texts
        ]
        verdicts = self.verifiers.begin(items)
        for place, (one, item) in enumerate(zip(texts, items, strict=True)):
            self.begun[one.index] = (one.text, item.truncated, verdicts, place)

    def verdicts(self, rollouts: list[Rollout]) -> list[Verdict]:
        """The verdicts of what the draw gave in the end; what was not told of, or came out otherwise, is verified now.

        rollouts: one a request, in order.
        """
        left = [
            EndedText(i, rollout.text, rollout.finish_reason)
            for i, rollout in enumerate(rollouts)
            if i not in self.begun or self.begun[i][:2] != (rollout.text, rollout.truncated)
        ]
        if left:
            self.begin(left)
        found: dict[int, list[Verdict]] = {}  # of each call of `begin`
        for _, _, verdicts, _ in self.begun.values():
            if id(verdicts) not in found:
                found[id(verdicts)] = verdicts()
        return [
            found[id(verdicts)][place] for _, _, verdicts, place in map(self.begun.__getitem__, range(len(rollouts)))
        ]


def _at(left: list[int], on_texts: OnTexts | None) -> OnTexts | None:
    """`on_texts` for a draw of the requests `left` alone."""
    if on_texts is None:
        return None
    return lambda texts: on_texts([one._replace(index=left[one.index]) for one in texts])
