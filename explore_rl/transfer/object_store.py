"""Weights through Ray's object store: the engine's half of a backend of vLLM's weight-transfer API.

It is for machines without GPUs, since NCCL and CUDA IPC, vLLM's own backends, do not exist on a CPU. Rank 0 puts
buckets of full tensors into the object store (`on_store_ranks`). Every engine reads them from shared memory (or over
the network, on other nodes) and loads them layer by layer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import ray
import torch

from explore_rl.rollout.vllm_compat import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
    finish_layerwise_reload,
    layerwise_reload,
)

FETCH_TIMEOUT_S = 300.0  # for a bucket to reach an engine's node


@dataclass
class ObjectStoreInitInfo(WeightTransferInitInfo):
    """No rendezvous is needed. load_threads: CPU threads to load with."""

    load_threads: int


@dataclass
class ObjectStoreUpdateInfo(WeightTransferUpdateInfo):
    """One bucket.

    names, dtype_names, shapes: its tensors', in order.
    data: one-element list with the reference to their bytes. Ray would replace a reference that stood alone by the
        bytes themselves.
    """

    names: list[str]
    dtype_names: list[str]
    shapes: list[tuple[int, ...]]
    data: list[Any]


class ObjectStoreEngine(WeightTransferEngine[ObjectStoreInitInfo, ObjectStoreUpdateInfo]):
    """The engine's half. It lives in the vLLM worker."""

    init_info_cls = ObjectStoreInitInfo
    update_info_cls = ObjectStoreUpdateInfo

    def init_transfer_engine(self, init_info: ObjectStoreInitInfo) -> None:
        self.load_threads = min(init_info.load_threads, len(os.sched_getaffinity(0)))

    def start_weight_update(self) -> None:
        layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        # The base class waits for an accelerator here. Loading from shared memory is done when this returns.
        threads = torch.get_num_threads()
        torch.set_num_threads(self.load_threads)
        try:
            self.receive_weights(self.parse_update_info(update_info))
        finally:
            torch.set_num_threads(threads)

    def receive_weights(self, update_info: ObjectStoreUpdateInfo) -> None:
        model: Any = self.model
        arrays = ray.get(update_info.data[0], timeout=FETCH_TIMEOUT_S)
        model.load_weights(
            (name, torch.from_numpy(array).view(getattr(torch, dtype)).reshape(shape))
            for name, dtype, shape, array in zip(
                update_info.names, update_info.dtype_names, update_info.shapes, arrays, strict=True
            )
        )

    def finish_weight_update(self) -> None:
        finish_layerwise_reload(self.model, self.model_config)

    def shutdown(self) -> None:
        """Nothing to close."""
