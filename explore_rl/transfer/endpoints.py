"""What the two sides of a transfer say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from explore_rl.cluster.faults import ActorFault


@dataclass(frozen=True)
class Endpoints:
    """The engines' side of a connection. membership: of which state of the group; workers: engines x tensor parallel size.

    load_threads: CPU threads with which an engine loads: its own, and its part of those of the ranks, which wait meanwhile.
    """

    backend: str
    engines: list[tuple[str, Any]]
    membership: int
    workers: int
    load_threads: int
    start_timeout_s: float
    step_timeout_s: float
    stall_timeout_s: float


@dataclass(frozen=True)
class Sent:
    """What a rank says after a send. gather_s: seconds in which shards were made whole. fault: of an engine; the rank itself is well."""

    gather_s: float
    fault: ActorFault | None = None
