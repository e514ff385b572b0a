"""What makes sense: values out of range and combinations without meaning are refused, settings without effect are warned about."""

from __future__ import annotations

import difflib
import math
from typing import Any

from analysis.errors import InputError
from explore_rl.config.schema import Config, field_docs

CHOICES = {
    "model.dtype": ("float32", "bfloat16"),
    "model.attention": ("sdpa", "flash_attention_2", "eager"),
    "devices.device": ("auto", "cpu", "cuda"),
    "learner.zero_stage": (0, 1, 2, 3),
    "learner.optimizer": ("adamw", "sgd"),
    "learner.schedule": ("constant", "cosine", "linear"),
    "algorithm.advantage": ("grpo", "dr_grpo", "rloo"),
    "algorithm.aggregation": ("token", "sequence", "constant"),
    "algorithm.kl": ("none", "k1", "k2", "k3"),
    "algorithm.kl_place": ("loss", "reward"),
    "run.tracker": ("none", "wandb", "tensorboard"),
}
AT_LEAST = {
    "model.max_prompt_tokens": 1, "rollout.actors": 1, "rollout.base_actors": 1, "rollout.tensor_parallel": 1, "rollout.max_new_tokens": 1,
    "rollout.max_num_seqs": 1, "rollout.threads": 1, "learner.ranks": 1, "learner.learning_rate": 0.0, "learner.max_grad_norm": 0.0,
    "learner.micro_batch_tokens": 1, "learner.threads": 1, "algorithm.prompts_per_step": 1, "algorithm.group_size": 1,
    "algorithm.minibatches": 1, "algorithm.epochs": 1, "algorithm.clip_low": 0.0, "algorithm.clip_high": 0.0,
    "algorithm.dynamic_sampling_rounds": 0, "algorithm.kl_coefficient": 0.0, "rewards.min_group": 2, "verifiers.time_limit_s": 0.01,
    "verifiers.memory_limit_mb": 64, "run.steps": 1, "run.checkpoint_every": 1, "run.keep_checkpoints": 1, "run.evaluate_every": 0,
    "run.evaluate_samples": 1, "run.exact_every": 0, "run.max_bad_steps": 1, "run.max_silent_steps": 1, "devices.start_timeout_s": 1.0,
    "devices.step_timeout_s": 1.0, "devices.stall_timeout_s": 1.0, "rollout.kv_cache_gib": 0.1, "learner.warmup_steps": 0,
    "learner.weight_decay": 0.0, "learner.min_learning_rate": 0.0, "problems.limit": 1, "verifiers.workers": 1,
}  # fmt: skip

OF_ONE_DEVICE = [
    ("cuda", "rollout.gpu_memory_utilization"), ("cuda", "rollout.enforce_eager"),
    ("cpu", "rollout.kv_cache_gib"), ("cpu", "rollout.threads"), ("cpu", "learner.threads"),
]  # fmt: skip


def _named(device: str) -> str:
    return "GPUs" if device == "cuda" else "the CPU"


def _get(config: Config, dotted: str) -> Any:
    value: Any = config
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def check(config: Config, where: str) -> None:
    """Refuses values out of range and combinations without meaning. Raises InputError with the key and what would be right."""

    def refuse(key: str, why: str) -> None:
        raise InputError(f"{where}: {key}={_get(config, key)!r}: {why}")

    for key, choices in CHOICES.items():
        if _get(config, key) not in choices:
            near = difflib.get_close_matches(str(_get(config, key)), [str(c) for c in choices], n=1)
            refuse(
                key, f"expected one of {', '.join(map(str, choices))}" + (f"; did you mean {near[0]}?" if near else "")
            )
    for key in field_docs():
        if isinstance(value := _get(config, key), float) and not math.isfinite(value):
            refuse(key, "expected a finite number")
    for key, least in AT_LEAST.items():
        if (value := _get(config, key)) is not None and value < least:
            refuse(key, f"expected at least {least}")
    a, r, lr = config.algorithm, config.rollout, config.learner
    if not r.temperature > 0:
        refuse("rollout.temperature", "training samples at a temperature above 0 (greedy decoding has no gradient)")
    if r.top_p != 1.0:
        refuse(
            "rollout.top_p",
            "training needs 1.0: the trainer's log-probabilities are not renormalised over a nucleus, so ratios would be biased",
        )
    if a.group_size < 2:
        refuse("algorithm.group_size", "a group of one has no baseline and so no signal; expected at least 2")
    if a.prompts_per_step % a.minibatches:
        refuse(
            "algorithm.minibatches",
            f"must divide algorithm.prompts_per_step={a.prompts_per_step}: mini-batches are whole groups",
        )
    if a.kl != "none" and a.kl_coefficient == 0:
        refuse(
            "algorithm.kl_coefficient",
            f"algorithm.kl={a.kl} has no effect with a coefficient of 0; set one, or algorithm.kl=none",
        )
    if a.kl == "none" and a.kl_coefficient != 0:
        refuse("algorithm.kl_coefficient", "has no effect with algorithm.kl=none; choose k2 or k3")
    if a.kl == "k1" and a.kl_place == "loss":
        refuse("algorithm.kl", "k1 in the loss has zero expected gradient; use k2 or k3, or algorithm.kl_place=reward")
    if a.clip_low >= 1:
        refuse("algorithm.clip_low", "expected below 1: the ratio is never negative")
    if a.importance_cap is not None and a.importance_cap < 1:
        refuse("algorithm.importance_cap", "expected at least 1, or null to switch the correction off")
    if config.rewards.min_group > a.group_size:
        refuse("rewards.min_group", f"above algorithm.group_size={a.group_size}: every group would be dropped")
    if config.rewards.error == 0:
        refuse(
            "rewards.error",
            "an error is never a reward of 0, it says nothing about the completion; null leaves the sample out of its group",
        )
    if config.run.evaluate_every and not config.problems.heldout:
        refuse("run.evaluate_every", "there is nothing to evaluate on; set problems.heldout, or run.evaluate_every=0")
    if lr.min_learning_rate > lr.learning_rate:
        refuse("learner.min_learning_rate", f"above learner.learning_rate={lr.learning_rate}")
    if lr.schedule == "constant" and lr.min_learning_rate:
        refuse("learner.min_learning_rate", "has no effect with learner.schedule=constant")
    if len(lr.betas) != 2 or not all(0 <= b < 1 for b in lr.betas):
        refuse("learner.betas", "expected two numbers in [0, 1)")
    if lr.optimizer == "sgd" and tuple(lr.betas) != (0.9, 0.999):
        refuse("learner.betas", "has no effect with learner.optimizer=sgd")
    if lr.offload_optimizer and lr.zero_stage == 0:
        refuse("learner.offload_optimizer", "DeepSpeed offloads optimizer states at learner.zero_stage 1, 2 or 3 only")
    if lr.zero_stage == 0 and config.model.dtype == "bfloat16":
        refuse(
            "learner.zero_stage", "DeepSpeed keeps no fp32 accumulation for bfloat16 at stage 0; use stage 1, 2 or 3"
        )
    if config.model.attention == "flash_attention_2" and config.model.dtype == "float32":
        refuse(
            "model.attention",
            "flash attention computes in half precision only; set model.dtype=bfloat16, or model.attention=sdpa",
        )
    if not 0 < r.gpu_memory_utilization <= 1:
        refuse("rollout.gpu_memory_utilization", "expected in (0, 1]")
    for i, strategy in enumerate(config.strategies):
        if not isinstance(strategy, dict) or not isinstance(strategy.get("name"), str):
            raise InputError(
                f"{where}: strategies[{i}]: expected a mapping with a name, for example {{name: trace_injection}}, got {strategy!r}"
            )


def warnings(config: Config, device: str, draws_from_base: bool) -> list[str]:
    """Settings that cannot act under this config, one line each: what a user may take for a change and is none.

    device: "cpu" or "cuda", where the run will be. draws_from_base: whether a strategy needs base engines.
    """
    a, run = config.algorithm, config.run
    updates = a.minibatches * a.epochs
    defaults = field_docs()

    def changed(key: str) -> bool:
        return _get(config, key) != defaults[key][0]

    found = []

    def warn(key: str, why: str) -> None:
        found.append(f"{key}={_get(config, key)!r} has no effect: {why}")

    one_update = "with one update per batch (algorithm.minibatches=algorithm.epochs=1) the ratio is 1"
    for key in ("algorithm.clip_low", "algorithm.clip_high", "algorithm.clip"):
        if changed(key) and updates == 1:
            warn(key, one_update)
        elif changed(key) and not a.clip and key != "algorithm.clip":
            warn(key, "algorithm.clip=false clips nothing")
    for other, key in OF_ONE_DEVICE:
        if changed(key) and other != device and not (key == "learner.threads" and config.learner.offload_optimizer):
            warn(key, f"it is for {_named(other)}, and the run is on {_named(device)}")
    if changed("rollout.base_actors") and not draws_from_base:
        warn("rollout.base_actors", "no strategy draws from the frozen base")
    if changed("run.evaluate_samples") and not run.evaluate_every:
        warn("run.evaluate_samples", "run.evaluate_every=0 evaluates nothing")
    if changed("run.exact_problems") and not run.exact_every:
        warn("run.exact_problems", "run.exact_every=0 audits nothing")
    if changed("algorithm.kl_place") and a.kl == "none":
        warn("algorithm.kl_place", "algorithm.kl=none has no KL to place")
    if config.learner.warmup_steps >= run.steps * updates:
        found.append(
            f"learner.warmup_steps={config.learner.warmup_steps}: the run has {run.steps * updates} updates and ends before the warm-up does"
        )
    return found
