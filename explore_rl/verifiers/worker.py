"""The process that runs verifiers for the pool. Started clean: it shares nothing with its parent but a socket and two
numbers, and imports only what its verifiers need.

    main() with the numbers of an open socket and of an open file for the Mark as arguments

The parent sends a Setup, then lists of (verifier name, completion, pickled problem, truncated), until it closes the
socket. The worker answers with

    ("ready",)           all verifiers of the Setup are made
    ("verdicts", [...])  of the next items, in order; cheap ones several at a time
    ("retire",)          the process ends here; the rest of its items are to be given to others
    ("broken", reason)   a verifier could not be made
"""

from __future__ import annotations

import ctypes
import gc
import math
import mmap
import os
import pickle
import resource
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from analysis.errors import InputError
from explore_rl.types import Verdict
from explore_rl.verifiers.base import Limits, Verifier, failed, limits_of, make_verifier

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
FLUSH_S = 0.005  # verdicts are held back for so long, to send several at once


class Mark:
    """Memory that worker and parent share: how many items the worker has begun, and when it began the last
    (time.monotonic()).

    So the parent knows, at any moment and without a message, which item a worker is at and for how long.
    """

    SIZE = 16

    def __init__(self, fd: int):
        self._memory = mmap.mmap(fd, self.SIZE)
        self._whole = memoryview(self._memory)
        # Written through these in one piece; struct.pack_into blanks the place first, and the parent could see it
        # blank.
        self._begun, self._started = self._whole[:8].cast("q"), self._whole[8:].cast("d")

    def begin(self) -> None:
        self._started[0] = time.monotonic()  # first, or a new item might be taken for one that has run for long
        self._begun[0] += 1

    def read(self) -> tuple[int, float]:
        begun = self._begun[0]
        return begun, self._started[0]

    def close(self) -> None:
        for view in (self._begun, self._started, self._whole):
            view.release()
        self._memory.close()


@dataclass(frozen=True)
class Setup:
    """What a worker is told before its first item.

    options: verifier name -> its options.
    preload: names to make at once.
    limits: what one item may use where its verifier does not say.
    parent: process id of the one who sends this.
    """

    options: dict
    preload: list[str]
    limits: Limits
    parent: int


def die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process when the thread that started it ends (Linux; elsewhere the closed socket
    ends an idle worker)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)


def limit_resources(limits: Limits) -> None:
    """Processor time from now on, and a backstop for memory: the parent watches the resident size, this stops one huge
    allocation."""
    if limits.cpu_s is not None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        _set_soft(resource.RLIMIT_CPU, math.ceil(usage.ru_utime + usage.ru_stime + limits.cpu_s))
    else:
        _set_soft(resource.RLIMIT_CPU, resource.RLIM_INFINITY)
    _set_soft(resource.RLIMIT_AS, _BASE_SIZE + 2 * limits.memory_mb * 2**20)


def _set_soft(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY and (value == resource.RLIM_INFINITY or value > hard):
        value = hard
    resource.setrlimit(which, (value, hard))


def _address_space() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # no /proc: be generous
        return 4 * 2**30


_BASE_SIZE = _address_space()


def serve(connection: Connection, mark: Mark) -> None:
    global _BASE_SIZE
    setup: Setup = connection.recv()
    die_with_parent(setup.parent)
    verifiers = {}
    verdicts = []
    flushed = time.monotonic()
    in_force = None

    def flush() -> None:
        nonlocal flushed
        if verdicts:
            connection.send(("verdicts", verdicts))
            verdicts.clear()
        flushed = time.monotonic()

    def make(name: str) -> None:
        verifiers[name] = make_verifier(name, setup.options.get(name))
        gc.collect()
        gc.freeze()  # what was imported stays: the collector need not look at it again and again

    try:
        for name in setup.preload:
            make(name)
        _BASE_SIZE = _address_space()
        connection.send(("ready",))
        while True:
            for name, completion, problem, truncated in connection.recv():
                # a verifier that nobody announced is made first, outside the limits of an item
                if name not in verifiers:
                    _set_soft(resource.RLIMIT_CPU, resource.RLIM_INFINITY)
                    make(name)
                    in_force = None
                # a limit on processor time counts from here, so it is set anew for each item
                limits = limits_of(verifiers[name], setup.limits)
                if limits is not in_force or limits.cpu_s is not None:
                    limit_resources(limits)
                    in_force = limits
                # the pool watches the clock from the mark on
                mark.begin()
                verdict, out_of_memory = _judge(name, verifiers[name], item=(completion, problem, truncated))
                verdicts.append(verdict)
                # what ran out of memory may have left anything behind: another worker goes on
                if out_of_memory:
                    flush()
                    connection.send(("retire",))
                    return
                if time.monotonic() - flushed > FLUSH_S:
                    flush()
            flush()
    except InputError as error:
        flush()
        connection.send(("broken", str(error)))


def _judge(name: str, verifier: Verifier, *, item: tuple[str, bytes, bool]) -> tuple[Verdict, bool]:
    """The verdict, and whether memory ran out."""
    completion, problem, truncated = item
    try:
        verdict = verifier(completion, pickle.loads(problem), truncated=truncated)
    except MemoryError:
        return failed("out of memory"), True
    except Exception as error:  # whatever a verifier raises is a verdict of its own: an error, never a wrong answer
        return failed(f"{type(error).__name__}: {error}"[:500]), False
    if not isinstance(verdict, Verdict):
        return failed(f"verifier {name!r} returned {type(verdict).__name__}, not a Verdict"), False
    return verdict, False


def main() -> None:
    socket_fd, mark_fd = map(int, sys.argv[1:3])
    os.set_inheritable(socket_fd, False)
    mark = Mark(mark_fd)
    os.close(mark_fd)
    try:
        serve(Connection(socket_fd), mark)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the parent has gone
        pass
