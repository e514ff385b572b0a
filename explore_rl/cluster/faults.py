"""Waiting for actors.

Every wait names who was awaited and for what, and tells a slow actor from a dead or a stuck one.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray
from ray.actor import exit_actor
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

POLL_S = 2.0  # how often waiting actors are looked at, and how long they have to answer
MEANWHILE_S = 0.25  # how often a waiting caller does something else
BEAT_S = 1.0  # how often `alive` says so
KILL_S = 30.0  # for another node to end a process
GRACE_S = 2.0  # in which Ray ends a process by itself


class RunStopped(RuntimeError):
    """The work cannot go on; its state is saved and it can be resumed once the cause is gone."""


class ActorFault(RunStopped):
    """An actor died, got stuck or did not answer.

    who: its name.
    doing: what it was asked for.
    why: died, stuck or timed out.
    """

    def __init__(self, who: str, doing: str, why: str):
        super().__init__(f"{who}, asked to {doing}: {why}")
        self.who, self.doing, self.why = who, doing, why

    @classmethod
    def of_error(cls, who: str, doing: str, error: RayTaskError) -> ActorFault:
        """An exception of the actor's own code, as the actor's fault."""
        return cls(who, doing, f"{type(error.cause).__name__}: {error.cause}")

    def __reduce__(self) -> tuple[Any, ...]:
        # It travels from a rank that awaited an engine to the trainer.
        return type(self), (self.who, self.doing, self.why)


def gather(
    actors: Sequence[tuple[str, Any]],
    refs: Sequence[ray.ObjectRef],
    *,
    doing: str,
    timeout_s: float,
    stall_s: float | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> list[Any]:
    """The results of `refs`, in order.

    Raises ActorFault. Exceptions of the actors' own code come through as they are.

    actors: (name, handle) of whoever makes the result of the same index.
    refs: what is waited for.
    doing: what the actors were asked to do, for the message.
    timeout_s: how long all results together may take.
    stall_s: an actor that neither finishes nor makes progress for so long is stuck. Progress is the number that its
        `progress()` returns, which grows while it works and is served beside its work. None: nobody is asked.
    meanwhile: called every MEANWHILE_S while results are awaited.
    """
    deadline = time.monotonic() + timeout_s
    pending = {ref: i for i, ref in enumerate(refs)}
    began = time.monotonic()
    last_progress = {i: _Progress(None, began) for i in range(len(refs))}
    results: list[Any] = [None] * len(refs)
    while pending:
        # Results as they come: a dead actor is noticed while others still work.
        left_s = deadline - time.monotonic()
        done = _wait(list(pending), timeout_s=max(0.0, min(POLL_S, left_s)), meanwhile=meanwhile)
        for ref in done:
            i = pending.pop(ref)
            name = actors[i][0]
            try:
                results[i] = ray.get(ref, timeout=max(1.0, left_s))
            except RayActorError as error:
                raise ActorFault(name, doing, f"died: {_first_line(error)}") from error
            except GetTimeoutError as error:
                raise ActorFault(name, doing, "its result could not be fetched in time") from error
        # Then whoever is late or stands still.
        if pending and left_s <= 0:
            names = ", ".join(actors[i][0] for i in pending.values())
            raise ActorFault(names, doing, f"no answer within {timeout_s:.0f} s")
        if pending and stall_s is not None:
            waiting = {i: actors[i] for i in sorted(pending.values())}
            _look_for_stuck(waiting, last_progress, doing=doing, stall_s=stall_s)
    return results


def _wait(refs: list, *, timeout_s: float, meanwhile: Callable[[], None] | None) -> list:
    """Those of `refs` that are there after at most so long: sooner, if all are."""
    if meanwhile is None:
        return ray.wait(refs, num_returns=len(refs), timeout=timeout_s)[0]
    deadline = time.monotonic() + timeout_s
    while True:
        left_s = deadline - time.monotonic()
        done, pending = ray.wait(refs, num_returns=len(refs), timeout=max(0.0, min(MEANWHILE_S, left_s)))
        if not pending or left_s <= MEANWHILE_S:
            return done
        meanwhile()


class _Progress(NamedTuple):
    """An actor's progress.

    value: the number that it last gave; None: none yet.
    since: the time.monotonic() at which that was new.
    """

    value: int | None
    since: float


def _look_for_stuck(
    waiting: dict[int, tuple[str, Any]], last_progress: dict[int, _Progress], *, doing: str, stall_s: float
) -> None:
    """Asks actors for their progress, and raises ActorFault for those that made none for `stall_s`.

    waiting: (name, handle) by the actor's index.
    last_progress: one time an index; brought up to date.
    doing: what the actors were asked to do, for the message.
    stall_s: how long an actor may stand still.
    """
    # Who does not answer in time has made no progress as far as anybody can tell.
    polls = {handle.progress.remote(): i for i, (_, handle) in waiting.items()}
    answered, _ = ray.wait(list(polls), num_returns=len(polls), timeout=POLL_S)
    now = time.monotonic()
    for ref in answered:
        i = polls[ref]
        try:
            value = ray.get(ref, timeout=POLL_S)
        except RayActorError as error:
            raise ActorFault(waiting[i][0], doing, f"died: {_first_line(error)}") from error
        if value != last_progress[i].value:
            last_progress[i] = _Progress(value, now)
    # The partners of a stuck rank stand still too, so the one silent for longest is named first.
    silent = sorted((last_progress[i].since, i) for i in waiting if now - last_progress[i].since > stall_s)
    if silent:
        names = ", ".join(waiting[i][0] for _, i in silent)
        raise ActorFault(names, doing, f"no progress for {stall_s:.0f} s (stuck)")


@contextmanager
def alive(worker: Any, is_stranded: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Lets `worker.progress` grow meanwhile, around work that takes its time and has no steps to count.

    is_stranded: whether the worker waits for something that will never come; then it stops looking alive.
    """
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT_S):
            worker.progress += not is_stranded()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def ends_if_broken(method: Callable) -> Callable:
    """For the methods of an actor that holds an engine, and whose `lost_a_worker()` tells that the engine is broken.

    Such an engine cannot go on. Its process ends, instead of answering with whatever vLLM raised, and it is found and
    replaced as any dead one.
    """

    @functools.wraps(method)
    def checked(self: Any, *args: Any) -> Any:
        try:
            return method(self, *args)
        finally:
            if self.lost_a_worker():
                exit_actor()

    return checked


def kill(actor: Any, pid: int = 0, *, node: str = "") -> None:
    """Ends an actor for good.

    A stopped process does not hear Ray. Where its pid and node are known it gets the signal itself if it stays.
    """
    if not ray.is_initialized():
        return
    ray.kill(actor, no_restart=True)
    if not pid:
        return
    if node == ray.get_runtime_context().get_node_id():
        _end(pid)
        return
    on_its_node = NodeAffinitySchedulingStrategy(node, soft=False)
    ref = ray.remote(_end).options(num_cpus=0, scheduling_strategy=on_its_node).remote(pid)
    ray.wait([ref], timeout=KILL_S)  # fails if the node is gone too, which is as good


def _end(pid: int) -> None:
    """Kills the process if it stays.

    Ray gets a moment to end the process itself; otherwise it prints a complaint in the user's terminal.
    """
    deadline = time.monotonic() + GRACE_S
    try:
        while time.monotonic() < deadline:
            os.kill(pid, 0)  # is it there?
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
