"""The learner as a step uses it: an update may go on beside what the driver's thread does, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from explore_rl.learner.messages import UpdateReport
from explore_rl.objectives.readouts import Readout
from explore_rl.objectives.terms import LossTerm
from explore_rl.training.metrics import StageClock
from explore_rl.types import Row

Work = Callable[[], list[UpdateReport]]


class Learning:
    """One thread for updates, made with the first one that goes on beside.

    learner: the ranks.
    beside: whether `begin` returns before the update is done (run.ahead=1, rollout.streaming).
    version: the learner's weights, counted in batches learnt.
    """

    def __init__(self, learner: Any, *, beside: bool):
        self.learner, self.beside = learner, beside
        self.version = 0
        self._threads: ThreadPoolExecutor | None = None
        self._running: Future[list[UpdateReport]] | None = None

    def begin(
        self,
        minibatches: list[list[Row]],
        terms: list[LossTerm],
        *,
        readouts: tuple[Readout, ...] = (),
        clock: StageClock,
    ) -> None:
        """Starts the updates of a batch, as `Learner.update`.

        minibatches: the rows of each optimizer step.
        terms: of the loss.
        readouts: as in `Learner.update`.
        clock: counts the updates' time as "train".
        """

        def work() -> list[UpdateReport]:
            with clock("train"):
                return self.learner.update(minibatches, terms, readouts=readouts)

        assert self._running is None, "one batch is learnt at a time"
        self._running = self._in_a_thread(work) if self.beside else _done(work)

    def _in_a_thread(self, work: Work) -> Future[list[UpdateReport]]:
        self._threads = self._threads or ThreadPoolExecutor(1, "learner")
        return self._threads.submit(work)

    def end(self) -> list[UpdateReport]:
        """Waits for what `begin` started. The waits of the learner itself bound how long that takes."""
        assert self._running is not None
        try:
            reports = self._running.result()
        finally:
            self._running = None
        self.version += 1
        return reports

    @property
    def goes_on(self) -> bool:
        """Whether a batch was begun, and its weights are not counted yet."""
        return self._running is not None

    def done(self, timeout_s: float) -> bool:
        """Whether what `begin` started is done after at most so long."""
        assert self._running is not None
        return bool(wait([self._running], timeout_s).done)

    def wait(self) -> None:
        """Until no update runs. Whether it went well, `end` tells."""
        if self._running is not None:
            wait([self._running])

    # --- for strategies: answered when the batch that is being learnt was learnt --------------------------------------

    def read(self, *args: Any, **options: Any) -> list[tuple[Any, ...]]:
        """As `Learner.read`."""
        self.wait()
        return self.learner.read(*args, **options)

    def refresh_base(self) -> None:
        self.wait()
        self.learner.refresh_base()

    def reset_optimizer(self) -> None:
        self.wait()
        self.learner.reset_optimizer()


def _done(work: Work) -> Future[list[UpdateReport]]:
    future: Future[list[UpdateReport]] = Future()
    future.set_result(work())
    return future
