"""What an engine gets from the device: arguments of vLLM, the environment of its process, and how its weights travel."""

from __future__ import annotations

import os
import sys
from typing import Any

from explore_rl.config.schema import Config


def transfer_backend(config: Config, kind: str) -> str:
    """The backend of vLLM's weight-transfer API: CUDA IPC on shared GPUs, NCCL between GPUs, the Ray object store without GPUs."""
    if kind == "cpu":
        return "object_store"
    return "ipc" if config.devices.colocate else "nccl"


def engine_settings(config: Config, kind: str) -> dict[str, Any]:
    """Arguments of `vllm.LLM` that depend on the device."""
    rollout = config.rollout
    if kind == "cpu":
        # Neither cached prefixes nor prompts cut into chunks: both change the order of additions with what else is in the batch, and
        # a sample would depend on its neighbours.
        return {
            "kv_cache_memory_bytes": int(rollout.kv_cache_gib * 2**30), "enforce_eager": True, "enable_prefix_caching": False,
            "enable_chunked_prefill": False,
        }  # fmt: skip
    settings: dict[str, Any] = {
        "gpu_memory_utilization": rollout.gpu_memory_utilization, "enforce_eager": rollout.enforce_eager,
        "enable_sleep_mode": config.devices.colocate, "tensor_parallel_size": rollout.tensor_parallel,
    }  # fmt: skip
    if rollout.tensor_parallel > 1:
        settings["distributed_executor_backend"] = "ray"
    return settings


def engine_environment(config: Config, kind: str) -> dict[str, str]:
    """Environment of a process that holds an engine. vLLM reads it on import, so it has to be there when the process starts."""
    common = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine lives in the actor: quicker start, and it sees Ray's object references
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
        "TOKENIZERS_PARALLELISM": "false",
    }
    if kind == "cuda":
        # Attention in float32 is Triton's, which would multiply in TF32: log-probabilities would be off by more than the parity check allows.
        return common | {"TRITON_F32_DEFAULT": "ieee"}
    return (
        common
        | {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_TARGET_DEVICE": "cpu"}
        | _keep_freed_memory()
        | _openmp(config.rollout.threads)
    )


def _keep_freed_memory() -> dict[str, str]:
    """glibc keeps what is freed instead of giving it back page by page.

    With every new set of weights vLLM packs all matrices anew, into memory as large as what it frees: fetching fresh pages for them costs
    more than the packing.
    """
    return {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62), "MALLOC_ARENA_MAX": "1"}


def _openmp(threads: int) -> dict[str, str]:
    """Ray sets OMP_NUM_THREADS only where it is unset. vLLM's CPU kernels decode several times faster on Intel's OpenMP."""
    variables = {"OMP_NUM_THREADS": str(threads)}
    library = os.path.join(sys.prefix, "lib", "libiomp5.so")
    if os.path.exists(library):
        variables["LD_PRELOAD"] = ":".join(filter(None, [library, os.environ.get("LD_PRELOAD", "")]))
    return variables
