"""What one program may use, and the ways in which it can end other than with a result."""

from __future__ import annotations

from dataclasses import dataclass


class SandboxFault(RuntimeError):
    """The sandbox itself did not work; says nothing about the program."""


class Starved(RuntimeError):
    """The wall-clock limit passed while the program waited for a processor: the machine was too busy to judge it."""


class ProgramEnded(Exception):
    """The program ended, was ended at a limit, or broke the protocol, before it had answered. Evidence about the
    program."""


class ProgramRaised(Exception):
    """The program's function raised. `kind`: the nearest built-in exception type."""

    def __init__(self, kind: str, own: str, message: str):
        super().__init__(f"{own}: {message}" if message else own)
        self.kind = kind


class NotPlainResult(Exception):
    """The program returned something that is not plain data; the message is its type."""


@dataclass(frozen=True)
class SandboxLimits:
    """What one program may use.

    cpu_s: processor seconds of each process.
    wall_s: seconds from the start; None: 3 x cpu_s + 10.
    memory_mb: address space of each process, MiB.
    processes: how many it may start beside itself (needs namespaces).
    threads: how many it may start beside those.
    files: open at a time.
    output_mb: of standard output and error together, and of any one result.
    scratch_mb: size of its own /tmp, which is all it can write.
    """

    cpu_s: float = 10.0
    wall_s: float | None = None
    memory_mb: int = 1024
    processes: int = 0
    threads: int = 32
    files: int = 64
    output_mb: int = 16
    scratch_mb: int = 64

    @property
    def wall(self) -> float:
        return 3 * self.cpu_s + 10 if self.wall_s is None else self.wall_s
