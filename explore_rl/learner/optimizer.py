"""The optimizer, its learning-rate schedule, and the settings that DeepSpeed gets."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

import torch

from analysis.errors import InputError
from explore_rl.config.schema import Config, LearnerConfig


def make_optimizer(
    config: LearnerConfig, parameters: Iterable[torch.nn.Parameter], *, peak: float | None = None
) -> torch.optim.Optimizer:
    """AdamW, or plain SGD. PyTorch's own: a resumed run continues bit for bit, which DeepSpeed's CPU Adam does not.

    peak: the learning rate after the warm-up; None: learner.learning_rate.
    """
    peak = config.learning_rate if peak is None else peak
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=peak, weight_decay=config.weight_decay)
    first, second = config.betas
    return torch.optim.AdamW(parameters, lr=peak, betas=(first, second), weight_decay=config.weight_decay)


def learning_rate(config: Config, step: int, *, peak: float | None = None) -> float:
    """The learning rate of optimizer step `step`, counted from 0.

    Linear warm-up; then constant, or down to min_learning_rate by a cosine or a straight line. The schedule ends at
    run.steps x minibatches x epochs optimizer steps; skipped steps do not count.

    peak: the one after the warm-up; None: learner.learning_rate.
    """
    learner = config.learner
    peak = learner.learning_rate if peak is None else peak
    if step < learner.warmup_steps:
        return peak * (step + 1) / learner.warmup_steps
    total = config.run.steps * config.algorithm.minibatches * config.algorithm.epochs
    done = min(1.0, (step - learner.warmup_steps) / max(1, total - learner.warmup_steps))  # share of the way
    left = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[learner.schedule]
    if learner.schedule == "constant":
        return peak
    return learner.min_learning_rate + (peak - learner.min_learning_rate) * left


def deepspeed_settings(config: Config, kind: str, *, model: torch.nn.Module) -> dict[str, Any]:
    """DeepSpeed's config. Rows carry their weights, so nothing is divided by batch sizes or accumulation steps here."""
    learner = config.learner
    numbers = sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters())
    bucket = min(int(1e8), -(-numbers // 64) * 64)  # ZeRO wants even ones
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # DeepSpeed wants a number; nothing depends on it
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,  # step() is the boundary, after any number of micro-batches
        "gradient_clipping": learner.max_grad_norm,
        "steps_per_print": None,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {
            "stage": learner.zero_stage,
            "overlap_comm": False,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
            "stage3_prefetch_bucket_size": bucket,
            "stage3_param_persistence_threshold": 10_000,  # smaller parameters stay whole on every rank
            **_device_settings(config, kind),
        },
    }
    # The recipe's own, deepest first; what explore-rl says itself was refused when the recipe was read.
    passed_on = dict(learner.deepspeed)
    zero = passed_on.pop("zero_optimization", {})
    _refuse_unknown(zero)
    settings["zero_optimization"] |= zero
    settings |= passed_on
    if config.model.dtype == "bfloat16":
        settings |= {
            "bf16": {"enabled": True},
            "data_types": {"grad_accum_dtype": "fp32"},
            "communication_data_type": "fp32",
        }
    return settings


def _refuse_unknown(zero: dict[str, Any]) -> None:
    """Raises InputError for a key that DeepSpeed's zero_optimization does not have."""
    if not zero:
        return
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    fields = DeepSpeedZeroConfig.model_fields
    known = {*fields, *(field.alias for field in fields.values() if field.alias)}
    for key in zero:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"learner.deepspeed: zero_optimization.{key}: DeepSpeed has no such key{hint}")


def _device_settings(config: Config, kind: str) -> dict[str, Any]:
    """The part of DeepSpeed's `zero_optimization` that depends on the device: where optimizer states live."""
    if not config.learner.offload_optimizer:
        return {}
    return {"offload_optimizer": {"device": "cpu", "pin_memory": kind == "cuda"}}
