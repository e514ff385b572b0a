"""vLLM's weight-transfer backends, as a rank needs them: NCCL, CUDA IPC, and the project's own over Ray's object store."""

from __future__ import annotations

import math
from typing import Any

from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

from explore_rl.rollout.vllm_compat import TrainerInitInfo, TrainerWeightTransferEngine, WeightSource, register_transfer
from explore_rl.transfer.object_store import ObjectStoreTrainerInfo

PACK_BYTES = 256 * 2**20  # parameters that travel together between GPUs; each side holds that much beside the model


def trainer_half(
    backend: str,
    rank: int,
    client: Any,
    source: WeightSource,
    rendezvous: tuple[str, int],
    workers: int,
    load_threads: int,
) -> TrainerWeightTransferEngine:
    """The trainer's half of `backend`, after its handshake with the engines behind `client`. Called on every rank, in lockstep.

    rendezvous: address and port that rank 0 opens for NCCL; workers: engine workers that join it (engines x tensor parallel size);
    load_threads: CPU threads with which an engine may load (object_store only).
    """
    register_transfer()
    if backend == "nccl":
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        address, port = rendezvous
        info: TrainerInitInfo = NCCLTrainerInitInfo(
            master_address=address,
            master_port=port,
            world_size=1 + workers,
            packed_buffer_size_bytes=PACK_BYTES,
            rank=rank,
        )
    elif backend == "ipc":
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        # Over IPC a parameter has to fit the buffer whole; the embedding of a 7B model alone is larger than vLLM's default.
        largest = max(math.prod(p.shape) * p.dtype.itemsize for p in source.metadata())
        info = IPCTrainerInitInfo(packed=True, packed_buffer_size_bytes=max(PACK_BYTES, largest), rank=rank)
    else:
        info = ObjectStoreTrainerInfo(load_threads, rank=rank)
    return WeightTransferTrainerFactory.trainer_init(info, client=client, source=source)
