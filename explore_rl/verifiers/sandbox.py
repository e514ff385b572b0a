"""Runs a program that nobody trusts, in a process of its own, and gets plain data back. The far side is
`sandbox_child.py`.

    with Program(text, "calls", SandboxLimits(), isolation()) as program:
        program.call("add", (1, 2))         # 3, computed over there

`sandbox_script.py` runs a main program in it.

What the kernel of this machine gives is tried once a process (`isolation`), logged, and then demanded of every program:
a sandbox that comes out weaker than announced is a fault, not a verdict.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import math
import os
import selectors
import signal
import struct
import subprocess
import sys
import sysconfig
import time
from dataclasses import asdict, dataclass
from typing import Any

from explore_rl.verifiers.code_prelude import DEFAULT, Interpreter
from explore_rl.verifiers.sandbox_host import oom_kills, runqueue_wait
from explore_rl.verifiers.sandbox_limits import (
    NotPlainResult,
    ProgramEnded,
    ProgramRaised,
    SandboxFault,
    SandboxLimits,
    Starved,
)
from explore_rl.verifiers.sandbox_wire import pack, unpack
from explore_rl.verifiers.seccomp import seccomp_filter

log = logging.getLogger(__name__)


# --- what the machine gives ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Isolation:
    """What this machine has to hold a program in.

    namespaces: mounts, processes and network of its own.
    seccomp: a filter of system calls.
    landlock: a limit on what can be read and written.
    missing: why one of these is False, a line each.
    """

    namespaces: bool
    seccomp: bool
    landlock: bool
    missing: tuple[str, ...] = ()

    @property
    def strong(self) -> bool:
        """The program cannot read or write the machine's files, reach a network, or touch or outlive the verifier."""
        return self.namespaces or (self.seccomp and self.landlock)

    def describe(self) -> str:
        """One line for a log."""
        parts = ["limits on processor time, memory, open files and output"]
        if self.namespaces:
            user = "a user of its own" if os.geteuid() == 0 else "a user namespace"
            parts.append(
                f"namespaces (processes, files, network, IPC, host name) under {user}, with a private root and a "
                f"bounded /tmp"
            )
        elif self.landlock:
            parts.append("Landlock (reads the Python installation alone, writes nothing)")
        if self.seccomp:
            parts.append("a seccomp filter")
        text = "in force: " + "; ".join(parts)
        return f"{text}. not in force: {'; '.join(self.missing)}" if self.missing else text


@functools.cache
def isolation() -> Isolation:
    """Tries each means once (about 0.2 s), logs what is in force, and remembers it for this process."""
    missing = []
    seccomp = namespaces = landlock = True
    try:
        seccomp_filter(0, confined=False)
    except (ImportError, RuntimeError, OSError) as error:
        seccomp = False
        missing.append(f"seccomp ({error})")
    if reason := _probe(Isolation(namespaces=True, seccomp=False, landlock=False)):
        namespaces = False
        missing.append(f"namespaces ({reason})")
    if reason := _probe(Isolation(namespaces=False, seccomp=False, landlock=True)):
        landlock = False
        missing.append(f"Landlock ({reason})")
    elif namespaces:
        landlock = False  # not needed beside a private root
    found = Isolation(namespaces, seccomp, landlock, tuple(missing))
    log.log(logging.INFO if found.strong else logging.WARNING, "code sandbox %s", found.describe())
    return found


def describe() -> str:
    """What is in force on this machine, in a line."""
    return isolation().describe()


def _probe(wanted: Isolation) -> str:
    """Why a program cannot be held in this way; empty if it can."""
    try:
        with Program("", "probe", limits=SandboxLimits(), held_by=wanted):
            return ""
    except SandboxFault as error:
        return str(error)


@functools.cache
def readable_paths() -> tuple[str, ...]:
    """The folders of the Python installation, its packages and the system's libraries: all that a program can read."""
    names = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    names += [os.path.join(sys.base_prefix, "lib"), "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo"]
    paths = sorted(
        {path for name in names for path in (os.path.abspath(name), os.path.realpath(name)) if os.path.isdir(path)}
    )
    return tuple(p for p in paths if not any(p != q and p.startswith(q + "/") for q in paths))


# --- one program -----------------------------------------------------------------------------------------------------

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/tmp", "TMPDIR": "/tmp", "PYTHONHASHSEED": "0"}
ENVIRONMENT |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sandbox_child.py")
NEVER_STARTED = "the sandbox did not start"
EXIT_S = 5.0  # for a process that has been told to end, or seems to have ended


class Program:
    """A program in its sandbox, started on entry and ended, with all it started, on exit.

    text: the program.
    mode: "calls" (define the program, then answer `call`), "script" (run it as a main program; see `run_script`) or
        "probe".
    limits: what it may use.
    held_by: what holds it in, of what this machine has.
    interpreter: which Python runs it.
    Raises SandboxFault when the sandbox cannot be set up.
    """

    def __init__(
        self, text: str, mode: str, *, limits: SandboxLimits, held_by: Isolation, interpreter: Interpreter = DEFAULT
    ):
        self.text, self.mode, self.limits, self.held_by = text, mode, limits, held_by
        self.interpreter = interpreter
        self.cpu_s = 0.0  # used by all its processes, known when it has ended
        self._calls = 0
        self._buffer = bytearray()

    def __enter__(self) -> Program:
        limits = self.limits
        if limits.processes and not self.held_by.namespaces:
            raise SandboxFault("processes > 0 needs namespaces, which this machine does not give")
        self.deadline = time.monotonic() + limits.wall
        self._oom_kills = oom_kills()
        # one pipe a direction; a script also has its three streams
        there_read, self._to = os.pipe()
        self._from, there_write = os.pipe()
        stream = subprocess.PIPE if self.mode == "script" else subprocess.DEVNULL
        command = [
            sys.executable,
            "-S",
            "-s",
            "-P",
            "-B",
            "-X",
            "utf8",
            CHILD,
            str(there_read),
            str(there_write),
        ]
        try:
            self.process = subprocess.Popen(
                command,
                env=ENVIRONMENT,
                cwd="/",
                pass_fds=(there_read, there_write),
                stdin=stream,
                stdout=stream,
                stderr=stream,
                bufsize=0,
            )
        except OSError as error:
            os.close(self._to)
            os.close(self._from)
            raise SandboxFault(f"{NEVER_STARTED}: {error}") from error
        finally:
            os.close(there_read)
            os.close(there_write)
        # the far side shuts itself in, and says so before it looks at the program
        os.set_blocking(self._to, False)
        try:
            self._send(self._setup())
            started = self._receive()
            if "failed" in started:
                raise SandboxFault(started["failed"])
            if started != {"ready": True}:
                raise SandboxFault(NEVER_STARTED)
        except ProgramEnded as error:
            self._end()
            raise SandboxFault(f"{NEVER_STARTED}: {error}") from error
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _setup(self) -> dict:
        held_by = self.held_by
        limits = self.limits
        code = seccomp_filter(limits.processes, held_by.namespaces) if held_by.seccomp else b""
        return {
            "parent": os.getpid(),
            "mode": self.mode,
            "text": self.text,
            "interpreter": asdict(self.interpreter),
            "namespaces": held_by.namespaces,
            "landlock": held_by.landlock,
            "seccomp": base64.b64encode(code).decode(),
            # a user id that nobody else has, so that its processes are counted, and can be signalled, apart from all
            # others
            "user": (1 << 30) + self.process.pid if held_by.namespaces and os.geteuid() == 0 else None,
            "readable": readable_paths(),
            "path": list(dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))),
            "cpu_s": max(1, math.ceil(limits.cpu_s)),
            **{name: getattr(limits, name) for name in ("memory_mb", "processes", "threads", "files", "scratch_mb")},
        }

    def define(self) -> None:
        """Waits until the program's text has run. Raises ProgramRaised, ProgramEnded or Starved."""
        if self._receive() != {"defined": True}:
            raise self._broken()

    def call(self, name: str, args: tuple = (), kwargs: dict | None = None) -> Any:
        """What the program's function of this name gives; lists, dicts and sets among `args` change in place as the
        program changed them.

        Raises NotPlain (an argument cannot travel), ProgramRaised, NotPlainResult, ProgramEnded or Starved.
        """
        self._calls += 1
        self._send(
            {
                "id": self._calls,
                "name": name,
                "args": pack(tuple(args)),
                "kwargs": {k: pack(v) for k, v in (kwargs or {}).items()},
            }
        )
        reply = self._receive()
        if reply.get("id") != self._calls:
            raise self._broken()
        if type(reply.get("not_plain")) is str:
            raise NotPlainResult(reply["not_plain"][:200])
        try:
            value = unpack(reply["value"])
            changed = {int(k): unpack(v) for k, v in reply["changed"].items()}
        except (KeyError, ValueError, AttributeError, RecursionError) as error:
            raise self._broken() from error
        for index, now in changed.items():
            if 0 <= index < len(args):
                _replace(args[index], now)
        return value

    # --- the wire ---

    def _send(self, message: dict) -> None:
        body = json.dumps(message).encode()
        data = memoryview(struct.pack(">I", len(body)) + body)
        while data:
            self._wait(self._to, selectors.EVENT_WRITE)
            try:
                data = data[os.write(self._to, data) :]
            except BrokenPipeError:
                raise self.ended() from None

    def _receive(self) -> dict:
        """The next message. Everything in it comes from the program, so nothing about it is believed."""
        size = struct.unpack(">I", self._exactly(4))[0]
        if size > self.limits.output_mb << 20:
            raise ProgramEnded(f"output limit: a result of more than {self.limits.output_mb} MiB")
        try:
            message = json.loads(self._exactly(size))
        except (ValueError, RecursionError) as error:
            raise self._broken() from error
        if not isinstance(message, dict):
            raise self._broken()
        raised = message.get("raised")
        if isinstance(raised, list) and len(raised) == 3 and all(type(part) is str for part in raised):
            raise ProgramRaised(*(part[:300] for part in raised))
        return message

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._wait(self._from, selectors.EVENT_READ)
            part = os.read(self._from, 1 << 16)
            if not part:
                raise self.ended()
            self._buffer += part
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _wait(self, fd: int, event: int) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(fd, event)
            if not selector.select(max(0.0, self.deadline - time.monotonic())):
                raise self.out_of_time()

    def _broken(self) -> ProgramEnded:
        return ProgramEnded("the program wrote into the verifier's channel")

    # --- the end ---

    def out_of_time(self) -> Exception:
        """The wall-clock limit has passed: the program slept or waited, or the machine had no time for it."""
        waited = runqueue_wait(self.process.pid)
        self._end()
        if waited > 0.5 * (self.limits.wall - self.cpu_s):
            return Starved(f"{self.limits.wall:g} s passed, {waited:.1f} of them waiting for a processor")
        return ProgramEnded(f"time limit: {self.limits.wall:g} s passed (used {self.cpu_s:.1f} s of processor time)")

    def ended(self) -> Exception:
        """The program's process has gone, or has shut its channel: says why."""
        self.exited(EXIT_S)
        code = self._end()
        if code == 128 + signal.SIGXCPU or (code == 128 + signal.SIGKILL and self.cpu_s >= self.limits.cpu_s):
            return ProgramEnded(f"time limit: more than {self.limits.cpu_s:g} s of processor time")
        if code == 128 + signal.SIGKILL and oom_kills() > self._oom_kills:
            return SandboxFault("the machine ran out of memory and killed a process, perhaps this one")
        if code > 128:
            return ProgramEnded(f"ended by signal {code - 128}")
        return ProgramEnded(f"ended before it answered (exit code {code})")

    def exited(self, within_s: float) -> bool:
        """Waits for the program to end by itself."""
        if self.process.returncode is not None:
            return True
        pidfd = os.pidfd_open(self.process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(pidfd, selectors.EVENT_READ)
                return bool(selector.select(within_s))
        finally:
            os.close(pidfd)

    def _end(self) -> int:
        """Ends the program and all it started; waits for that. Returns the exit code."""
        if self.process.returncode is None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if not self.exited(0):
                    self.process.send_signal(number)
                    self.exited(EXIT_S)
            if not self.exited(0):
                raise SandboxFault(f"a sandbox was still there {EXIT_S:g} s after SIGKILL")
            _, status, usage = os.wait4(self.process.pid, 0)
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_s = usage.ru_utime + usage.ru_stime
            os.close(self._to)
            os.close(self._from)
            for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()
        return self.process.returncode


def _replace(old: Any, now: Any) -> None:
    """Makes a list, dict or set hold what another holds; leaves everything else alone."""
    if type(old) is list and type(now) is list:
        old[:] = now
    elif (type(old) is dict and type(now) is dict) or (type(old) is set and type(now) is set):
        old.clear()
        old.update(now)
