"""What the device decides for an engine: vLLM's arguments, its process's environment, and how its weights travel."""

from __future__ import annotations

import math
import os
import sys
from typing import Any

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.models import load_model_config

CPU_BLOCK = 128  # tokens that vLLM's cache holds in a block on a CPU


def transfer_backend(config: Config, kind: str) -> str:
    """The backend of vLLM's weight-transfer API.

    It is CUDA IPC on shared GPUs, NCCL between GPUs, and the Ray object store without GPUs.
    """
    if kind == "cpu":
        return "object_store"
    return "ipc" if config.devices.colocate else "nccl"


def engine_settings(config: Config, kind: str, *, model: str | None = None) -> dict[str, Any]:
    """Arguments of `vllm.LLM` that depend on the device, and those that the recipe passes on (`rollout.engine`).

    Raises InputError for one of these that the device decides.

    model: the checkpoint's folder; None: config.model.path.
    """
    own = _of_the_device(config, kind, model=model or config.model.path)
    if config.rollout.streaming:
        own["scheduling_policy"] = "priority"  # what a step waits for goes before what is drawn for later ones
    for key in config.rollout.engine:
        if key in own:
            raise InputError(f"rollout.engine: {key}: on this device ({kind}) explore-rl sets it to {own[key]!r}")
    return own | config.rollout.engine


def _of_the_device(config: Config, kind: str, *, model: str) -> dict[str, Any]:
    rollout = config.rollout
    if kind == "cpu":
        # Neither cached prefixes nor prompts cut into chunks: with either, the order of additions changes with what
        # else is in the batch, and a sample would depend on its neighbours.
        return {
            "kv_cache_memory_bytes": kv_cache_bytes(config, model),
            "enforce_eager": True,
            "enable_prefix_caching": False,
            "enable_chunked_prefill": False,
        }
    settings: dict[str, Any] = {
        "gpu_memory_utilization": rollout.gpu_memory_utilization,
        "enforce_eager": rollout.enforce_eager,
        "enable_sleep_mode": config.devices.colocate,
        "tensor_parallel_size": rollout.tensor_parallel,
    }
    if rollout.tensor_parallel > 1:
        settings["distributed_executor_backend"] = "ray"
    return settings


def own_seeds(kind: str) -> bool:
    """Whether every request is drawn from a seed of its own, and so is the same in any batch.

    On a GPU vLLM then launches a kernel a sequence and decoding step, and rounding in bfloat16 depends on the batch all
    the same: there an engine gets one seed a draw.
    """
    return kind == "cpu"


def engine_environment(config: Config, kind: str) -> dict[str, str]:
    """Environment of a process that holds an engine.

    vLLM reads it on import, so it has to be there when the process starts.
    """
    common = {
        # The engine lives in the actor: it starts quicker, and sees Ray's object references.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        **_logging(),
        "TOKENIZERS_PARALLELISM": "false",
    }
    if kind == "cuda":
        # Attention in float32 is Triton's, which would multiply in TF32. Log-probabilities would be off by more than
        # the parity check allows.
        return common | {"TRITON_F32_DEFAULT": "ieee"}
    return (
        common
        # The one function that vLLM would compile counts ranks of tokens, which nobody reads: seconds for nothing.
        | {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_TARGET_DEVICE": "cpu", "TORCH_COMPILE_DISABLE": "1"}
        | _keep_freed_memory()
        | _openmp(config.rollout.threads)
    )


def _logging() -> dict[str, str]:
    """vLLM says what is WARNING or worse, or what VLLM_LOGGING_LEVEL asks for; only then it sets up loggers of its own.

    That takes a third of a second, since thousands of loggers forget what they knew.
    """
    level = os.environ.get("VLLM_LOGGING_LEVEL")
    return {"VLLM_LOGGING_LEVEL": level} if level else {"VLLM_CONFIGURE_LOGGING": "0"}


def kv_cache_bytes(config: Config, model: str) -> int:
    """Size of a CPU engine's key-value cache: rollout.kv_cache_gib, or what it can use at most if that is less.

    Every page of it is written once when an engine starts. It can use no more than rollout.max_num_seqs sequences of
    the model's whole context, each in whole blocks; twice that is taken.
    """
    allowed = int(config.rollout.kv_cache_gib * 2**30)
    shape = load_model_config(model).get_text_config()
    layers, heads, size, context = (
        getattr(shape, name, None)
        for name in ("num_hidden_layers", "num_key_value_heads", "head_dim", "max_position_embeddings")
    )
    if size is None and getattr(shape, "num_attention_heads", None):
        size = shape.hidden_size // shape.num_attention_heads
    if not (layers and heads and size and context):
        return allowed
    per_token = 2 * layers * heads * size * (4 if config.model.dtype == "float32" else 2)
    blocks = config.rollout.max_num_seqs * math.ceil(context / CPU_BLOCK)
    return min(allowed, 2 * blocks * CPU_BLOCK * per_token)


def _keep_freed_memory() -> dict[str, str]:
    """Makes glibc keep what is freed, instead of giving it back page by page.

    With every new set of weights vLLM packs all matrices anew, into memory as large as what it frees. Fetching fresh
    pages for them would cost more than the packing.
    """
    return {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62), "MALLOC_ARENA_MAX": "1"}


def _openmp(threads: int) -> dict[str, str]:
    """Threads, and Intel's OpenMP where it is installed: vLLM's CPU kernels decode several times faster on it.

    Ray would set OMP_NUM_THREADS itself, but only where it is unset.
    """
    variables = {"OMP_NUM_THREADS": str(threads)}
    library = os.path.join(sys.prefix, "lib", "libiomp5.so")
    if os.path.exists(library):
        variables["LD_PRELOAD"] = ":".join(filter(None, [library, os.environ.get("LD_PRELOAD", "")]))
    return variables
