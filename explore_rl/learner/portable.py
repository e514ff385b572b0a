"""A state of the learner that any layout can take up: other ranks, another ZeRO stage, another dtype of the weights.

    portable/portable.json          what is there; written last, so that a folder without it does not count
    portable/policy-0000.safetensors  "parameter.NAME", "exp_avg.NAME", "exp_avg_sq.NAME", whole and in float32

DeepSpeed's own state, which stands beside it, is exact and belongs to its layout. This one gives the same next gradient
up to rounding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file

from analysis.errors import InputError
from explore_rl.learner.checkpoints import gathered

FOLDER = "portable"
INDEX = "portable.json"
CHANGEABLE = {"learner.ranks", "learner.zero_stage", "model.dtype"}  # of the layout that a checkpoint was saved with
PARAMETER = "parameter"
MOMENTS = ("exp_avg", "exp_avg_sq")
PART_BYTES = 1 << 30  # of a file: rank 0 holds no more than this of the state at a time


def save(trained: dict[str, Any], folder: Path, *, is_first: bool, tick: Callable[[], None]) -> None:
    """Writes the trained models with their optimizers. Called on every rank, since they gather shards together.

    trained: the models by name, as in `LearnerRank`.
    folder: the learner's checkpoint; rank 0 writes into a folder of it.
    is_first: whether this is rank 0.
    tick: called after every tensor.
    """
    target = folder / FOLDER
    if is_first:
        target.mkdir(parents=True, exist_ok=True)
    index = {}
    for name, model in trained.items():
        _link_moments(model)
        step = _optimizer_step(model)
        files: dict[str, list[str]] = {}
        part: dict[str, torch.Tensor] = {}
        for key, tensor in _tensors(model, (PARAMETER, *MOMENTS) if step else (PARAMETER,)):
            if is_first:
                part[key] = tensor.detach().to("cpu", torch.float32).clone()
                if sum(value.nbytes for value in part.values()) >= PART_BYTES:
                    part = _write(part, target, name=name, files=files)
            tick()
        if part:
            _write(part, target, name=name, files=files)
        index[name] = {"steps_taken": model.steps_taken, "optimizer_step": step, "files": files}
    if is_first:
        (target / INDEX).write_text(json.dumps(index))
    dist.barrier()


def load(trained: dict[str, Any], folder: Path, *, tick: Callable[[], None]) -> None:
    """Sets models and optimizers to what `save` wrote. Called on every rank, each of which reads the files.

    Raises InputError for a state that lacks a tensor or is of another model.
    """
    index = json.loads((folder / FOLDER / INDEX).read_text())
    for name, model in trained.items():
        if name not in index:
            raise InputError(f"{folder}: holds no {name}; it was saved without")
        of_model = index[name]
        file_of = {key: folder / FOLDER / file for file, keys in of_model["files"].items() for key in keys}
        step = float(of_model["optimizer_step"])
        if step:
            _fresh_moments(model, step)
            _link_moments(model)
        for key, parameter in _learnt(model):
            for kind in (PARAMETER, *MOMENTS) if step else (PARAMETER,):
                _set(parameter, kind, value=_read(file_of, f"{kind}.{key}", parameter=parameter), model=model)
            tick()
        if not step:
            model.reset_optimizer()
        model.steps_taken = of_model["steps_taken"]
    dist.barrier()


def is_there(folder: Path) -> bool:
    """Whether the learner's checkpoint in `folder` has a portable state beside it."""
    return (folder / FOLDER / INDEX).is_file()


# --- files ------------------------------------------------------------------------------------------------------------


def _write(part: dict[str, torch.Tensor], target: Path, *, name: str, files: dict[str, list[str]]) -> dict[str, Any]:
    """Writes a file of a model's state, and notes what is in it. Returns an empty part."""
    file = f"{name}-{len(files):04d}.safetensors"
    save_file(part, target / file)
    files[file] = list(part)
    return {}


def _read(file_of: dict[str, Path], key: str, *, parameter: torch.nn.Parameter) -> torch.Tensor:
    """A tensor of the state. Raises InputError if it is not there, or has another shape than the parameter."""
    if key not in file_of:
        raise InputError(f"a portable checkpoint lacks {key}; it was saved of another model, or without that optimizer")
    try:
        with safe_open(file_of[key], framework="pt") as file:
            value = file.get_tensor(key)
    except (OSError, ValueError) as error:
        raise InputError(f"{file_of[key]}: cannot be read ({error})") from None
    shape = tuple(getattr(parameter, "ds_shape", parameter.shape))
    if tuple(value.shape) != shape:
        raise InputError(f"{file_of[key]}: {key} is {tuple(value.shape)}, and the model's is {shape}")
    return value


# --- what DeepSpeed holds ---------------------------------------------------------------------------------------------


def _inner(model: Any) -> torch.optim.Optimizer:
    """PyTorch's optimizer, which DeepSpeed may wrap."""
    return getattr(model.engine.optimizer, "optimizer", model.engine.optimizer)


def _optimizer_step(model: Any) -> float:
    """How many steps the moments have seen; 0 for an optimizer that has none."""
    return max((float(state["step"]) for state in _inner(model).state.values() if "step" in state), default=0.0)


def _fresh_moments(model: Any, step: float) -> None:
    """Moments of 0 after `step` steps, for what the optimizer steps on: PyTorch makes them with the first step only."""
    optimizer = model.engine.optimizer
    flat = ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups", "fp32_groups_flat_partition")
    held = next((getattr(optimizer, name) for name in flat if hasattr(optimizer, name)), None)
    for parameter in held if held is not None else (parameter for _, parameter in _learnt(model)):
        zeros = {moment: torch.zeros_like(parameter, requires_grad=False) for moment in MOMENTS}
        _inner(model).state[parameter] = {"step": torch.tensor(step, dtype=torch.float32), **zeros}


def _link_moments(model: Any) -> None:
    """Has DeepSpeed look anew where the moments are: after loading a checkpoint it would read and write old ones."""
    optimizer = model.engine.optimizer
    if hasattr(optimizer, "_hp_optimizer_states_linked") and _optimizer_step(model):
        optimizer._hp_optimizer_states_linked = False
        optimizer._lazy_init_hp_params_optimizer_state()


def _tensors(model: Any, kinds: tuple[str, ...]) -> Iterator[tuple[str, torch.Tensor]]:
    """("KIND.NAME", the whole tensor) for what is learnt, each once, in the same order on every rank."""
    for name, parameter in _learnt(model):
        for kind in kinds:
            yield f"{kind}.{name}", _get(parameter, kind, model=model)


def _learnt(model: Any) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """The parameters that have an optimizer, by name: all, or LoRA's adapters alone."""
    return ((name, parameter) for name, parameter in model.engine.module.named_parameters() if parameter.requires_grad)


def _is_split(parameter: torch.nn.Parameter) -> bool:
    """Whether DeepSpeed keeps the float32 parameter and the moments in flat parts: from stage 1 on, and in bfloat16."""
    return hasattr(parameter, "ds_id") or hasattr(parameter, "_hp_mapping")


def _get(parameter: torch.nn.Parameter, kind: str, *, model: Any) -> torch.Tensor:
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    if not _is_split(parameter):
        return parameter.data if kind == PARAMETER else _inner(model).state[parameter][kind]
    whole = safe_get_full_fp32_param(parameter) if kind == PARAMETER else safe_get_full_optimizer_state(parameter, kind)
    assert whole is not None
    return whole


@torch.no_grad()
def _set(parameter: torch.nn.Parameter, kind: str, *, value: torch.Tensor, model: Any) -> None:
    from deepspeed import utils

    if kind == PARAMETER:  # the weights that the model computes with, beside the float32 ones
        with gathered(parameter, changed=True):
            parameter.data.copy_(value)
    if hasattr(parameter, "ds_id"):
        # safe_set_full_* does not know that the last rank's share is padded; the local ones take it as it is.
        share = _share(value, parameter)
        if kind == PARAMETER:
            utils.safe_set_local_fp32_param(parameter, share)
        else:
            utils.safe_set_local_optimizer_state(parameter, share, kind)
    elif hasattr(parameter, "_hp_mapping"):
        if kind == PARAMETER:
            utils.safe_set_full_fp32_param(parameter, value)
        else:
            utils.safe_set_full_optimizer_state(parameter, value, kind)
    elif kind != PARAMETER:
        _inner(model).state[parameter][kind].copy_(value)


def _share(value: torch.Tensor, parameter: Any) -> torch.Tensor:
    """This rank's part of a ZeRO-3 parameter's tensor, with the padding that the last one has."""
    size = parameter.ds_tensor.numel()
    flat = value.flatten()[dist.get_rank() * size :][:size]
    return torch.nn.functional.pad(flat, (0, size - flat.numel()))
