"""The typed configuration of a run: every setting with its default, what it does and which values are right.

`explore-rl train --fields` prints them all, and the checks (checks.py) are loops over them. A new setting is one
line here. A recipe (configs/**/*.yaml) is merged over these defaults (loading.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from explore_rl.config.setting import Setting, setting, settings_of
from explore_rl.types import VERIFIER_MEMORY_MB, VERIFIER_TIME_S

LEAST_TEMPERATURE = 0.01  # vLLM draws at it where less is asked for


@dataclass
class ModelConfig:
    path: str = setting(
        "lab:base", "a Hugging Face checkpoint folder, a model by name (lab:base; smollm2-135m), or a name of the hub"
    )
    dtype: str = setting("float32", "of learner and engines", choices=("float32", "bfloat16"))
    template: str = setting(
        "none", "prompt template: chat | qwen-boxed | r1 | plain | none | line | a file with a {prompt} slot"
    )
    max_prompt_tokens: int = setting(512, "of a prompt with its template; a longer one is an error, never cut", least=1)
    attention: str = setting(
        "sdpa",
        "attention of the learner; flash_attention_2 wants GPUs and a flash-attn installed by hand",
        choices=("sdpa", "flash_attention_2", "eager"),
    )


@dataclass
class ProblemsConfig:
    train: str | None = setting(None, "problem file or spec to train on; every recipe names its own")
    heldout: str | None = setting(None, "problems of the pass@k evaluation during training; null: none", harmless=True)
    format: str | None = setting(
        None, "adapter of the training file by name; null: found from its columns (held-out files always are)"
    )
    limit: int | None = setting(None, "only the first so many training problems", least=1)


@dataclass
class DevicesConfig:
    device: str = setting("auto", "auto: cuda where there is a GPU", choices=("auto", "cpu", "cuda"))
    colocate: bool = setting(
        False, "engines and ranks share the same GPUs, vLLM sleeping while the learner works (CUDA only)"
    )
    offload_learner: bool = setting(
        False,
        "with devices.colocate: weights, gradients and optimizer of the ranks in CPU memory while engines draw"
        " (learner.zero_stage 1 or 2)",
    )
    ray_address: str = setting(
        "local", "local: a cluster of this process's own; auto: join the cluster that `ray start` made (multi-node)"
    )
    start_timeout_s: float = setting(300.0, "how long to wait for actors to be placed and to load", least=1.0)
    step_timeout_s: float = setting(3600.0, "how long any one stage of a step may take in all", least=1.0)
    stall_timeout_s: float = setting(
        45.0, "an actor that neither answers nor makes progress for so long is stuck", least=1.0
    )


@dataclass
class RolloutConfig:
    actors: int = setting(1, "rollout actors, one vLLM engine each", least=1, harmless=True)
    base_actors: int = setting(
        1, "engines with the frozen base, started only if a strategy needs them", least=1, harmless=True
    )
    tensor_parallel: int = setting(1, "GPUs of one engine (CUDA only)", least=1)
    temperature: float = setting(
        1.0,
        "sampling temperature of training; engine log-probabilities are at it",
        least=LEAST_TEMPERATURE,
        why="greedy decoding has no gradient, and vLLM draws at 0.01 where less is asked for",
    )
    top_p: float = setting(
        1.0,
        "nucleus that training samples from",
        least=1.0,
        most=1.0,
        why="the trainer's log-probabilities are not renormalised over a nucleus, so ratios would be biased",
    )
    max_new_tokens: int = setting(32, "response budget", least=1)
    stop: list[str] = setting([], "stop strings, besides the end token", example="['###']")
    streaming: bool = setting(
        False, "engines draw without a pause, and get new weights while completions are half drawn; run.max_staleness"
    )
    max_num_seqs: int = setting(512, "sequences an engine decodes at once", least=1, harmless=True)
    gpu_memory_utilization: float = setting(
        0.85,
        "share of a GPU's memory for an engine (less when co-located)",
        above=0.0,
        most=1.0,
        device="cuda",
        harmless=True,
    )
    kv_cache_gib: float = setting(
        1.0, "key-value cache of an engine on the CPU", least=0.1, device="cpu", harmless=True
    )
    threads: int = setting(1, "CPU threads of an engine (CPU only)", least=1, device="cpu", harmless=True)
    enforce_eager: bool = setting(
        True, "no CUDA graphs: slower to decode, faster to start", device="cuda", harmless=True
    )
    engine: dict[str, Any] = setting(
        {}, "further arguments of vLLM's engine, passed on as they are: {max_num_batched_tokens: 16384}"
    )


@dataclass
class LearnerConfig:
    ranks: int = setting(1, "DeepSpeed ranks, one GPU each", least=1, harmless=True)
    zero_stage: int = setting(
        0,
        "what DeepSpeed shards: 1 optimizer states, 2 gradients too, 3 parameters too",
        choices=(0, 1, 2, 3),
        harmless=True,
    )
    offload_optimizer: bool = setting(False, "optimizer states in CPU memory")
    activation_checkpointing: bool = setting(False, "recompute activations in the backward pass", harmless=True)
    optimizer: str = setting("adamw", "sgd is plain, without state", choices=("adamw", "sgd"))
    learning_rate: float = setting(1e-6, "of the optimizer, after the warm-up", least=0.0)
    critic_learning_rate: float = setting(
        1e-5, "the same for a critic, where a strategy has one; its schedule has the policy's shape", least=0.0
    )
    betas: list[float] = setting([0.9, 0.999], "AdamW's, for the two moments", least=0.0, below=1.0)
    weight_decay: float = setting(0.0, "decoupled, on all parameters", least=0.0)
    schedule: str = setting(
        "constant", "of the learning rate, after the warm-up", choices=("constant", "cosine", "linear")
    )
    warmup_steps: int = setting(0, "optimizer steps in which the learning rate grows from 0", least=0)
    min_learning_rate: float = setting(0.0, "where cosine and linear end", least=0.0)
    max_grad_norm: float = setting(1.0, "global norm; 0: no clipping", least=0.0)
    micro_batch_tokens: int = setting(
        16384, "tokens (padding included) of one forward and backward pass", least=1, harmless=True
    )
    packing: bool = setting(True, "several sequences in one row of a micro-batch instead of padding", harmless=True)
    share_prompts: bool = setting(
        True, "sequences with one prompt compute it once (only with sdpa attention, no sliding window)", harmless=True
    )
    threads: int = setting(
        1, "CPU threads of a rank (on the CPU, and for learner.offload_optimizer)", least=1, device="cpu", harmless=True
    )
    lora: dict[str, Any] | None = setting(
        None,
        "adapters are trained in place of the weights: {rank: 16, alpha: 32, targets: [q_proj, v_proj]} (alpha: twice"
        " the rank, targets: every linear layer, unless given); null: off",
    )
    deepspeed: dict[str, Any] = setting(
        {}, "further settings of DeepSpeed, passed on as they are: {zero_optimization: {zero_hpz_partition_size: 8}}"
    )


@dataclass
class AlgorithmConfig:
    prompts_per_step: int = setting(16, "groups of a step", least=1)
    group_size: int = setting(16, "samples of a group; 1 for strategies that compare none", least=1)
    minibatches: int = setting(
        1, "optimizer updates per batch of rollouts; mini-batches are whole groups, fixed globally", least=1
    )
    epochs: int = setting(1, "passes over the same rollouts", least=1)
    advantage: str = setting("grpo", "how rewards of a group become advantages", choices=("grpo", "dr_grpo", "rloo"))
    divide_by_std: bool | None = setting(None, "null: as the advantage's paper has it (grpo yes, dr_grpo and rloo no)")
    loss: str = setting(
        "ppo_clip", "of the policy gradient: a name in objectives/losses.py, or module:function that returns a Loss"
    )
    loss_options: dict[str, Any] = setting({}, "parameters of the loss, by name")
    clip_low: float = setting(
        0.2, "ratio clipped to [1 - clip_low, 1 + clip_high]", least=0.0, below=1.0, why="the ratio is never negative"
    )
    clip_high: float = setting(0.2, "DAPO's clip-higher is .28", least=0.0)
    dual_clip: float | None = setting(
        None,
        "the loss of a token with advantage A < 0 is at most -dual_clip x A (3 in its paper); null: no such cap",
        above=1.0,
        why="else a ratio of 1 would be capped",
    )
    clip: bool = setting(True, "false: no clipping of the ratio, as LUFFY")
    aggregation: str = setting(
        "token",
        "token: mean over all tokens of the mini-batch; sequence: mean of sequence means; "
        "constant: sum / (sequences x max_new_tokens)",
        choices=("token", "sequence", "constant"),
    )
    kl: str = setting("none", "estimator of KL(policy, base); none: no KL", choices=("none", "k1", "k2", "k3"))
    kl_coefficient: float = setting(0.0, "multiplies the KL", least=0.0)
    kl_place: str = setting("loss", "KL in the loss, or taken off the reward", choices=("loss", "reward"))
    entropy_coefficient: float = setting(0.0, "bonus on the full-vocabulary token entropy, in the loss")
    dynamic_sampling_rounds: int = setting(
        0, "DAPO: groups without signal are drawn again with new prompts, at most so many rounds", least=0
    )
    importance_cap: float | None = setting(
        2.0, "truncated importance sampling between engine and trainer (per token); null: off", least=1.0
    )
    old_logprob: str = setting(
        "auto",
        "log-probabilities before the update: read by the learner (score), the engine's (engine), or the update's own "
        "(none); auto: none with one update a batch where nothing reads them beforehand, else score",
        choices=("auto", "score", "engine", "none"),
    )
    mask_truncated: bool = setting(False, "DAPO's overlong filter: truncated samples teach nothing")


@dataclass
class RewardsConfig:
    no_answer: float = setting(0.0, "reward of a completion without an answer")
    timeout: float | None = setting(None, "null: the sample leaves its group")
    error: float | None = setting(
        None, "null: the sample leaves its group; 0 is refused: an error is never a reward of 0"
    )
    min_group: int = setting(2, "a group with fewer rewarded samples is dropped (and counted)", least=1)


@dataclass
class VerifierConfig:
    workers: int | None = setting(None, "processes; null: as many as cores", least=1, harmless=True)
    time_limit_s: float = setting(VERIFIER_TIME_S, "wall clock of one item", least=0.01, harmless=True)
    memory_limit_mb: int = setting(VERIFIER_MEMORY_MB, "of one worker", least=64, harmless=True)
    options: dict[str, Any] = setting({}, "verifier name -> its options")


@dataclass
class RunConfig:
    steps: int = setting(100, "training steps", least=1)
    ahead: int = setting(
        0,
        "1: the next batch is drawn and verified while this one is learnt, with weights one version old; 0: afterwards",
        choices=(0, 1),
    )
    max_staleness: int = setting(
        1,
        "with rollout.streaming: versions by which weights may be older that drew a token than those that learn from"
        " it; so many batches are drawn beside the one that is learnt",
        least=1,
        why="0 is rollout.streaming=false",
    )
    output: str = setting(
        "runs/${name}-seed${seed}", "the run folder; ${name} and ${seed} stand for the settings above"
    )
    checkpoint_every: int = setting(50, "steps; the last step is always saved", least=1)
    checkpoint_minutes: float | None = setting(
        None,
        "a checkpoint also after the first step that ends so long after the last one; null: by steps alone",
        above=0.0,
    )
    keep_checkpoints: int = setting(2, "the last n", least=1)
    portable_checkpoints: bool = setting(
        False,
        "each checkpoint also holds float32 weights and moments by name, 12 bytes a parameter more, from which a run"
        " goes on with other learner.ranks or learner.zero_stage",
        harmless=True,
    )
    evaluate_every: int = setting(
        0, "steps between pass@k evaluations on the held-out problems; 0: none", least=0, harmless=True
    )
    evaluate_samples: int = setting(16, "per held-out problem", least=1, harmless=True)
    evaluations: list[Any] = setting(
        [],
        "further sets of problems, each with its own draws: a list of {name, problems, n, temperature, top_p, "
        "max_new_tokens, verifier, every}; docs/evaluation.md",
        example="[{name: aime24, problems: aime24.jsonl, n: 32, every: 50}]",
        harmless=True,
    )
    exact_every: int = setting(0, "laboratory only: steps between exact audits; 0: none", least=0, harmless=True)
    exact_problems: str = setting("lab:countdown?level=3&split=audit&size=500", "what the exact audits are made on")
    tracker: str = setting("none", "besides metrics.jsonl", choices=("none", "wandb", "trackio", "tensorboard"))
    max_bad_steps: int = setting(
        3, "steps in a row with a loss or gradient that is not finite before the run stops", least=1, harmless=True
    )
    max_silent_steps: int = setting(
        20, "steps in a row in which no group has signal before the run stops", least=1, harmless=True
    )


@dataclass
class TrackingConfig:
    project: str | None = setting(None, "of wandb or trackio; null: WANDB_PROJECT, else explore-rl")
    entity: str | None = setting(None, "wandb's team or user; null: WANDB_ENTITY, else wandb's own default")
    group: str | None = setting(None, "runs that belong together; null: WANDB_RUN_GROUP, else the run's name")
    run_name: str | None = setting(None, "how the run is shown; null: WANDB_NAME, else name-seedN")
    tags: list[str] = setting([], "of the run; WANDB_TAGS besides", example="[first-try]")
    rollouts: int = setting(0, "rollouts of a step shown as a table, at every checkpoint; 0: none", least=0)


@dataclass
class Config:
    name: str = setting("grpo", "of the method; part of the run folder")
    seed: int = setting(0, "of everything random in the run")
    model: ModelConfig = field(default_factory=ModelConfig)
    problems: ProblemsConfig = field(default_factory=ProblemsConfig)
    devices: DevicesConfig = field(default_factory=DevicesConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    verifiers: VerifierConfig = field(default_factory=VerifierConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    strategies: list[Any] = setting(
        [],
        "exploration: a list of {name: ..., parameters}; empty: plain GRPO",
        example="[{name: trace_injection, rate: 0.25}]",
    )
    run: RunConfig = field(default_factory=RunConfig)


@cache
def all_settings() -> dict[str, Setting]:
    """Every setting by its dotted name, in the order of this file."""
    return dict(settings_of(Config))
