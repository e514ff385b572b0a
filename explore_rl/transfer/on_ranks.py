"""What runs in every rank when weights are sent. Libraries are imported where they are used, not when this file is."""

from __future__ import annotations

from typing import Any

from explore_rl.cluster.faults import ActorFault, alive
from explore_rl.learner import device
from explore_rl.transfer.endpoints import Endpoints, Sent


def send_from_rank(rank: Any, endpoints: Endpoints, version: int) -> Sent:
    """Sends the rank's weights to the engines. Runs on every rank, in lockstep; rank 0 speaks to the engines.

    rank: a LearnerRank, which keeps the connection as `transfer`.
    endpoints: the engines' side.
    version: that the weights get.
    """
    with alive(rank, lambda: _is_stranded(rank)):
        from explore_rl.transfer.sender import Connection

        connection = getattr(rank, "transfer", None)
        try:
            # A connection serves as long as the engines stay the same.
            if connection is None or connection.endpoints.membership != endpoints.membership:
                if connection is not None:
                    connection.close()
                rank.transfer = None
                try:
                    connection = rank.transfer = Connection(rank, endpoints)
                finally:
                    all_connected = _all_say(rank.transfer is not None)
                # Rank 0 could not connect: the others would wait for it in the first gathering of shards.
                if not all_connected:
                    rank.transfer = None
                    return Sent(0.0)
            sent = Sent(connection.send(version))
            device.release_unused_memory(rank.config, rank.kind)  # the engines wake up for good next
            return sent
        except ActorFault as fault:
            return Sent(0.0, fault)


def _all_say(yes: bool) -> bool:
    """Whether every rank says yes. Called on every rank."""
    import torch
    import torch.distributed as dist

    if not dist.is_initialized() or dist.get_world_size() == 1:
        return yes
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    said = torch.tensor(int(yes), dtype=torch.int32, device=device)
    dist.all_reduce(said, dist.ReduceOp.MIN)
    return bool(said.item())


def import_sender(rank: Any) -> None:
    """Runs on every rank: imports what sending needs, ahead of the first send. Between GPUs that is vLLM: seconds."""
    with alive(rank):
        import explore_rl.transfer.sender  # noqa: F401

        if rank.kind == "cuda":
            import vllm.distributed.weight_transfer.factory  # noqa: F401


def _is_stranded(rank: Any) -> bool:
    """Whether the rank waits in NCCL for an engine that is gone, which is for ever.

    Other engines that do not answer are found by rank 0's client, and ranks that stand still by the timeout of their
    process group.
    """
    connection = getattr(rank, "transfer", None)
    return connection is not None and connection.stranded
