"""Waiting for actors: every wait names who was awaited and for what, and tells a slow actor from a dead or a stuck one."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.actor import exit_actor
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

POLL_S = 2.0
BEAT_S = 1.0
KILL_S = 30.0
GRACE_S = 2.0  # in which Ray ends a process by itself


class RunStopped(RuntimeError):
    """The work cannot go on; its state is saved and it can be resumed once the cause is gone."""


class ActorFault(RunStopped):
    """An actor died, got stuck or did not answer. who: its name; doing: what it was asked for; why: died, stuck or timed out."""

    def __init__(self, who: str, doing: str, why: str):
        super().__init__(f"{who}, asked to {doing}: {why}")
        self.who, self.doing, self.why = who, doing, why

    @classmethod
    def of_error(cls, who: str, doing: str, error: RayTaskError) -> ActorFault:
        """An exception of the actor's own code, as the actor's fault."""
        return cls(who, doing, f"{type(error.cause).__name__}: {error.cause}")

    def __reduce__(self) -> tuple:
        return type(self), (
            self.who,
            self.doing,
            self.why,
        )  # it travels from a rank that awaited an engine to the trainer


def gather(
    actors: Sequence[tuple[str, Any]],
    refs: Sequence[ray.ObjectRef],
    doing: str,
    timeout_s: float,
    stall_s: float | None = None,
) -> list[Any]:
    """The results of refs[i], asked of actors[i] = (name, handle), in order.

    With `stall_s`, each unfinished actor's `progress()` (a number that grows while it works, served beside its work) is polled; one
    that neither finishes nor grows for so long is stuck. Raises ActorFault; exceptions of the actors' own code come through as they are.
    """
    deadline = time.monotonic() + timeout_s
    pending = {ref: i for i, ref in enumerate(refs)}
    last_seen = {i: (None, time.monotonic()) for i in range(len(refs))}
    results: list[Any] = [None] * len(refs)
    while pending:
        left = deadline - time.monotonic()
        done, _ = ray.wait(list(pending), num_returns=len(pending), timeout=max(0.0, min(POLL_S, left)))
        for ref in done:
            i = pending.pop(ref)
            try:
                results[i] = ray.get(ref, timeout=max(1.0, left))
            except RayActorError as error:
                raise ActorFault(actors[i][0], doing, f"died: {_first_line(error)}") from error
            except GetTimeoutError as error:
                raise ActorFault(actors[i][0], doing, "its result could not be fetched in time") from error
        if pending and left <= 0:
            names = ", ".join(actors[i][0] for i in pending.values())
            raise ActorFault(names, doing, f"no answer within {timeout_s:.0f} s")
        if pending and stall_s is not None:
            _look_for_stuck(actors, pending, last_seen, doing, stall_s)
    return results


def _look_for_stuck(actors, pending, last_seen, doing: str, stall_s: float) -> None:
    waiting = sorted(pending.values())
    polls = {actors[i][1].progress.remote(): i for i in waiting}
    answered, _ = ray.wait(list(polls), num_returns=len(polls), timeout=POLL_S)
    now = time.monotonic()
    for ref in answered:
        i = polls[ref]
        try:
            value = ray.get(ref, timeout=POLL_S)
        except RayActorError as error:
            raise ActorFault(actors[i][0], doing, f"died: {_first_line(error)}") from error
        if value != last_seen[i][0]:
            last_seen[i] = (value, now)
    # The partners of a stuck rank stand still too, so the one silent for longest is named first.
    silent = sorted((last_seen[i][1], i) for i in waiting if now - last_seen[i][1] > stall_s)
    if silent:
        names = ", ".join(actors[i][0] for _, i in silent)
        raise ActorFault(names, doing, f"no progress for {stall_s:.0f} s (stuck)")


@contextmanager
def alive(worker: Any, is_stranded: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Lets `worker.progress` grow for as long as this process runs, around work that has no steps to count and takes its time.

    is_stranded: whether it waits for something that will never come; then it stops looking alive.
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
    """A method of an actor that holds an engine, and can tell by `lost_a_worker()` that the engine lost a part of itself.

    Such an engine cannot go on: its process ends, and it is found and replaced as any dead one, instead of answering with whatever vLLM raised.
    """

    @functools.wraps(method)
    def checked(self: Any, *args: Any) -> Any:
        try:
            return method(self, *args)
        finally:
            if self.lost_a_worker():
                exit_actor()

    return checked


def kill(actor: Any, pid: int = 0, node: str = "") -> None:
    """Ends an actor for good. A stopped process does not hear Ray, so where pid and node are known it gets the signal itself if it stays."""
    if not ray.is_initialized():
        return
    ray.kill(actor, no_restart=True)
    if not pid:
        return
    if node == ray.get_runtime_context().get_node_id():
        _end(pid)
        return
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    ref = ray.remote(_end).options(num_cpus=0, scheduling_strategy=there).remote(pid)
    ray.wait([ref], timeout=KILL_S)  # fails if the node is gone too, which is as good


def _end(pid: int) -> None:
    """Kills the process unless Ray does so within a moment: of one that it did not end itself Ray complains in the user's terminal."""
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
