#!/usr/bin/env python
"""A run as laid out for GPUs, on a machine without any.

    python scripts/rehearse_gpu_layout.py GPUS COMMAND...

    python scripts/rehearse_gpu_layout.py 4 train configs/lab/mixture_policy.yaml learner.ranks=2 \\
        learner.zero_stage=3 rollout.actors=1 rollout.tensor_parallel=2 devices.colocate=true run.steps=5

GPUS: how many Ray is made to believe in (a cluster that is joined was told by whoever started it). COMMAND: what
one would give to `explore-rl`.

Real are the placement of all processes, vLLM's Ray executor with its tensor-parallel workers and their sharded
loading, the engines' asynchronous scheduling, both halves of vLLM's nccl and ipc transfer, the order of sleep and
wake-up, and the recovery from a lost process. Everything computes on the CPU, and what CUDA and NCCL would do in a
transfer is stood in for: a broadcast goes over the TCP store of the rendezvous, memory that two processes share is
a file. So it shows that a layout starts, learns and sends; not that GPUs compute what they should, nor how fast,
nor whether their memory suffices. A tensor-parallel engine has to stay within one host.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import socket
import sys
import tempfile
import types
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import ray
import torch

from explore_rl import cli
from explore_rl.cluster import placement
from explore_rl.learner import device, learner
from explore_rl.learner.learner import Learner
from explore_rl.rollout import engines, settings

NAME = Path(__file__).stem
# The files of one rehearsal, whichever process makes them.
SHARED = f"/dev/shm/{NAME}-{os.environ.get('REHEARSAL', os.getpid())}"


def main() -> int:
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        print(__doc__, file=sys.stderr)
        return 2
    with rehearsal(int(sys.argv[1])):
        return cli.main(sys.argv[2:])


@contextlib.contextmanager
def rehearsal(gpus: int) -> Iterator[None]:
    """A Ray cluster that is started meanwhile says it has `gpus`; `placement` lays them out as if they were there.

    The processes get the settings of a CPU.
    The working directory has to be one that every node sees.
    """
    real = types.SimpleNamespace(start=placement.start, **vars(settings))
    parallel = ("tensor_parallel_size", "distributed_executor_backend")

    def start(config, base_engines):
        layout = real.start(config, base_engines)
        layout.kind = "cpu"
        return layout

    def engine_settings(config, _, model=None):
        on_gpus = real.engine_settings(config, "cuda", model=model)
        return real.engine_settings(config, "cpu", model=model) | {
            key: on_gpus[key] for key in parallel if key in on_gpus
        }

    class Rehearsed(Learner):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.apply(_install_on_rank)

    with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=os.getcwd()) as folder, contextlib.ExitStack() as patches:
        own = _plugged_in(Path(folder))
        of_engines = {
            "engine_settings": engine_settings,
            "engine_environment": lambda config, _: real.engine_environment(config, "cpu") | own,
            "transfer_backend": lambda config, _: real.transfer_backend(config, "cuda"),
        }
        patches.enter_context(mock.patch.multiple(placement, resolve=lambda _: "cuda", start=start))
        patches.enter_context(mock.patch.multiple(engines, **of_engines))
        environment = device.learner_environment
        patches.enter_context(
            mock.patch.object(learner, "learner_environment", lambda config, _: environment(config, "cpu") | own)
        )
        patches.enter_context(mock.patch("explore_rl.training.actors.Learner", Rehearsed))
        resources = json.dumps({"CPU": 8 * gpus, "GPU": gpus})
        patches.enter_context(mock.patch.dict(os.environ, RAY_OVERRIDE_RESOURCES=resources))
        try:
            yield
        finally:
            for file in glob.glob(f"{SHARED}-*"):
                os.unlink(file)


# --- a plug-in of vLLM ------------------------------------------------------------------------------------------------


def _plugged_in(folder: Path) -> dict[str, str]:
    """Environment of a process whose vLLM takes this module as a plug-in. folder: for the entry points."""
    package = folder / f"{NAME}-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1\n")
    (package / "entry_points.txt").write_text(
        f"[vllm.platform_plugins]\nrehearsal = {NAME}:platform\n[vllm.general_plugins]\nrehearsal = {NAME}:install\n"
    )
    path = f"{folder}:{Path(__file__).parent}"
    return {
        "PYTHONPATH": path,
        "VLLM_TARGET_DEVICE": "empty",
        "REHEARSAL": str(os.getpid()),
    }  # target "cpu" would overrule plug-ins


def platform() -> str:
    """A CPU that Ray counts as GPUs, and is given its next step before the last one's tokens are read, as they are."""
    from vllm.platforms.cpu import CpuPlatform

    class Platform(CpuPlatform):
        ray_device_key = "GPU"

        @classmethod
        def check_and_update_config(cls, vllm_config):
            super().check_and_update_config(vllm_config)
            vllm_config.scheduler_config.async_scheduling = True

    globals()["Platform"] = Platform
    return f"{__name__}.Platform"


def install() -> None:
    """From now on vLLM's transfer engines' calls to CUDA do nothing here, and the GPU is named as Ray has it."""
    from torch.multiprocessing import reductions
    from vllm.distributed.device_communicators import pynccl
    from vllm.distributed.weight_transfer import packed_tensor

    gpu = f"gpu {ray.get_gpu_ids()} of {socket.gethostname()}"
    torch.accelerator.current_device_index = lambda: 0
    torch.accelerator.synchronize = torch.cuda.synchronize = torch.cuda.ipc_collect = lambda *_: None
    torch.cuda.current_stream = lambda *_: Stream()
    torch.cuda.stream = lambda _: contextlib.nullcontext()
    torch.cuda.Event = Event
    torch.cuda.get_device_properties = lambda _: types.SimpleNamespace(uuid=gpu)
    packed_tensor._get_streams = lambda _, streams: [Stream()] * streams
    pynccl.PyNcclCommunicator = Broadcasts
    packed: Any = packed_tensor
    packed.torch = TorchWithSharedBuffers()
    # Of CUDA's handle vLLM looks at the device alone, its seventh part.
    packed.reduce_tensor = lambda buffer: (None, (buffer.path, len(buffer), "r+", 0, 0, 0, 0))
    reductions.rebuild_cuda_tensor = lambda path, size, mode, *_: _mapped(path, size, mode=mode)


def _install_on_rank(rank) -> None:
    __import__(
        NAME
    ).install()  # not this function's own: it travels by value, and the stand-ins have to stay what they are


class Stream:
    def synchronize(self):
        pass


class Event:
    def __init__(self, blocking):
        pass

    def record(self):
        pass

    def synchronize(self):
        pass


class Broadcasts:
    """In the place of vllm's PyNcclCommunicator."""

    def __init__(self, group, device):
        self.group: Any = group

    def broadcast(self, tensor, src, *, stream=None):
        tensor.copy_(self.group.broadcast(tensor, src))

    def destroy(self):
        self.group = None


class TorchWithSharedBuffers:
    """torch, but a buffer "on the GPU" is a file that other processes can map."""

    files = count()

    def __getattr__(self, name):
        return getattr(torch, name)

    def empty(self, *size, device=None, **options):
        if str(device) != "cuda":
            return torch.empty(*size, device=device, **options)
        path = f"{SHARED}-{os.getpid()}-{next(self.files)}"
        tensor: Any = _mapped(path, size[0], mode="w+")
        tensor.path = path
        return tensor


def _mapped(path, size, *, mode):
    return torch.from_numpy(np.memmap(path, np.uint8, mode, shape=(size,)))


if __name__ == "__main__":
    sys.exit(main())
