"""Settings of DeepSpeed and vLLM that a recipe may pass on (learner.deepspeed, rollout.engine), and those it may not.

What decides results is a setting of explore-rl's own, or fixed; passing it on as well would say it twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Of DeepSpeed's config: these sections and switches, and nothing else, since it takes unknown keys without a word.
DEEPSPEED = (
    "zero_optimization",
    "comms_logger",
    "flops_profiler",
    "wall_clock_breakdown",
    "memory_breakdown",
    "aio",
    "compile",
)
# Of its zero_optimization, what explore-rl says itself.
ZERO_OWNED = {
    "stage": "set learner.zero_stage",
    "offload_optimizer": "set learner.offload_optimizer",
    "offload_param": "the weights are read on the device whenever they are sent",
    "overlap_comm": "gradients are added up in an order of their own with it, and a resumed run would differ",
}
# Of vLLM's engine arguments, what explore-rl says itself.
ENGINE_OWNED = {
    "model": "set model.path",
    "tokenizer": "set model.path",
    "dtype": "set model.dtype",
    "load_format": "engines start with random weights, and get the learner's",
    "max_num_seqs": "set rollout.max_num_seqs",
    "logprobs_mode": "log-probabilities are those that the sample was drawn at",
    "generation_config": "nothing but the request decides how it is drawn",
    "weight_transfer_config": "it follows from the devices",
    "seed": "every request has its own",
    "tensor_parallel_size": "set rollout.tensor_parallel",
    "distributed_executor_backend": "it follows from rollout.tensor_parallel",
    "gpu_memory_utilization": "set rollout.gpu_memory_utilization",
    "kv_cache_memory_bytes": "set rollout.kv_cache_gib",
    "enforce_eager": "set rollout.enforce_eager",
    "enable_sleep_mode": "it follows from devices.colocate",
}


def refused(deepspeed: dict[str, Any], engine: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The setting's dotted name, and why it is refused, for each key that cannot be passed on."""
    for key in deepspeed:
        if key not in DEEPSPEED:
            yield "learner.deepspeed", f"{key} is not passed on; known are {', '.join(DEEPSPEED)}"
    zero = deepspeed.get("zero_optimization", {})
    if not isinstance(zero, dict):
        yield "learner.deepspeed", f"zero_optimization: expected a mapping, got {zero!r}"
        return
    for key in zero:
        if key in ZERO_OWNED:
            yield "learner.deepspeed", f"zero_optimization.{key} is explore-rl's own: {ZERO_OWNED[key]}"
    for key in engine:
        if key in ENGINE_OWNED:
            yield "rollout.engine", f"{key} is explore-rl's own: {ENGINE_OWNED[key]}"
