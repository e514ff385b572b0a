"""The typed configuration of a run. The comment behind a field is its documentation; `explore-rl train --fields` prints them all.

A recipe (configs/**/*.yaml) is merged over these defaults, and over the recipe its key `base` names; then `key=value` overrides over that. Unknown keys are refused with the
nearest right one; options without effect under the chosen recipe are refused (`check`) or warned about (`warnings`).
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from analysis.errors import InputError

# --- sections ---------------------------------------------------------------------------------------------------------


@dataclass
class ModelConfig:
    path: str = "lab:base"  # a Hugging Face checkpoint folder; "lab:base" is the embedded base model
    dtype: str = "float32"  # of learner and engines: float32 | bfloat16
    template: str = "none"  # prompt template: chat | qwen-boxed | r1 | plain | none | a file with a {prompt} slot
    max_prompt_tokens: int = 512  # a longer prompt is an error, never cut
    attention: str = "sdpa"  # attention of the learner: sdpa | flash_attention_2 (GPUs; install flash-attn yourself) | eager


@dataclass
class ProblemsConfig:
    train: str = "lab:countdown?level=3&split=train"  # problem file or spec to train on
    heldout: str | None = "lab:countdown?level=3&split=heldout&size=100"  # problems of the pass@k evaluation during training; null: none
    format: str | None = None  # adapter of the training file by name; null: found from its columns (held-out files always are)
    limit: int | None = None  # only the first so many training problems


@dataclass
class DevicesConfig:
    device: str = "auto"  # cpu | cuda | auto: cuda where there is a GPU
    colocate: bool = False  # engines and ranks share the same GPUs, vLLM sleeping while the learner works (CUDA only)
    ray_address: str = "local"  # local: a cluster of this process's own; auto: join the cluster that `ray start` made (multi-node)
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
    share_prompts: bool = True  # sequences with one prompt compute it once (only with sdpa attention, no sliding window)
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
    dynamic_sampling_rounds: int = 0  # DAPO: groups without signal are drawn again with new prompts, at most so many rounds
    importance_cap: float | None = 2.0  # truncated importance sampling between engine and trainer (per token); null: off
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
    strategies: list[Any] = field(default_factory=list)  # exploration: a list of {name: ..., parameters}; empty: plain GRPO
    run: RunConfig = field(default_factory=RunConfig)


# --- reading ----------------------------------------------------------------------------------------------------------

# What OmegaConf and YAML raise for text that is no setting: TypeError where containers do not fit, IndexError for a key like "[".
UNREADABLE = (OmegaConfBaseException, yaml.YAMLError, TypeError, ValueError, IndexError)


def load_config(recipe: str | Path | None, overrides: list[str] = ()) -> Config:
    """Defaults <- recipe <- overrides ("learner.ranks=2"), checked. Raises InputError that names file, key and the nearest right key."""
    merged = OmegaConf.structured(Config)
    layers = _recipe_layers(Path(recipe), ()) if recipe is not None else []
    where = str(recipe) if recipe else "config"
    try:
        for override in overrides:
            where = f"override {override!r}"
            layers.append((where, _override(override)))
        for where, layer in layers:
            if not isinstance(layer, DictConfig):
                raise InputError(f"{where}: expected a mapping of settings at the top level, got a list")
            _refuse_unknown(layer, Config, where)
            if missing := OmegaConf.missing_keys(layer):
                raise InputError(f"{where}: {min(missing)}: ??? stands for a value yet to be given; give one")
            merged = OmegaConf.merge(merged, layer)
        where = str(recipe) if recipe else "config"
        config: Config = OmegaConf.to_object(merged)
    except UNREADABLE as error:
        key = getattr(error, "full_key", None)
        raise InputError(f"{where}: " + (f"{key}: " if key else "") + _one_line(error)) from None
    check(config, where)
    return config


def _override(text: str) -> DictConfig:
    if "=" not in text:
        raise InputError(f"override {text!r}: expected key=value, for example learner.ranks=2")
    return OmegaConf.from_dotlist([text])


def _recipe_layers(path: Path, below: tuple[Path, ...]) -> list[tuple[str, Any]]:
    """The recipe at `path` after the one that its `base` key names (relative to it), as (where, settings)."""
    if not path.is_file():
        raise InputError(f"{path}: no such recipe; see configs/ for the ones that come with the project")
    if path.resolve() in below:
        raise InputError(f"{path}: base: recipes name each other in a circle")
    try:
        layer = OmegaConf.load(path)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, OSError) as error:
        raise InputError(f"{path}: not readable as YAML: {_one_line(error)}") from None
    if isinstance(layer, DictConfig) and "base" in layer:
        base = layer.pop("base")
        return _recipe_layers(path.parent / str(base), (*below, path.resolve())) + [(str(path), layer)]
    return [(str(path), layer)]


def to_yaml(config: Config) -> str:
    return OmegaConf.to_yaml(OmegaConf.structured(config), resolve=True)


def _one_line(error: object) -> str:
    """OmegaConf's and YAML's messages go over several lines; the ones that repeat key and type are left out."""
    hidden = ("full_key", "object_type", "reference_type")
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip() and not line.strip().startswith(hidden))


def _refuse_unknown(layer: DictConfig, schema: type, where: str, prefix: str = "") -> None:
    known = {f.name: f for f in fields(schema)}
    for key in layer:
        if key not in known:
            everywhere = list(field_docs())
            nearest = difflib.get_close_matches(f"{prefix}{key}", everywhere, n=1, cutoff=0.5) or [
                name for name in everywhere if name.split(".")[-1] == str(key)
            ]
            hint = f"; did you mean {nearest[0]}?" if nearest else f"; known here: {', '.join(known)}"
            raise InputError(f"{where}: unknown key {_one_line(f'{prefix}{key}')}{hint}")
        section = known[key].default_factory if callable(known[key].default_factory) else None
        value = layer._get_node(key)
        if callable(section) and isinstance(section(), list) and isinstance(value, DictConfig):
            raise InputError(f"{where}: {prefix}{key} is a list, given as a whole: expected [...], got {OmegaConf.to_container(value)}")
        if isinstance(section, type) and is_dataclass(section):
            if not isinstance(value, DictConfig):
                raise InputError(f"{where}: {prefix}{key} is a section: expected a mapping, got {value}")
            _refuse_unknown(value, section, where, f"{prefix}{key}.")


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


# --- what makes sense -------------------------------------------------------------------------------------------------

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
            refuse(key, f"expected one of {', '.join(map(str, choices))}" + (f"; did you mean {near[0]}?" if near else ""))
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
        refuse("algorithm.minibatches", f"must divide algorithm.prompts_per_step={a.prompts_per_step}: mini-batches are whole groups")
    if a.kl != "none" and a.kl_coefficient == 0:
        refuse("algorithm.kl_coefficient", f"algorithm.kl={a.kl} has no effect with a coefficient of 0; set one, or algorithm.kl=none")
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
        refuse("learner.zero_stage", "DeepSpeed keeps no fp32 accumulation for bfloat16 at stage 0; use stage 1, 2 or 3")
    if config.model.attention == "flash_attention_2" and config.model.dtype == "float32":
        refuse("model.attention", "flash attention computes in half precision only; set model.dtype=bfloat16, or model.attention=sdpa")
    if not 0 < r.gpu_memory_utilization <= 1:
        refuse("rollout.gpu_memory_utilization", "expected in (0, 1]")
    for i, strategy in enumerate(config.strategies):
        if not isinstance(strategy, dict) or not isinstance(strategy.get("name"), str):
            raise InputError(
                f"{where}: strategies[{i}]: expected a mapping with a name, for example {{name: trace_injection}}, got {strategy!r}"
            )


def warnings(config: Config) -> list[str]:
    """Settings that cannot act under this config, one line each: what a user may take for a change and is none."""
    # Strategies and devices read configs, so that they can only be imported here.
    from explore_rl import devices, strategies

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
    here = devices.resolve(config) if config.devices.device == "auto" else config.devices.device
    for device, key in OF_ONE_DEVICE:
        if changed(key) and device != here and not (key == "learner.threads" and config.learner.offload_optimizer):
            warn(key, f"it is for {'GPUs' if device == 'cuda' else 'the CPU'}, and the run is on {'GPUs' if here == 'cuda' else 'the CPU'}")
    if changed("rollout.base_actors") and not any(s.needs(config).base_engine for s in strategies.make(config.strategies)):
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
