"""A checkpoint of the learner as a Hugging Face folder, of any ZeRO stage, without Ray, ranks or a GPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch

from analysis.errors import InputError
from explore_rl.config.lora import read_lora
from explore_rl.learner import lora as adapters
from explore_rl.learner.checkpoints import TAG, missing_parts
from explore_rl.models import load_model_config, load_tokenizer, resolve_model

PREFIX = "model."  # of the transformers module within `Policy`; value heads stand beside it


def export(checkpoint: Path, base: str, *, out: Path) -> None:
    """Writes the policy of a checkpoint to `out`, completely or not at all; LoRA's adapters merged, and beside.

    checkpoint: the learner's folder of a run's checkpoint.
    base: model.path of the run, whose config and tokenizer it keeps.
    out: must not be there yet.
    Raises InputError for a checkpoint with parts missing, or of another model.
    """
    from transformers import AutoModelForCausalLM

    if out.exists():
        raise InputError(f"{out}: is there already; choose another folder, or remove it")
    saved = _layout(checkpoint)
    dtype = getattr(torch, saved["model.dtype"])
    lora = read_lora(saved.get("learner.lora"))
    try:
        weights = _weights(checkpoint, zero_stage=int(saved["learner.zero_stage"]), is_partial=lora is not None)
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, UnpicklingError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"{checkpoint}: cannot be read, cut off or damaged ({said})") from error
    state = {name.removeprefix(PREFIX): value.to(dtype) for name, value in weights.items() if name.startswith(PREFIX)}
    adapter = state
    if lora is not None:
        # The checkpoint holds the adapters alone: the rest is the base model's.
        whole = AutoModelForCausalLM.from_pretrained(resolve_model(base), dtype=dtype)
        state = {name: parameter.data for name, parameter in whole.named_parameters()}
        try:
            adapters.merge_into(state, adapter, scale=lora.scale)
        except (KeyError, RuntimeError) as error:
            raise InputError(f"{checkpoint}: its adapters are of another model than {base}: {error}") from None
    # The module is built without memory, and takes the checkpoint's tensors for its own.
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(load_model_config(base), dtype=dtype)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    for name, shape in shapes.items():
        there = tuple(state[name].shape) if name in state else "missing"
        if there != shape:
            raise InputError(f"{checkpoint}: is of another model than {base}: {name} is {there}, not {shape}")
    aside = out.with_name(f".{out.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        state.setdefault(name, state[_first_name(model, parameter)])
    model.save_pretrained(aside, state_dict=state)
    load_tokenizer(base).save_pretrained(aside)
    if lora is not None:
        adapters.save_adapter(adapter, aside / adapters.ADAPTER, lora=lora, base=base)
    folder = resolve_model(base)
    if (folder / "generation_config.json").exists() and not (aside / "generation_config.json").exists():
        shutil.copy(folder / "generation_config.json", aside)
    aside.rename(out)


def _first_name(model: torch.nn.Module, parameter: torch.nn.Parameter) -> str:
    """The name under which a parameter of several names is saved."""
    return next(name for name, own in model.named_parameters() if own is parameter)


def _layout(checkpoint: Path) -> dict[str, Any]:
    """What the learner wrote about its checkpoint. Raises InputError where something is missing."""
    try:
        saved = json.loads((checkpoint / "learner.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{checkpoint}: not a checkpoint of the learner ({error})") from None
    missing = missing_parts(checkpoint, ranks=int(saved["learner.ranks"]), zero_stage=int(saved["learner.zero_stage"]))
    if missing:
        raise InputError(f"{checkpoint}: parts of the checkpoint are missing: {', '.join(missing)}")
    return saved


def _weights(checkpoint: Path, *, zero_stage: int, is_partial: bool) -> dict[str, torch.Tensor]:
    """Every parameter by its name in `Policy`. Up to stage 2 rank 0 has them all; at stage 3 shards are joined.

    is_partial: only what is learnt is there.
    """
    if zero_stage < 3:
        [file] = (checkpoint / TAG).glob("mp_rank_*_model_states.pt")
        return torch.load(file, map_location="cpu", weights_only=False, mmap=True)["module"]
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    joined = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint), tag=TAG, exclude_frozen_parameters=is_partial)
    return cast(dict[str, torch.Tensor], joined)
