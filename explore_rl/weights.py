"""Weights from the learner to the rollout engines, over vLLM's weight-transfer API.

    rank 0..n of the learner                                     every engine
    LearnerSource -> trainer half (nccl | ipc | object_store)  -> worker half -> model.load_weights, layer by layer

The ranks' side is weight_sender.py. NCCL serves GPUs that are apart, CUDA IPC shared GPUs, and the project's own
backend (rollout/object_store_transfer.py) machines without GPUs.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from explore_rl import devices
from explore_rl.faults import ActorFault, alive

if TYPE_CHECKING:
    from explore_rl.learner.group import LearnerGroup
    from explore_rl.rollout.group import RolloutGroup

log = logging.getLogger(__name__)

RETRIES = 2  # how often weights are sent again after an engine had to be replaced


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


class WeightSync:
    """Sends the learner's weights to all policy engines."""

    def __init__(self, learner: LearnerGroup, rollouts: RolloutGroup):
        self.learner, self.rollouts = learner, rollouts

    def send(self, version: int) -> dict[str, float]:
        """Every policy engine draws from the learner's present weights when this returns, and stamps rollouts with `version`.

        Returns seconds: gather_s (ZeRO-3 shards made whole), transfer_s (everything else). An engine that dies or gets stuck meanwhile is
        replaced and all are sent to again; raises ActorFault if that fails RETRIES times, or if a rank fails.
        """
        began = time.perf_counter()
        if self.rollouts.layout.transfer != "object_store":
            self.rollouts.restart_dead()  # NCCL would wait for a lost engine for ever; the object store finds it on the way
        for retry in range(RETRIES + 1):
            self.rollouts.wake(["weights"])
            try:
                answers = self.learner.apply(send_from_rank, self._endpoints(), version)
            except ActorFault as fault:  # the learner is lost; say so if it was an engine that left it waiting
                if silent := self.rollouts.silent():
                    raise ActorFault(", ".join(silent), "load new weights", f"no answer, and so {fault}") from fault
                raise
            fault = next((a.fault for a in answers if a.fault is not None), None)
            if fault is None:
                break
            if retry == RETRIES or not self.rollouts.restart_dead():
                raise fault
            log.warning("%s; the weights are sent again", fault)
        self.rollouts.weights_arrived()
        gather_s = max(a.gather_s for a in answers)
        return {"gather_s": gather_s, "transfer_s": time.perf_counter() - began - gather_s}

    def _endpoints(self) -> Endpoints:
        config, policy = self.rollouts.config, [(e.name, e.handle) for e in self.rollouts.families["policy"]]
        waits = config.devices
        threads = config.rollout.threads + config.learner.ranks * config.learner.threads // len(policy)
        return Endpoints(
            self.rollouts.layout.transfer, policy, self.rollouts.membership, len(policy) * config.rollout.tensor_parallel, threads,
            waits.start_timeout_s, waits.step_timeout_s, waits.stall_timeout_s,
        )  # fmt: skip


# --- in the ranks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """What a rank says after a send. gather_s: seconds in which shards were made whole. fault: of an engine; the rank itself is well."""

    gather_s: float
    fault: ActorFault | None = None


def send_from_rank(rank: Any, endpoints: Endpoints, version: int) -> Sent:
    """Runs on every rank, in lockstep.

    rank: a LearnerRank; rank 0 sends. The connection is kept on it as `transfer`.
    """
    with alive(rank, lambda: _is_stranded(rank)):
        from explore_rl.weight_sender import Connection  # imports vLLM

        connection = getattr(rank, "transfer", None)
        try:
            if connection is None or connection.endpoints.membership != endpoints.membership:
                if connection is not None:
                    connection.close()
                rank.transfer = None
                try:
                    connection = rank.transfer = Connection(rank, endpoints)
                finally:
                    all_connected = _agreed(rank.transfer is not None)
                if not all_connected:  # rank 0 could not; the others would wait for it in the first gathering of shards
                    rank.transfer = None
                    return Sent(0.0)
            sent = Sent(connection.send(version))
            devices.release_unused_memory(rank.config, rank.kind)  # the engines wake up for good next
            return sent
        except ActorFault as fault:
            return Sent(0.0, fault)


def _agreed(mine: bool) -> bool:
    """Whether every rank says so."""
    import torch
    import torch.distributed as dist

    if not dist.is_initialized() or dist.get_world_size() == 1:
        return mine
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    said = torch.tensor(int(mine), dtype=torch.int32, device=device)
    dist.all_reduce(said, dist.ReduceOp.MIN)
    return bool(said.item())


def import_sender(rank: Any) -> None:
    """Runs on every rank: the import that sending needs, ahead of the first send."""
    with alive(rank):
        import explore_rl.weight_sender  # noqa: F401


def _is_stranded(rank: Any) -> bool:
    """Whether it waits in NCCL for an engine that is gone, which is for ever. Other engines that do not answer are found by rank 0's client,
    and ranks that stand still by the timeout of their process group.
    """
    connection = getattr(rank, "transfer", None)
    return connection is not None and connection.stranded
