"""Engines and verifiers as a step uses them: completions, verdicts, new weights; engines that die are replaced."""

from __future__ import annotations

import logging
from typing import Any

from explore_rl.cluster.faults import ActorFault
from explore_rl.rollout.engines import DrawFault
from explore_rl.training.actors import Actors
from explore_rl.training.learning import Learning
from explore_rl.training.metrics import StageClock
from explore_rl.training.parity import Parity
from explore_rl.types import Group, Request, Rollout, Verdict
from explore_rl.verifiers.pool import Item

log = logging.getLogger(__name__)

ENGINE_RETRIES = 2  # how often a step is drawn again after an engine died


class Serving:
    """What stands between a step and its actors.

    parity: holds the engines to the learner after every transfer.
    learning: tells whether the learner's weights are changing meanwhile.
    version: of the weights that the engines hold.
    """

    def __init__(self, actors: Actors, parity: Parity, learning: Learning):
        self.actors, self.parity, self.learning = actors, parity, learning
        self.version = 0

    def send(self, step: int, clock: StageClock) -> dict[str, float]:
        """The learner's present weights to the engines, held against it afterwards. Returns figures of both.

        step, clock: of the step that ends with it.
        """
        with clock("parity"):
            self.parity.expect()
        with clock("transfer"):
            self.version = self.learning.version
            sent = self.actors.weights.send(self.version)
        with clock("parity"):
            gap = self.check_parity(step)
        return {
            "transfer/gather_seconds": sent["gather_s"],
            "transfer/send_seconds": sent["transfer_s"],
            **gap,
        }

    def generate(self, requests: list[Request], step: int) -> list[Rollout]:
        """Draws. If an engine dies, what was finished is kept and the rest is drawn again, which gives the same.

        For the seeds are in the requests. Only where a batch is learnt meanwhile (run.ahead=1), the rest is drawn with
        the weights that come of it, and says so. Raises ActorFault if an engine still dies after ENGINE_RETRIES more
        attempts, or if none can be replaced.

        step: for messages.
        """
        drawn: dict[int, Rollout] = {}  # by the request's index
        for retry in range(ENGINE_RETRIES + 1):
            left = [i for i in range(len(requests)) if i not in drawn]
            try:
                rollouts = self.actors.engines.generate([requests[i] for i in left])
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
        if not self.actors.engines.restart_dead():
            raise fault
        if self.learning.goes_on:  # the weights that the others hold are gone: all get the next ones
            self.learning.wait()
            self.parity.expect()
            self.version = self.learning.version + 1
        self.actors.weights.send(self.version)

    def verify(self, groups: list[Group], rollouts: list[Rollout]) -> list[Verdict]:
        return self.actors.verifiers.verify_all(
            [Item(groups[r.request.group].problem, r.text, r.truncated) for r in rollouts]
        )
