"""The typed configuration of a run. The comment behind a field is its documentation; `explore-rl train --fields` prints them all.

A recipe (configs/**/*.yaml) is merged over these defaults, and over the recipe its key `base` names; then `key=value` overrides over that. Unknown keys are refused with the
nearest right one; options without effect under the chosen recipe are refused (`check`) or warned about (`warnings`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any

# --- sections ---------------------------------------------------------------------------------------------------------


@dataclass
class ModelConfig:
    path: str = "lab:base"  # a Hugging Face checkpoint folder; "lab:base" is the embedded base model
    dtype: str = "float32"  # of learner and engines: float32 | bfloat16
    template: str = "none"  # prompt template: chat | qwen-boxed | r1 | plain | none | a file with a {prompt} slot
    max_prompt_tokens: int = 512  # a longer prompt is an error, never cut
    attention: str = (
        "sdpa"  # attention of the learner: sdpa | flash_attention_2 (GPUs; install flash-attn yourself) | eager
    )


@dataclass
class ProblemsConfig:
    train: str = "lab:countdown?level=3&split=train"  # problem file or spec to train on
    heldout: str | None = (
        "lab:countdown?level=3&split=heldout&size=100"  # problems of the pass@k evaluation during training; null: none
    )
    format: str | None = (
        None  # adapter of the training file by name; null: found from its columns (held-out files always are)
    )
    limit: int | None = None  # only the first so many training problems


@dataclass
class DevicesConfig:
    device: str = "auto"  # cpu | cuda | auto: cuda where there is a GPU
    colocate: bool = False  # engines and ranks share the same GPUs, vLLM sleeping while the learner works (CUDA only)
    ray_address: str = (
        "local"  # local: a cluster of this process's own; auto: join the cluster that `ray start` made (multi-node)
    )
    start_timeout_s: float = 300.0  # how long to wait for actors to be placed and to load
    step_timeout_s: float = 3600.0  # how long any one stage of a step may take in all
    stall_timeout_s: float = 45.0  # an actor that neither answers nor makes progress for so long is stuck


@dataclass
class RolloutConfig:
    actors: int = 1  # rollout actors, one vLLM engine each
    base_actors: int = 1  # engines with the frozen base, started only if a strategy needs them
    tensor_parallel: int = 1  # GPUs of one engine (CUDA only)
    temperature: float = 1.0  # sampling temperature of training; engine log-probabilities are at it
    top_p: float = 1.0  # refused below 1 in training: the trainer does not renormalise over the nucleus
    max_new_tokens: int = 32  # response budget
    stop: list[str] = field(default_factory=list)  # stop strings, besides the end token
    max_num_seqs: int = 512  # sequences an engine decodes at once
    gpu_memory_utilization: float = 0.85  # share of a GPU's memory for an engine (less when co-located)
    kv_cache_gib: float = 1.0  # key-value cache of an engine on the CPU
    threads: int = 1  # CPU threads of an engine (CPU only)
    enforce_eager: bool = True  # no CUDA graphs: slower to decode, faster to start


@dataclass
class LearnerConfig:
    ranks: int = 1  # DeepSpeed ranks, one GPU each
    zero_stage: int = 0  # 0 | 1 | 2 | 3
    offload_optimizer: bool = False  # optimizer states in CPU memory
    activation_checkpointing: bool = False  # recompute activations in the backward pass
    optimizer: str = "adamw"  # adamw | sgd (plain, without state)
    learning_rate: float = 1e-6
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    weight_decay: float = 0.0
    schedule: str = "constant"  # constant | cosine | linear, after the warm-up
    warmup_steps: int = 0  # optimizer steps
    min_learning_rate: float = 0.0  # where cosine and linear end
    max_grad_norm: float = 1.0  # global norm; 0: no clipping
    micro_batch_tokens: int = 16384  # tokens (padding included) of one forward and backward pass
    packing: bool = True  # several sequences in one row of a micro-batch instead of padding
    share_prompts: bool = (
        True  # sequences with one prompt compute it once (only with sdpa attention, no sliding window)
    )
    threads: int = 1  # CPU threads of a rank (on the CPU, and for learner.offload_optimizer)


@dataclass
class AlgorithmConfig:
    prompts_per_step: int = 16  # groups of a step
    group_size: int = 16  # samples of a group
    minibatches: int = 1  # optimizer updates per batch of rollouts; mini-batches are whole groups, fixed globally
    epochs: int = 1  # passes over the same rollouts
    advantage: str = "grpo"  # grpo | dr_grpo | rloo
    divide_by_std: bool | None = None  # null: as the advantage's paper has it (grpo yes, dr_grpo and rloo no)
    clip_low: float = 0.2  # ratio clipped to [1 - clip_low, 1 + clip_high]
    clip_high: float = 0.2  # DAPO's clip-higher is .28
    clip: bool = True  # false: no clipping of the ratio, as LUFFY
    aggregation: str = "token"  # token: mean over all tokens of the mini-batch | sequence: mean of sequence means | constant: sum / (sequences x max_new_tokens)
    kl: str = "none"  # none | k1 | k2 | k3, against the reference
    kl_coefficient: float = 0.0
    kl_place: str = "loss"  # loss | reward
    entropy_coefficient: float = 0.0  # bonus on the full-vocabulary token entropy, in the loss
    dynamic_sampling_rounds: int = (
        0  # DAPO: groups without signal are drawn again with new prompts, at most so many rounds
    )
    importance_cap: float | None = (
        2.0  # truncated importance sampling between engine and trainer (per token); null: off
    )
    mask_truncated: bool = False  # DAPO's overlong filter: truncated samples teach nothing


@dataclass
class RewardsConfig:
    no_answer: float = 0.0  # reward of a completion without an answer
    timeout: float | None = None  # null: the sample leaves its group
    error: float | None = None  # null: the sample leaves its group; 0 is refused: an error is never a reward of 0
    min_group: int = 2  # a group with fewer rewarded samples is dropped (and counted)


@dataclass
class VerifierConfig:
    workers: int | None = None  # processes; null: as many as cores
    time_limit_s: float = 10.0  # wall clock of one item
    memory_limit_mb: int = 2048  # of one worker
    options: dict[str, Any] = field(default_factory=dict)  # verifier name -> its options


@dataclass
class RunConfig:
    steps: int = 100
    output: str = "runs/${name}-seed${seed}"
    checkpoint_every: int = 50  # steps; the last step is always saved
    keep_checkpoints: int = 2  # the last n
    evaluate_every: int = 0  # steps between pass@k evaluations on the held-out problems; 0: none
    evaluate_samples: int = 16  # per held-out problem
    exact_every: int = 0  # laboratory only: steps between exact audits; 0: none
    exact_problems: str = "lab:countdown?level=3&split=audit&size=500"  # what the exact audits are made on
    tracker: str = "none"  # wandb | tensorboard | none, besides metrics.jsonl
    max_bad_steps: int = 3  # steps in a row with a loss or gradient that is not finite before the run stops
    max_silent_steps: int = 20  # steps in a row in which no group has signal before the run stops


@dataclass
class Config:
    name: str = "grpo"
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    problems: ProblemsConfig = field(default_factory=ProblemsConfig)
    devices: DevicesConfig = field(default_factory=DevicesConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    verifiers: VerifierConfig = field(default_factory=VerifierConfig)
    strategies: list[Any] = field(
        default_factory=list
    )  # exploration: a list of {name: ..., parameters}; empty: plain GRPO
    run: RunConfig = field(default_factory=RunConfig)


@cache
def field_docs() -> dict[str, tuple[Any, str]]:
    """Every setting: dotted name -> (default, its comment in this file)."""
    import inspect

    docs: dict[str, tuple[Any, str]] = {}

    def walk(schema: type, prefix: str) -> None:
        source = inspect.getsource(schema).splitlines()
        comments = {}
        for line in source:
            name, _, rest = line.strip().partition(":")
            if name.isidentifier() and "#" in rest:
                comments[name] = rest.partition("  # ")[2]
        for f in fields(schema):
            if isinstance(f.default_factory, type) and is_dataclass(f.default_factory):
                walk(f.default_factory, f"{prefix}{f.name}.")
            else:
                default = f.default_factory() if callable(f.default_factory) else f.default
                docs[prefix + f.name] = (default, comments.get(f.name, ""))

    walk(Config, "")
    return docs
