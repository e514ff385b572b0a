"""Weights through Ray's object store: both halves of a backend of vLLM's weight-transfer API.

It is for machines without GPUs, since NCCL and CUDA IPC, vLLM's own backends, do not exist on a CPU. Rank 0 puts
buckets of full tensors into the object store. Every engine reads them from shared memory (or over the network, on
other nodes) and loads them layer by layer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import ray
import torch

from explore_rl.rollout.vllm_compat import (
    TrainerInitInfo,
    TrainerWeightTransferEngine,
    WeightSource,
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
    finish_layerwise_reload,
    layerwise_reload,
)

BUCKET_BYTES = 256 * 2**20  # tensors that travel together; bounds what the object store holds of a large model
FETCH_TIMEOUT_S = 300.0  # for a bucket to reach an engine's node


@dataclass
class ObjectStoreTrainerInfo(TrainerInitInfo):
    """load_threads: CPU threads with which an engine may load."""

    backend: ClassVar[str] = "object_store"

    load_threads: int


@dataclass
class ObjectStoreInitInfo(WeightTransferInitInfo):
    """No rendezvous is needed. load_threads: CPU threads to load with."""

    load_threads: int


@dataclass
class ObjectStoreUpdateInfo(WeightTransferUpdateInfo):
    """One bucket.

    names, dtype_names, shapes: of its tensors, in order.
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


class ObjectStoreTrainer(TrainerWeightTransferEngine[ObjectStoreTrainerInfo]):
    """The trainer's half. It lives in every rank.

    All ranks walk through the source, because gathering shards is collective; rank 0 sends.
    """

    init_info_cls = ObjectStoreTrainerInfo

    @classmethod
    def trainer_init(
        cls, init_info: ObjectStoreTrainerInfo, *, client: Any, source: WeightSource | None = None
    ) -> ObjectStoreTrainer:
        if source is None:
            raise ValueError("the object_store backend needs a WeightSource")
        engine = cls(client=client, source=source, is_sender=init_info.is_sender)
        if engine.is_sender:
            client.init_weight_transfer_engine({"load_threads": init_info.load_threads})
        return engine

    def send_weights(self) -> None:
        source = cast(WeightSource, self.source)  # trainer_init refuses to go without
        if not self.is_sender:
            for _ in source:
                pass
            return
        self.client.start_weight_update()
        # The engines load a bucket while the next one is gathered and put.
        with ThreadPoolExecutor(1) as beside:
            loading: Future[None] | None = None
            for bucket in _buckets(source, BUCKET_BYTES):
                info = _put(bucket)
                if loading is not None:
                    loading.result()
                loading = beside.submit(self.client.update_weights, info)
            if loading is not None:
                loading.result()
        self.client.finish_weight_update()


def _put(bucket: list[tuple[str, torch.Tensor]]) -> dict[str, Any]:
    """The bucket as ObjectStoreUpdateInfo's fields.

    Its bytes go into the object store, once if they have several names.
    """
    arrays: dict[tuple[int, torch.Size], np.ndarray] = {}
    for _, tensor in bucket:
        arrays.setdefault((tensor.data_ptr(), tensor.shape), _bytes(tensor))
    return {
        "names": [name for name, _ in bucket],
        "dtype_names": [str(tensor.dtype).removeprefix("torch.") for _, tensor in bucket],
        "shapes": [tuple(tensor.shape) for _, tensor in bucket],
        "data": [ray.put([arrays[tensor.data_ptr(), tensor.shape] for _, tensor in bucket])],
    }


def _bytes(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's memory as bytes, without a copy (NumPy has no bfloat16)."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()


def _buckets(pairs: Iterable[tuple[str, torch.Tensor]], size: int) -> Iterator[list[tuple[str, torch.Tensor]]]:
    """`pairs` in buckets of `size` bytes, or one tensor more. Neighbours that are one tensor stay together."""
    bucket: list[tuple[str, torch.Tensor]] = []
    held = 0
    for name, tensor in pairs:
        is_new = not bucket or tensor.data_ptr() != bucket[-1][1].data_ptr()
        if is_new and held >= size:
            yield bucket
            bucket = []
            held = 0
        bucket.append((name, tensor))
        held += tensor.nbytes if is_new else 0
    if bucket:
        yield bucket
