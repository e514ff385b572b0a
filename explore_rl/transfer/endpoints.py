"""What the two sides of a transfer say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from explore_rl.cluster.faults import ActorFault


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """The engines' side of a connection.

    backend: which of vLLM's weight-transfer API: "nccl", "ipc" or "object_store".
    engines: (name, handle) of every policy engine.
    membership: which engines there are (`Engines.membership`); with another one the connection has to be made anew.
    workers: engines x tensor parallel size.
    load_threads: CPU threads an engine may load with. The ranks are idle then, so it also borrows its share of theirs.
    start_timeout_s, step_timeout_s, stall_timeout_s: as in `devices`.
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
    """What a rank says after a send.

    gather_s: seconds in which shards were made whole.
    fault: an engine's; the rank itself is well.
    """

    gather_s: float
    fault: ActorFault | None = None
