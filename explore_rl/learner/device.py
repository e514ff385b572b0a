"""What a rank gets from the device: the environment of its process, its torch device, and what gloo and CUDA need."""

from __future__ import annotations

import os
import socket
from typing import Any

from explore_rl.config.schema import Config


def learner_environment(config: Config, kind: str) -> dict[str, str]:
    """Environment of a learner rank."""
    level = os.environ.get("VLLM_LOGGING_LEVEL", "WARNING")
    common = {"TOKENIZERS_PARALLELISM": "false", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": level}
    threads = {"OMP_NUM_THREADS": str(config.learner.threads)} if computes_on_cpu(config, kind) else {}
    return common | threads | ({} if kind == "cuda" else {"DS_ACCELERATOR": "cpu"})


def computes_on_cpu(config: Config, kind: str) -> bool:
    """Whether a rank's optimizer step is made by the CPU."""
    return kind == "cpu" or config.learner.offload_optimizer


def rank_device(kind: str) -> Any:
    """The torch device of a rank: each rank sees its own GPU only."""
    import torch

    return torch.device("cuda", 0) if kind == "cuda" else torch.device("cpu")


def without_compiled_collectives() -> None:
    """Called in a CPU rank before it connects: collectives go over gloo alone.

    DeepSpeed would otherwise compile a shared-memory collective at its first start. That needs a C++ compiler, takes
    minutes on a busy machine, and holds a lock file. A rank that is killed meanwhile leaves the file behind, and all
    later ones wait for it.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def name_interface(address: str) -> None:
    """Called in a CPU rank before it connects: gloo takes the network interface that leads to rank 0's `address`.

    Left alone it takes the one that the host's own name stands for. On many machines that is the loopback, which no
    other host reaches.
    """
    import psutil

    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # a datagram socket sends nothing here, it only looks for the way
        own = probe.getsockname()[0]
    names = [name for name, addresses in psutil.net_if_addrs().items() if own in {a.address for a in addresses}]
    if names:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", names[0])


def release_unused_memory(config: Config, kind: str) -> None:
    """Called in a rank when its work is done, so that an engine on the same GPU can wake up.

    PyTorch gives back the GPU memory that it would keep for later.
    """
    if kind == "cuda" and config.devices.colocate:
        import torch

        torch.cuda.empty_cache()


def finish_queued_work(kind: str) -> None:
    """Waits until the GPU has done all that it was asked for."""
    if kind == "cuda":
        import torch

        torch.cuda.synchronize()


def distributed_backend(kind: str) -> str:
    """How the ranks talk to each other."""
    return "nccl" if kind == "cuda" else "gloo"
