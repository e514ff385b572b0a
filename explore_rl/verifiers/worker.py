"""The process that runs verifiers for the pool. Started clean: it shares no memory with its parent and imports only what its verifiers need.

    main() with the number of an open socket as the first argument

The parent sends a Setup, then lists of (verifier name, pickled (completion, problem, truncated)), until it closes the socket. The worker
answers with tuples, whose last entry is always time.monotonic() when they were sent:

    ("made", name, t)        a verifier was made; time spent on that is not the item's
    ("ready", t)             all verifiers of the Setup are made
    ("verdict", verdict, t)  of the next item, in order
    ("retire", t)            the process ends here; the rest of its items are to be given to others
    ("broken", reason, t)    a verifier could not be made
"""

from __future__ import annotations

import ctypes
import math
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
from explore_rl.verifiers.base import Limits, failed, limits_of, make_verifier

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@dataclass(frozen=True)
class Setup:
    """options: verifier name -> its options. preload: names to make at once. limits: what one item may use where its verifier does not say.

    parent: process id of the one who sends this.
    """

    options: dict
    preload: list[str]
    limits: Limits
    parent: int


def die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process when the thread that started it ends (Linux; elsewhere the closed socket ends an idle worker)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)


def limit_resources(limits: Limits) -> None:
    """Processor time from now on, and a backstop for memory: the parent watches the resident size, this stops one huge allocation."""
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


def serve(connection: Connection) -> None:
    global _BASE_SIZE
    setup: Setup = connection.recv()
    die_with_parent(setup.parent)
    verifiers = {}

    def made(name: str):
        if name not in verifiers:
            _set_soft(resource.RLIMIT_CPU, resource.RLIM_INFINITY)
            verifiers[name] = make_verifier(name, setup.options.get(name))
            connection.send(("made", name, time.monotonic()))
        return verifiers[name]

    try:
        for name in setup.preload:
            made(name)
    except InputError as error:
        connection.send(("broken", str(error), time.monotonic()))
        return
    _BASE_SIZE = _address_space()
    connection.send(("ready", time.monotonic()))
    while True:
        for name, packed in connection.recv():
            try:
                verifier = made(name)
            except InputError as error:
                connection.send(("broken", str(error), time.monotonic()))
                return
            limit_resources(limits_of(verifier, setup.limits))
            out_of_memory = False
            try:
                completion, problem, truncated = pickle.loads(packed)
                verdict = verifier(completion, problem, truncated=truncated)
                if not isinstance(verdict, Verdict):
                    verdict = failed(f"verifier {name!r} returned {type(verdict).__name__}, not a Verdict")
            except MemoryError:
                out_of_memory = True
                verdict = failed("out of memory")
            except Exception as error:  # whatever a verifier raises is a verdict of its own: an error, never a wrong answer
                verdict = failed(f"{type(error).__name__}: {error}"[:500])
            connection.send(("verdict", verdict, time.monotonic()))
            if out_of_memory:
                connection.send(("retire", time.monotonic()))
                return


def main() -> None:
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    connection = Connection(fd)
    try:
        serve(connection)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the parent has gone
        pass

