"""The pool's end of a worker: one process, its socket, and the items it was given and has not answered."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection

from explore_rl.types import Problem, Verdict
from explore_rl.verifiers.worker import Mark, Setup

SEND_LIMIT_S = 30  # for a worker that waits for work to take it off the socket


@dataclass(frozen=True)
class Item:
    """One completion to verify against its problem.

    problem: what was asked.
    completion: its text.
    truncated: whether it was cut off at its limit of tokens.
    verifier: in place of the problem's own; None: that one.
    """

    problem: Problem
    completion: str
    truncated: bool = False
    verifier: str | None = None

    @property
    def verifier_name(self) -> str:
        return self.verifier or self.problem.verifier


@dataclass
class Call:
    """One call of `verify`.

    finished: its tickets are finished under this condition.
    cancelled: nobody waits for it any more.
    problem: the last one packed.
    packed: that problem as bytes, for its other completions.
    """

    finished: threading.Condition = field(default_factory=threading.Condition)
    cancelled: bool = False
    problem: Problem | None = None  # the last one packed
    packed: bytes = b""


class Ticket:
    """An item under way. Packed in the caller's thread, so that one that cannot be is the caller's error."""

    __slots__ = ("attempts", "call", "name", "packed", "verdict")

    def __init__(self, item: Item, call: Call):
        if (
            item.problem is not call.problem
        ):  # the samples of a group share one; traces can be long, and no verifier needs them
            call.problem, call.packed = (
                item.problem,
                pickle.dumps(replace(item.problem, traces=()), pickle.HIGHEST_PROTOCOL),
            )
        self.attempts = 0  # workers that died before they began it, as the first of their items
        self.call = call
        self.name = item.verifier_name
        self.packed = (item.completion, call.packed, item.truncated)
        self.verdict: Verdict | None = None


# The worker finds modules where we do. Not by PYTHONPATH: what a verifier starts would inherit it.
_START = "import sys; sys.path[:] = {path!r}; from explore_rl.verifiers.worker import main; main()"


class Worker:
    """One process, its socket, and the items it was given and has not answered. since: when it last gave or got a
    message (time.monotonic())."""

    def __init__(self, setup: Setup):
        ours, theirs = socket.socketpair()
        for end in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):  # a stopped worker must not stop us
            ours.setsockopt(socket.SOL_SOCKET, end, struct.pack("ll", SEND_LIMIT_S, 0))
        # in memory: a page of a file on a full disk would kill whoever writes to it
        with (
            open(os.memfd_create("mark"), "wb+") if hasattr(os, "memfd_create") else tempfile.TemporaryFile() as shared
        ):
            shared.truncate(Mark.SIZE)
            self.mark = Mark(shared.fileno())
            self.process = self._start(theirs.fileno(), shared.fileno())
        theirs.close()
        self.connection = Connection(ours.detach())
        self.tickets: deque[Ticket] = deque()
        self.finished = 0
        self.since = time.monotonic()
        self.base_size = 0.0
        self.ready = self.slow = self.retiring = False
        self.connection.send(setup)

    def _start(self, *fds: int) -> subprocess.Popen:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"}
        return subprocess.Popen(
            [sys.executable, "-c", _START.format(path=sys.path), *map(str, fds)],
            stdin=subprocess.DEVNULL,
            stdout=sys.__stderr__
            if sys.__stderr__ is not None
            else subprocess.DEVNULL,  # a plug-in that prints must not spoil our output
            env=environment,
            pass_fds=fds,
            start_new_session=True,  # its process group is killed with it, and Ctrl-C is ours alone
        )

    def position(self) -> tuple[int | None, float]:
        """Which of its tickets it is at, and since when; None between items. Those before it are done, their verdicts
        not yet sent."""
        begun, started = self.mark.read()
        at = begun - self.finished - 1
        return (at, started) if 0 <= at < len(self.tickets) else (None, started)

    def give(self, chunk: list[Ticket]) -> bool:
        """False if the worker does not take it."""
        self.tickets.extend(chunk)
        self.since = time.monotonic()
        self.slow = False
        try:
            self.connection.send([(ticket.name, *ticket.packed) for ticket in chunk])
        except OSError:
            return False
        return True

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.connection.close()
        self.mark.close()


def resident_mb(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE_MB
    except (OSError, IndexError):  # ended, or no /proc: then the address space limit alone holds
        return 0.0


_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def how_it_ended(code: int | None) -> str:
    if code is None:
        return "closed its socket"
    if code >= 0:
        return f"exited with code {code}"
    return f"was killed by {signal.Signals(-code).name}"
