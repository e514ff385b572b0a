"""What makes sense: values without meaning are refused, settings without effect are warned about."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterator
from typing import Any

from analysis.errors import InputError
from explore_rl.config.lora import read_lora
from explore_rl.config.passed_on import refused
from explore_rl.config.schema import Config, all_settings
from explore_rl.lab.names import is_final

LARGEST = 2**53  # no count is larger, and whoever takes the number after us may hold it in 64 bits or as a float

# What others call a choice of ours, where the most alike of the choices is another one.
OTHER_WORDS = {
    "gpu": "cuda",
    "nvidia": "cuda",
    "fp32": "float32",
    "bf16": "bfloat16",
    "flash_attn": "flash_attention_2",
}

Findings = Iterator[tuple[str, str]]  # the setting's dotted name, and why it is refused or warned about


def check(config: Config, where: str) -> None:
    """Raises InputError for the first setting that is out of range or has no meaning beside the others.

    where: the file or override that is named in the message.
    """
    checks = (_values, _algorithm, _rollout, _verifiers, _learner, _evaluation, _ahead, _offload, _passed_on, _final)
    for key, why in itertools.chain.from_iterable(one(config) for one in checks):
        raise InputError(f"{where}: {key}={value_of(config, key)!r}: {why}")
    for i, strategy in enumerate(config.strategies):
        if not isinstance(strategy, dict) or not isinstance(strategy.get("name"), str):
            raise InputError(
                f"{where}: strategies[{i}]: expected a mapping with a name, for example {{name: trace_injection}}, "
                f"got {strategy!r}"
            )


def value_of(config: Config, dotted: str) -> Any:
    """The value of a setting by its dotted name."""
    value: Any = config
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


# --- refused ----------------------------------------------------------------------------------------------------------


def _values(config: Config) -> Findings:
    """Each value for itself: among its choices, finite, within its bounds."""
    for key, known in all_settings().items():
        value = value_of(config, key)
        if known.choices and value not in known.choices:
            named = OTHER_WORDS.get(str(value).lower(), str(value))
            near = difflib.get_close_matches(named, [str(c) for c in known.choices], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield key, f"expected one of {', '.join(map(str, known.choices))}{hint}"
        if isinstance(value, str) and "\0" in value:
            yield key, "text without a NUL character is expected"
        if isinstance(value, float) and not math.isfinite(value):
            yield key, "expected a finite number"
        if isinstance(value, int) and abs(value) > LARGEST:
            yield key, f"expected a whole number of at most {LARGEST}"
        if not known.allows(value):
            yield key, f"expected {known.allowed}" + (f": {known.why}" if known.why else "")


def _algorithm(config: Config) -> Findings:
    algorithm = config.algorithm
    if algorithm.prompts_per_step % algorithm.minibatches:
        must = f"must divide algorithm.prompts_per_step={algorithm.prompts_per_step}"
        yield "algorithm.minibatches", f"{must}: mini-batches are whole groups"
    if algorithm.kl != "none" and algorithm.kl_coefficient == 0:
        alone = f"algorithm.kl={algorithm.kl} has no effect with a coefficient of 0"
        yield "algorithm.kl_coefficient", f"{alone}; set one, or algorithm.kl=none"
    if algorithm.kl == "none" and algorithm.kl_coefficient != 0:
        yield "algorithm.kl_coefficient", "has no effect with algorithm.kl=none; choose k2 or k3"
    if algorithm.kl == "k1" and algorithm.kl_place == "loss":
        instead = "use k2 or k3, or algorithm.kl_place=reward"
        yield "algorithm.kl", f"k1 in the loss has zero expected gradient; {instead}"
    clipping = {"clip_low": 0.2, "clip_high": 0.2, "clip": True, "dual_clip": None}
    for key, default in clipping.items():
        if algorithm.loss != "ppo_clip" and getattr(algorithm, key) != default:
            yield f"algorithm.{key}", f"has no effect with algorithm.loss={algorithm.loss}; see algorithm.loss_options"
    if config.rewards.min_group > algorithm.group_size:
        above = f"above algorithm.group_size={algorithm.group_size}"
        yield "rewards.min_group", f"{above}: every group would be dropped"
    if config.rewards.error == 0:
        yield (
            "rewards.error",
            "an error is never a reward of 0, it says nothing about the completion; null leaves the sample out of "
            "its group",
        )


def _rollout(config: Config) -> Findings:
    if "" in config.rollout.stop:
        yield "rollout.stop", "an empty stop string would end every completion before it begins"


def _verifiers(config: Config) -> Findings:
    if not all(isinstance(given, dict | None) for given in config.verifiers.options.values()):
        yield "verifiers.options", "expected a mapping of options for each verifier, such as {math: {extract: boxed}}"


def _learner(config: Config) -> Findings:
    learner = config.learner
    model = config.model
    # The schedule goes from the rate down to the minimum: it cannot rise, and a constant one never gets there.
    if learner.min_learning_rate > learner.learning_rate:
        yield "learner.min_learning_rate", f"above learner.learning_rate={learner.learning_rate}"
    if learner.schedule == "constant" and learner.min_learning_rate:
        yield "learner.min_learning_rate", "has no effect with learner.schedule=constant"
    if len(learner.betas) != 2:
        yield "learner.betas", "expected two numbers"
    # SGD is plain here, without momentum: nothing of it would read the betas.
    if learner.optimizer == "sgd" and learner.betas != all_settings()["learner.betas"].default:
        yield "learner.betas", "has no effect with learner.optimizer=sgd"
    # What DeepSpeed has no path for is refused before any rank starts.
    if learner.offload_optimizer and learner.zero_stage == 0:
        yield (
            "learner.offload_optimizer",
            "DeepSpeed offloads optimizer states at learner.zero_stage 1, 2 or 3 only",
        )
    if learner.zero_stage == 0 and model.dtype == "bfloat16":
        yield (
            "learner.zero_stage",
            "DeepSpeed keeps no fp32 accumulation for bfloat16 at stage 0; use stage 1, 2 or 3",
        )
    # The form alone is judged here: the model, and so whether it has such layers, is not known yet.
    try:
        read_lora(learner.lora)
    except ValueError as error:
        yield "learner.lora", str(error)
    if model.attention == "flash_attention_2" and model.dtype == "float32":
        yield (
            "model.attention",
            "flash attention computes in half precision only; set model.dtype=bfloat16, or model.attention=sdpa",
        )


def _offload(config: Config) -> Findings:
    key = "devices.offload_learner"
    if not config.devices.offload_learner:
        return
    if not config.devices.colocate:
        yield key, "makes room for engines on the same GPUs; set devices.colocate=true, or leave it out"
    if config.learner.zero_stage == 0:
        yield key, "DeepSpeed moves states at learner.zero_stage 1 and 2 only"
    if config.learner.zero_stage == 3:
        yield (
            key,
            "at learner.zero_stage=3 DeepSpeed moves the states of its own FusedAdam only, and the optimizer here is"
            " PyTorch's; use stage 1 or 2",
        )
    if config.learner.offload_optimizer:
        yield key, "learner.offload_optimizer keeps the optimizer in CPU memory already; set one of the two"


def _final(config: Config) -> Findings:
    """The laboratory's split `final` is audited once, after everything is chosen: no run may look at it."""
    for key in ("problems.train", "problems.heldout", "run.exact_problems"):
        if is_final(value_of(config, key)):
            yield (
                key,
                "the split final is kept for the last audit, which no choice has seen (explore-rl lab exact MODEL"
                " --split final); use train, heldout or audit",
            )


def _evaluation(config: Config) -> Findings:
    if config.run.evaluate_every and not config.problems.heldout:
        yield (
            "run.evaluate_every",
            "there is nothing to evaluate on; set problems.heldout, or run.evaluate_every=0",
        )


def _ahead(config: Config) -> Findings:
    beside = "draws while the learner works, and with devices.colocate=true the engines sleep then; give them GPUs of"
    if config.run.ahead and config.devices.colocate:
        yield "run.ahead", f"{beside} their own, or set run.ahead=0"
    if config.rollout.streaming and config.devices.colocate:
        yield "rollout.streaming", f"{beside} their own, or set rollout.streaming=false"
    if config.rollout.streaming and config.run.ahead:
        yield "run.ahead", "rollout.streaming draws ahead already, by run.max_staleness batches; set one of the two"
    if config.rollout.streaming and config.rollout.engine.get("scheduling_policy", "priority") != "priority":
        yield "rollout.engine", "rollout.streaming needs scheduling_policy=priority and sets it; leave it out"


def _passed_on(config: Config) -> Findings:
    yield from refused(config.learner.deepspeed, config.rollout.engine)


# --- without effect ---------------------------------------------------------------------------------------------------


def warnings(config: Config, device: str, *, draws_from_base: bool) -> list[str]:
    """Settings that cannot act under this config, one line each: what a user may take for a change and is none.

    device: "cpu" or "cuda", where the run will be.
    draws_from_base: whether a strategy needs base engines.
    """
    settings = all_settings()
    changed = {key for key, known in settings.items() if value_of(config, key) != known.default}
    silent = itertools.chain(
        _without_updates(config, changed),
        _of_the_other_device(config, changed, device=device),
        _without_use(config, changed, draws_from_base=draws_from_base),
    )
    lines = [f"{key}={value_of(config, key)!r} has no effect: {why}" for key, why in silent]
    lines += _not_the_papers(config)
    updates = config.run.steps * config.algorithm.minibatches * config.algorithm.epochs
    if config.learner.warmup_steps >= updates:
        warmup = f"learner.warmup_steps={config.learner.warmup_steps}"
        lines.append(f"{warmup}: the run has {updates} updates and ends before the warm-up does")
    if config.run.ahead and config.algorithm.importance_cap is None:
        lines.append("run.ahead=1 with algorithm.importance_cap=null: nothing corrects for draws one version old")
    if config.rollout.streaming and config.algorithm.importance_cap is None:
        lines.append("rollout.streaming with algorithm.importance_cap=null: nothing corrects for draws of old versions")
    if "run.max_staleness" in changed and not config.rollout.streaming:
        lines.append("run.max_staleness has no effect: rollout.streaming=false")
    return lines


BY_RATIO = ("cispo", "gspo", "kl_cov")  # losses that differ from each other once the policy has moved since the draw


def _without_updates(config: Config, changed: set[str]) -> Findings:
    """Clipping bounds the ratio of new and old policy, which is 1 until a batch is used twice."""
    algorithm = config.algorithm
    if algorithm.loss in BY_RATIO and algorithm.minibatches * algorithm.epochs == 1:
        yield "algorithm.loss", "with one update per batch the ratio is 1, and the loss is the plain policy gradient"
    for key in ("algorithm.clip_low", "algorithm.clip_high", "algorithm.dual_clip", "algorithm.clip"):
        if key in changed and algorithm.minibatches * algorithm.epochs == 1:
            yield key, "with one update per batch (algorithm.minibatches=algorithm.epochs=1) the ratio is 1"
        elif key in changed and not algorithm.clip and key != "algorithm.clip":
            yield key, "algorithm.clip=false clips nothing"


def _not_the_papers(config: Config) -> list[str]:
    """What runs, and is not what the loss's paper has."""
    algorithm = config.algorithm
    if algorithm.loss != "gspo":
        return []
    lines = []
    if algorithm.aggregation != "sequence":
        lines.append("algorithm.loss=gspo is one loss a sequence: set algorithm.aggregation=sequence, as the paper has")
    bounds = [algorithm.loss_options.get(key) for key in ("clip_low", "clip_high")]
    widest = max([bound for bound in bounds if isinstance(bound, int | float)], default=0.0)
    if widest >= 0.1:
        lines.append(f"algorithm.loss=gspo with a bound of {widest:g}: the ratio of a sequence hardly ever gets there")
    return lines


def _of_the_other_device(config: Config, changed: set[str], *, device: str) -> Findings:
    names = {"cuda": "GPUs", "cpu": "the CPU"}
    for key, known in all_settings().items():
        if key == "learner.threads" and config.learner.offload_optimizer:
            continue  # the optimizer's threads, on either device
        if key in changed and known.device not in (None, device):
            yield key, f"it is for {names[known.device]}, and the run is on {names[device]}"


def _without_use(config: Config, changed: set[str], *, draws_from_base: bool) -> Findings:
    if "rollout.base_actors" in changed and not draws_from_base:
        yield "rollout.base_actors", "no strategy draws from the frozen base"
    if "run.evaluate_samples" in changed and not config.run.evaluate_every:
        yield "run.evaluate_samples", "run.evaluate_every=0 evaluates nothing"
    if "run.exact_problems" in changed and not config.run.exact_every:
        yield "run.exact_problems", "run.exact_every=0 audits nothing"
    if "algorithm.kl_place" in changed and config.algorithm.kl == "none":
        yield "algorithm.kl_place", "algorithm.kl=none has no KL to place"
