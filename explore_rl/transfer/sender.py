"""The ranks' side of sending weights: the model as a source, the engines as a client, a trainer half between them."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayTaskError

from explore_rl.cluster.faults import ActorFault, gather
from explore_rl.learner import device
from explore_rl.learner.lora import Weight, weights_of
from explore_rl.transfer.backends import trainer_half
from explore_rl.transfer.endpoints import Endpoints

GATHER_BYTES = 256 * 2**20  # ZeRO-3 parameters that are whole at one time, besides the one that does not fit


class Connection:
    """The trainer half of the transfer engine, with its client and source."""

    def __init__(self, rank: Any, endpoints: Endpoints):
        self.endpoints = endpoints
        self.source = LearnerSource(rank)
        self.client = EngineClient(endpoints, is_sender=rank.index == 0)
        self.client.shutdown_weight_transfer_engine()  # engines that survived others may still hold a connection of old
        rendezvous = ray.util.get_node_ip_address(), _free_port()
        try:
            self.half = trainer_half(
                endpoints, rank.index, client=self.client, source=self.source, rendezvous=rendezvous
            )
        except RuntimeError as error:
            # Where an engine did not turn up at the rendezvous, its own fault says more.
            if self.client.fault in (None, error):
                raise
            raise self.client.fault from error

    def send(self, version: int) -> float:
        """Returns the seconds spent on gathering shards.

        Raises the ActorFault of an engine, after all ranks have gone through the gathering together.
        """
        self.source.gather_s = 0.0
        self.client.version = version
        self.client.fault = None
        self.half.send_weights()
        if self.client.fault is not None:
            raise self.client.fault
        return self.source.gather_s

    @property
    def stranded(self) -> bool:
        """Whether an engine is gone that this rank's NCCL broadcast waits for."""
        return self.endpoints.backend == "nccl" and self.client.fault is not None

    def close(self) -> None:
        self.half.shutdown()


class EngineClient:
    """The control plane of the transfer: vLLM's `VLLMWeightSyncClient` protocol over all engines' actors.

    It speaks on rank 0 only, and adds names and timeouts. The first ActorFault of a send is kept in `fault` and
    silences the rest of that send. Were it raised at once, rank 0 would leave the gathering of ZeRO-3 shards, and the
    other ranks would wait for it.
    """

    def __init__(self, endpoints: Endpoints, is_sender: bool):
        self.endpoints, self.is_sender = endpoints, is_sender
        self.version = -1
        self.fault: ActorFault | None = None

    def _connected(self, refs: list[Any], *, doing: str) -> None:
        """Waits for an answer of every engine outside a send. A fault is kept, and raised."""
        try:
            gather(self.endpoints.engines, refs, doing=doing, timeout_s=self.endpoints.start_timeout_s)
        except ActorFault as fault:
            self.fault = fault
            raise

    def _update(self, method: str, *args: Any, doing: str) -> None:
        """A step of a send, on every engine. A fault is kept, and not raised."""
        if not self.is_sender or self.fault is not None:
            return
        ends = self.endpoints
        refs = [getattr(handle, method).remote(*args) for _, handle in ends.engines]
        try:
            gather(ends.engines, refs, doing=doing, timeout_s=ends.step_timeout_s, stall_s=ends.stall_timeout_s)
        except ActorFault as fault:
            self.fault = fault
        except RayTaskError as error:  # an engine that could not load; over NCCL rank 0 may wait for it already
            self.fault = ActorFault.of_error("a rollout engine", doing, error)

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        if not self.is_sender:
            return
        # vLLM gives the offset of one deployment's workers. These engines are independent, and each needs NCCL ranks of
        # its own.
        workers_each = self.endpoints.workers // len(self.endpoints.engines)
        refs = []
        for i, (_, handle) in enumerate(self.endpoints.engines):
            own = {"rank_offset": init_info["rank_offset"] + i * workers_each} if "rank_offset" in init_info else {}
            refs.append(handle.init_weight_transfer_engine.remote(init_info | own))
        self._connected(refs, doing="connect to the learner")

    def shutdown_weight_transfer_engine(self) -> None:
        if self.is_sender:
            refs = [handle.shutdown_weight_transfer_engine.remote() for _, handle in self.endpoints.engines]
            self._connected(refs, doing="end an old connection")

    def start_weight_update(self) -> None:
        self._update("start_weight_update", doing="prepare for new weights")

    def update_weights(self, update_info: dict[str, Any]) -> None:
        self._update("update_weights", update_info, doing="load new weights")

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self._update("finish_weight_update", self.version, doing="finish loading new weights")


class LearnerSource:
    """The rank's model, parameter by parameter, as vLLM's `WeightSource` describes it.

    ZeRO-3 shards are made whole bucket by bucket, which all ranks do together. Tied parameters come under each of their
    names, one after the other, because an engine may hold a copy for each. LoRA's adapters come merged into theirs.

    gather_s: seconds spent on making shards whole.
    """

    def __init__(self, rank: Any):
        self.rank, self.gather_s = rank, 0.0

    def _weights(self) -> list[Weight]:
        """All weights under all their names, the names of one parameter next to each other."""
        by_parameter: dict[int, list[Weight]] = {}
        for weight in weights_of(self.rank.model, every_name=True):
            by_parameter.setdefault(id(weight.parameter), []).append(weight)
        return [weight for weights in by_parameter.values() for weight in weights]

    def metadata(self) -> list[Any]:
        """Name, type and whole shape of each, without making shards whole (vLLM's `ParamMeta`)."""
        from vllm.distributed.weight_transfer.base import ParamMeta

        named = [(weight.name, weight.parameter) for weight in self._weights()]
        return [ParamMeta(name, p.dtype, tuple(getattr(p, "ds_shape", p.shape))) for name, p in named]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        # vLLM reads on streams of its own, which do not wait for the optimizer's.
        device.finish_queued_work(self.rank.kind)
        for bucket in _buckets(self._weights()):
            if not hasattr(bucket[0].parameter, "ds_id"):
                yield from ((weight.name, weight.value()) for weight in bucket)
                continue
            import deepspeed

            # Copies, each weight once: outside the block only shards are left. Its adapter is whole at the same time.
            began = time.perf_counter()
            by_parameter = {id(weight.parameter): weight for weight in bucket}
            parts = [part for weight in by_parameter.values() for part in weight.parts]
            with deepspeed.zero.GatheredParameters(parts):
                copies = {key: weight.value().clone() for key, weight in by_parameter.items()}
                device.finish_queued_work(self.rank.kind)
            self.gather_s += time.perf_counter() - began
            yield from ((weight.name, copies[id(weight.parameter)]) for weight in bucket)
            del copies  # before the next bucket is gathered


def _buckets(weights: list[Weight]) -> Iterator[list[Weight]]:
    """`weights` in buckets of GATHER_BYTES, or one more.

    Names of one parameter, which are neighbours, stay together.
    """
    bucket: list[Weight] = []
    held = 0
    for weight in weights:
        is_new = not bucket or weight.parameter is not bucket[-1].parameter
        if is_new and held >= GATHER_BYTES:
            yield bucket
            bucket = []
            held = 0
        bucket.append(weight)
        for p in weight.parts if is_new else ():
            held += getattr(p, "ds_numel", p.numel()) * p.element_size()
    if bucket:
        yield bucket


def _free_port() -> int:
    """A port to listen at soon, on which vLLM insists on binding by itself.

    It lies below those that the system gives to outgoing connections, which could take it in between.
    """
    first = 10_000
    last = 32_000
    with suppress(OSError, ValueError):  # where there is no Linux to ask
        last = min(last, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]))
    for port in random.SystemRandom().sample(range(first, max(last, first + 1000)), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]
