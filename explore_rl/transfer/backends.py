"""vLLM's weight-transfer backends as a rank needs them: NCCL, CUDA IPC, and the project's own over the object store."""

from __future__ import annotations

import math
from typing import Any

from explore_rl.transfer.endpoints import Endpoints
from explore_rl.transfer.on_store_ranks import ObjectStoreTrainer

PACK_BYTES = 256 * 2**20  # parameters that travel together between GPUs; each side holds that much beside the model


def trainer_half(endpoints: Endpoints, rank: int, *, client: Any, source: Any, rendezvous: tuple[str, int]) -> Any:
    """The trainer's half of a backend, after its handshake with the engines. Called on every rank, in lockstep.

    vLLM is imported for its own backends alone.

    endpoints: the engines' side, which names the backend.
    rank: this rank's number.
    client: through which vLLM speaks to the engines.
    source: gives the weights, as vLLM's `WeightSource`.
    rendezvous: address and port that rank 0 opens for NCCL, and that all workers of the engines join.
    """
    if endpoints.backend == "object_store":
        return ObjectStoreTrainer(
            client=client, source=source, is_sender=rank == 0, load_threads=endpoints.load_threads
        )
    from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

    info: Any
    if endpoints.backend == "nccl":
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        address, port = rendezvous
        info = NCCLTrainerInitInfo(
            master_address=address,
            master_port=port,
            world_size=1 + endpoints.workers,  # rank 0 alone sends
            packed_buffer_size_bytes=PACK_BYTES,
            rank=rank,
        )
    else:
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        # Over IPC a parameter has to fit the buffer whole. The embedding of a 7B model alone is larger than vLLM's
        # default.
        largest = max(math.prod(p.shape) * p.dtype.itemsize for p in source.metadata())
        info = IPCTrainerInitInfo(packed=True, packed_buffer_size_bytes=max(PACK_BYTES, largest), rank=rank)
    return WeightTransferTrainerFactory.trainer_init(info, client=client, source=source)
