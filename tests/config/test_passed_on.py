"""learner.deepspeed and rollout.engine: passed on as they are, and refused where explore-rl says it itself."""

import pytest
import torch

from analysis.errors import InputError
from explore_rl.cluster.placement import with_environment
from explore_rl.config.loading import load_config
from explore_rl.learner.optimizer import deepspeed_settings
from explore_rl.rollout.settings import engine_settings


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "learner.deepspeed={gradient_clipping: 2.0}",
            r"deepspeed=.*gradient_clipping is not passed on; known",
        ),
        ("learner.deepspeed={zero_optimization: {stage: 3}}", r"zero_optimization\.stage .*set learner\.zero_stage"),
        ("learner.deepspeed={zero_optimization: 3}", "expected a mapping, got 3"),
        ("rollout.engine={dtype: float16}", r"rollout\.engine=.*dtype is explore-rl's own: set model\.dtype"),
    ],
)
def test_what_explore_rl_says_itself_is_refused(override, said):
    with pytest.raises(InputError, match=said):
        load_config(None, [override])


def test_the_rest_reaches_deepspeed_beside_what_is_set():
    zero = "zero_optimization: {zero_hpz_partition_size: 8, reduce_bucket_size: 1000}"
    settings = ["learner.zero_stage=3", f"learner.deepspeed={{wall_clock_breakdown: true, {zero}}}"]
    config = load_config(None, settings)
    made = deepspeed_settings(config, "cuda", model=torch.nn.Linear(2, 2))
    assert made["wall_clock_breakdown"] is True and made["gradient_accumulation_steps"] == 1
    zero = made["zero_optimization"]
    assert (zero["stage"], zero["zero_hpz_partition_size"], zero["reduce_bucket_size"]) == (3, 8, 1000)
    config.learner.deepspeed = {"zero_optimization": {"reduce_bucket": 1}}
    with pytest.raises(InputError, match="zero_optimization.reduce_bucket: DeepSpeed has no such key; did you mean"):
        deepspeed_settings(config, "cuda", model=torch.nn.Linear(2, 2))


def test_the_rest_reaches_vllm_but_for_what_the_device_decides():
    config = load_config(None, ["rollout.engine={enable_prefix_caching: true, max_num_batched_tokens: 4096}"])
    assert engine_settings(config, "cuda")["enable_prefix_caching"] is True
    assert engine_settings(config, "cuda")["max_num_batched_tokens"] == 4096
    with pytest.raises(InputError, match=r"enable_prefix_caching: on this device \(cpu\) explore-rl sets it to False"):
        engine_settings(config, "cpu")


def test_what_the_shell_says_of_communication_reaches_every_actor(monkeypatch):
    monkeypatch.setenv("NCCL_IB_HCA", "mlx5")
    monkeypatch.setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")
    options = {"num_cpus": 1, "runtime_env": {"env_vars": {"NCCL_DEBUG": "own"}}}
    made = with_environment(options, {"DS_ACCELERATOR": "cpu"})["runtime_env"]["env_vars"]
    assert made["NCCL_IB_HCA"] == "mlx5" and made["TORCH_NCCL_ASYNC_ERROR_HANDLING"] == "1"
    assert made["NCCL_DEBUG"] == "own" and made["DS_ACCELERATOR"] == "cpu"
