"""The ranks' half of weights through Ray's object store. It imports no vLLM, which would cost a CPU rank seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import ray
import torch

BUCKET_BYTES = 256 * 2**20  # tensors that travel together; bounds what the object store holds of a large model


class ObjectStoreTrainer:
    """The trainer's half, with the methods of vLLM's `TrainerWeightTransferEngine`. It lives in every rank.

    All ranks walk through the source, because gathering shards is collective; rank 0 sends.

    client: through which the engines are spoken to, vLLM's `VLLMWeightSyncClient`.
    source: (name, tensor) pairs, anew with every iteration.
    is_sender: whether this is rank 0.
    load_threads: CPU threads with which an engine may load.
    """

    def __init__(self, *, client: Any, source: Iterable[tuple[str, torch.Tensor]], is_sender: bool, load_threads: int):
        self.client, self.source, self.is_sender = client, source, is_sender
        if is_sender:
            client.init_weight_transfer_engine({"load_threads": load_threads})

    def send_weights(self) -> None:
        if not self.is_sender:
            for _ in self.source:
                pass
            return
        self.client.start_weight_update()
        # The engines load a bucket while the next one is gathered and put.
        with ThreadPoolExecutor(1) as beside:
            loading: Future[None] | None = None
            for bucket in _buckets(self.source, BUCKET_BYTES):
                info = _put(bucket)
                if loading is not None:
                    loading.result()
                loading = beside.submit(self.client.update_weights, info)
            if loading is not None:
                loading.result()
        self.client.finish_weight_update()

    def shutdown(self) -> None:
        """Nothing to close."""


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
