"""Runs verifiers in processes that can be killed: limits on each item, results in order, and no item lost because of
another.

    with VerifierPool({"math": {"extract": "lenient"}}) as pool:
        for verdict in pool.verify(Item(problem, completion) for problem, completion in samples):
            ...

One thread of the pool talks to all workers; callers, of any number of threads, hand it items and wait for verdicts.
Each worker is a fresh interpreter with a socket of its own, so one that is killed in the middle of a message harms
nobody else. Items travel in chunks (a cheap verifier takes microseconds), but a few bytes of shared memory always tell
which item a worker is at, and since when: if it has to be killed, or dies, that item gets the verdict TIMEOUT or ERROR
and the rest of its chunk goes to others.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing import connection as mp_connection
from typing import Any

from explore_rl.types import Verdict
from explore_rl.verifiers.base import Limits, failed, limits_of, make_verifier, timed_out
from explore_rl.verifiers.pool_worker import Call, Item, Ticket, Worker, how_it_ended, resident_mb
from explore_rl.verifiers.worker import Setup

log = logging.getLogger(__name__)

START_LIMIT_S = 120.0  # for a worker to import and make its verifiers
START_ATTEMPTS = 3  # workers in a row that may fail to start before the pool gives up
TICK_S = 0.05  # how often limits are looked at while something runs
CHUNK_S = 0.05  # work that one message to a worker should hold
CHUNK_MAX = 64


class VerifierPoolError(RuntimeError):
    """The pool cannot go on: its workers do not start, or it was closed."""


class VerifierPool:
    """Processes that verify. The limits are for one item, where its verifier has no `limits` of its own.

    options: verifier name -> its options (as `make_verifier` takes them; checked here).
    workers: processes; None: one a core.
    time_limit_s: wall clock.
    memory_limit_mb: by how much the process may grow.
    cpu_limit_s: processor seconds; None: no limit besides the wall clock.

    Workers start with the first call and end with `close` (or the `with` block, or this process). Verdicts come in the
    order of the items. Safe to use from several threads at once. Raises InputError for unknown verifiers and options,
    VerifierPoolError if workers cannot start.
    """

    def __init__(
        self,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        workers: int | None = None,
        *,
        time_limit_s: float = Limits.time_s,
        memory_limit_mb: int = Limits.memory_mb,
        cpu_limit_s: float | None = None,
    ):
        self.workers = workers or len(os.sched_getaffinity(0))
        self._options = {name: dict(given or {}) for name, given in (options or {}).items()}
        self._default_limits = Limits(time_limit_s, cpu_limit_s, memory_limit_mb)
        self._limits: dict[
            str, Limits
        ] = {}  # of every verifier met so far; new workers make all of these when they start
        for name in self._options:
            self._check_verifier(name)
        self._window = 4 * CHUNK_MAX * self.workers  # items of one call that may be under way: back-pressure
        self._pending: deque[Ticket] = deque()
        self._crew: list[Worker] = []
        self._dead: list[subprocess.Popen] = []
        self._to_tell: dict[int, Call] = {}
        self._failed_starts = 0
        self._item_s = CHUNK_S  # running mean of the time an item takes
        self._lock = threading.Lock()
        self._wake_recv, self._wake_send = socket.socketpair()
        self._wake_send.setblocking(False)
        self._thread: threading.Thread | None = None
        self._closing = False
        self._broken: str | None = None

    # --- for callers -------------------------------------------------------------------------------------------------

    def verify(self, items: Iterable[Item]) -> Iterator[Verdict]:
        """One verdict an item, in order, as they become known. `items` is read as far ahead as the workers need, not
        further."""
        call = Call()
        window = deque()
        source = iter(items)
        take = (
            CHUNK_MAX if hasattr(items, "__len__") else 1
        )  # a generator may be slow, so it is asked for one item at a time
        try:
            while True:
                while window and window[0].verdict is not None:
                    yield window.popleft().verdict
                if len(window) < self._window and source is not None:
                    batch = [Ticket(item, call) for item in itertools.islice(source, take)]
                    if batch:
                        self._submit(batch)
                        window.extend(batch)
                        continue
                    source = None
                if not window:
                    return
                self._await(window[0])
        finally:
            call.cancelled = True  # a caller that leaves early takes its waiting items along

    def verify_all(self, items: list[Item]) -> list[Verdict]:
        return list(self.verify(items))

    def begin(self, items: list[Item]) -> Callable[[], list[Verdict]]:
        """Has the items verified beside what the caller does. What it returns waits for their verdicts, in order."""
        call = Call()
        tickets = [Ticket(item, call) for item in items]
        self._submit(tickets)

        def verdicts() -> list[Verdict]:
            for ticket in tickets:
                self._await(ticket)
            return [ticket.verdict for ticket in tickets if ticket.verdict is not None]

        return verdicts

    def close(self) -> None:
        """Ends the workers, at once. Calls still waiting get VerifierPoolError."""
        self._closing = True
        self._wake()
        if self._thread is not None:
            self._thread.join(timeout=30.0)
            if self._thread.is_alive():
                raise VerifierPoolError("the thread that talks to the verifier workers did not end within 30 s")

    def __enter__(self) -> VerifierPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_verifier(self, name: str) -> None:
        if name not in self._limits:
            self._limits[name] = limits_of(make_verifier(name, self._options.get(name)), self._default_limits)

    def _submit(self, tickets: list[Ticket]) -> None:
        for name in {ticket.name for ticket in tickets}:
            self._check_verifier(name)
        with self._lock:
            if self._closing:
                raise VerifierPoolError("the verifier pool is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="verifier-pool", daemon=True)
                self._thread.start()
            self._pending.extend(tickets)
        self._wake()

    def _await(self, ticket: Ticket) -> None:
        with ticket.call.finished:
            while ticket.verdict is None:
                if self._broken or self._thread is None or not self._thread.is_alive():
                    raise VerifierPoolError(self._broken or "the verifier pool was closed while items were waiting")
                ticket.call.finished.wait(timeout=1.0)

    def _wake(self) -> None:
        try:
            self._wake_send.send(b"x")
        except (BlockingIOError, OSError):  # it is awake already, or gone
            pass

    # --- the thread that talks to the workers ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing and not self._broken:
                self._hand_out()
                # Limits are kept by looking at the clock every tick; without work there is nothing to look at.
                busy = any(worker.tickets or not worker.ready for worker in self._crew) or self._pending
                readable = mp_connection.wait(
                    [self._wake_recv, *(w.connection for w in self._crew)], TICK_S if busy else None
                )
                if self._wake_recv in readable:
                    self._wake_recv.recv(4096)
                for worker in [w for w in self._crew if w.connection in readable]:
                    self._listen(worker)
                for worker in list(self._crew):  # a copy: one that breaks a limit leaves the crew
                    self._enforce_limits(worker)
                self._tell()
                # Asking a dead process for its status is what frees its place in the process table.
                self._dead = [process for process in self._dead if process.poll() is None]
        except BaseException as error:
            # The callers wait in other threads, and learn from this why no verdict will come.
            self._broken = f"the verifier pool failed: {type(error).__name__}: {error}"
            raise
        finally:
            if self._broken:
                log.error("%s", self._broken)
            for worker in list(self._crew):
                self._end(worker)
            for process in self._dead:
                try:
                    process.wait(timeout=5.0)
                except subprocess.TimeoutExpired:
                    log.warning("verifier worker %d does not die", process.pid)
            self._wake_recv.close()
            self._wake_send.close()

    def _hand_out(self) -> None:
        """Gives waiting items to idle workers; starts workers where there are too few that get on."""
        while self._pending and self._pending[0].call.cancelled:
            self._pending.popleft()
        getting_on = sum(not worker.slow for worker in self._crew)
        if self._pending:
            # A stuck item holds its worker until the time limit. Others take its place meanwhile, up to a bound.
            most = max(2 * self.workers, self.workers + 2)
            wanted = min(self.workers - getting_on, most - len(self._crew), len(self._pending))
            for _ in range(wanted):
                self._crew.append(Worker(Setup(self._options, list(self._limits), self._default_limits, os.getpid())))
        idle = [worker for worker in self._crew if worker.ready and not worker.tickets]
        for worker in idle[: max(0, getting_on - self.workers)]:
            self._end(worker)
        for worker in idle:
            if not self._pending or worker not in self._crew:
                continue
            size = min(CHUNK_MAX, int(CHUNK_S / max(self._item_s, 1e-6)), -(-len(self._pending) // self.workers))
            chunk = []
            while self._pending and len(chunk) < max(1, size):
                ticket = self._pending.popleft()
                if not ticket.call.cancelled:
                    chunk.append(ticket)
            if chunk and not worker.give(chunk):
                self._bury(worker)

    def _listen(self, worker: Worker) -> None:
        try:
            while worker.connection.poll():
                kind, *content = worker.connection.recv()
                now = time.monotonic()
                if kind == "verdicts":
                    self._item_s += 0.1 * ((now - worker.since) / len(content[0]) - self._item_s)
                    for verdict in content[0][
                        : len(worker.tickets)
                    ]:  # what a retiring worker does beyond these, others do too
                        self._finish(worker.tickets.popleft(), verdict)
                    worker.finished += len(content[0])
                    worker.slow = False
                elif kind == "ready":
                    worker.ready = True
                    self._failed_starts = 0
                    worker.base_size = resident_mb(worker.process.pid)
                elif kind == "broken":
                    self._broken = f"a verifier worker could not be set up: {content[0]}"
                elif kind == "retire":
                    self._give_back(worker)
                    self._end(worker)
                    return
                worker.since = now
        except (EOFError, OSError):
            self._bury(worker)
            return
        if worker.retiring and not worker.tickets:
            self._end(worker)
        elif (
            worker.ready
            and not worker.tickets
            and resident_mb(worker.process.pid) > worker.base_size + 0.5 * self._least_memory()
        ):
            self._end(worker)  # caches have grown: start afresh between items

    def _enforce_limits(self, worker: Worker) -> None:
        if worker not in self._crew:
            return
        if worker.process.poll() is not None:
            self._listen(worker) if worker.connection.poll() else self._bury(worker)
            return
        now = time.monotonic()
        at, started = worker.position()
        if not worker.ready or (worker.tickets and at is None):  # it starts, or makes a verifier
            if now - worker.since > START_LIMIT_S:
                self._bury(worker, failed(f"its worker was not ready within {START_LIMIT_S:g} s"))
            return
        if at is None or now - started < TICK_S:
            return
        limits = self._limits[worker.tickets[at].name]
        if now - started > limits.time_s:
            if not worker.connection.poll():  # or it has answered meanwhile
                self._bury(worker, timed_out(f"not done within {limits.time_s:g} s"))
        elif resident_mb(worker.process.pid) - worker.base_size > limits.memory_mb:
            self._bury(worker, failed(f"used more than {limits.memory_mb} MiB of memory"))
        elif not worker.slow and now - started > max(1.0, 0.25 * limits.time_s):
            worker.slow = True
            if len(worker.tickets) > at + 1:  # the items behind it need not wait
                worker.retiring = True
                self._give_back(worker, but=at + 1)

    def _bury(self, worker: Worker, verdict: Verdict | None = None) -> None:
        """Ends a worker that failed its present item, with this verdict; None if it died by itself, and how tells the
        verdict."""
        at, _ = worker.position()
        if verdict is None:
            try:
                code = worker.process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:  # it closed its socket but lives on
                code = None
            if code == -signal.SIGXCPU and at is not None:
                verdict = timed_out(
                    f"used more than {self._limits[worker.tickets[at].name].cpu_s:g} s of processor time"
                )
            else:
                verdict = failed(f"its worker {how_it_ended(code)}")
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= START_ATTEMPTS:
                self._broken = f"verifier workers do not start: {verdict.reason} {START_ATTEMPTS} times in a row"
        if at is None and worker.tickets:  # between items, or while it made a verifier
            worker.tickets[0].attempts += 1
            at = 0 if worker.tickets[0].attempts >= START_ATTEMPTS else None
        if at is not None:
            self._finish(worker.tickets[at], verdict)
            del worker.tickets[at]
        self._give_back(worker)  # also those that were done but whose verdicts it had not sent
        self._end(worker)

    def _give_back(self, worker: Worker, but: int = 0) -> None:
        while len(worker.tickets) > but:
            self._pending.appendleft(worker.tickets.pop())

    def _finish(self, ticket: Ticket, verdict: Verdict) -> None:
        ticket.verdict = verdict
        self._to_tell[id(ticket.call)] = ticket.call

    def _tell(self) -> None:
        """Wakes the callers whose items were finished: once for all of them, as waking costs more than the rest."""
        for call in self._to_tell.values():
            with call.finished:
                call.finished.notify_all()
        self._to_tell.clear()

    def _end(self, worker: Worker) -> None:
        self._crew.remove(worker)
        worker.kill()
        self._dead.append(worker.process)

    def _least_memory(self) -> float:
        return min(limits.memory_mb for limits in self._limits.values())
