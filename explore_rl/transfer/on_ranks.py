"""What runs in every rank when weights are sent. vLLM is imported where it is used, not when this file is."""

from __future__ import annotations

from typing import Any

from explore_rl.cluster.faults import ActorFault, alive
from explore_rl.learner import device
from explore_rl.transfer.endpoints import Endpoints, Sent


def send_from_rank(rank: Any, endpoints: Endpoints, version: int) -> Sent:
    """Runs on every rank, in lockstep.

    rank: a LearnerRank; rank 0 sends. The connection is kept on it as `transfer`.
    """
    with alive(rank, lambda: _is_stranded(rank)):
        from explore_rl.transfer.sender import Connection  # imports vLLM

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
            device.release_unused_memory(rank.config, rank.kind)  # the engines wake up for good next
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
        import explore_rl.transfer.sender  # noqa: F401


def _is_stranded(rank: Any) -> bool:
    """Whether it waits in NCCL for an engine that is gone, which is for ever. Other engines that do not answer are found by rank 0's client,
    and ranks that stand still by the timeout of their process group.
    """
    connection = getattr(rank, "transfer", None)
    return connection is not None and connection.stranded
