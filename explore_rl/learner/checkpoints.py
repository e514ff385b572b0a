"""What a rank leaves on disk and takes up again: DeepSpeed's state, the schedule's position and every random state."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from analysis.errors import InputError
from explore_rl.config.lora import Lora
from explore_rl.learner import lora as adapters

TAG = "state"
BASE = "base.pt"
NOT_THERE = {"critic": False, "heads": [], "learner.lora": None}  # keys of the layout that older checkpoints lack


def seed_everything(seed: int, rank: int) -> None:
    random.seed(seed + rank)
    np.random.seed((seed + rank) % 2**32)
    torch.manual_seed(seed + rank)  # CUDA's generators too


@dataclass(frozen=True)
class Saved:
    """What is saved of a rank.

    trained: its models with an optimizer, by name.
    base: the frozen transformers module, where there is one.
    base_refreshed: whether it is another than the initial model, and so has to be kept.
    index: the rank's number.
    device: the rank's torch device, to which CUDA's random states belong.
    layout: settings that have to be the same when the checkpoint is loaded, by their keys.
    """

    trained: dict[str, Any]
    base: Any
    base_refreshed: bool
    index: int
    device: torch.device
    layout: dict[str, object]

    def folder_of(self, model: str, folder: Path) -> Path:
        """Where DeepSpeed's state of a trained model is."""
        return folder if model == "policy" else folder / model


def save(rank: Saved, folder: Path) -> None:
    """Writes the rank's part of a checkpoint. Called on every rank.

    The folder is on a file system that all ranks see. The caller names one aside, and marks it as complete afterwards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, trained in rank.trained.items():
        place = rank.folder_of(name, folder)
        trained.engine.save_checkpoint(
            str(place),
            tag=TAG,
            client_state={"steps_taken": trained.steps_taken},
            exclude_frozen_parameters=trained.is_partly_frozen,  # they are those of the initial model
        )
    if rank.base_refreshed:
        state = whole_state(rank.base, keep=rank.index == 0)
        if rank.index == 0:
            torch.save(state, folder / BASE)
    states = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    if rank.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(rank.device)
    torch.save(states, folder / f"random-{rank.index}.pt")
    if rank.index == 0:
        (folder / "learner.json").write_text(json.dumps(rank.layout | {"base_refreshed": rank.base_refreshed}))
    dist.barrier()


def missing_parts(folder: Path, *, ranks: int, zero_stage: int) -> list[str]:
    """Files that a checkpoint of so many ranks needs and that are not in its folder, as this process sees it."""
    wanted = ["learner.json", *(f"random-{rank}.pt" for rank in range(ranks))]
    # DeepSpeed's: rank 0 writes the weights, with ZeRO-3 every rank its shard; with ZeRO every rank optimizer states.
    shards = [f"*zero_pp_rank_{rank}_mp_rank_*" for rank in range(ranks)]
    if zero_stage < 3:
        wanted.append(f"{TAG}/mp_rank_*_model_states.pt")
    else:
        wanted += [f"{TAG}/{shard}_model_states.pt" for shard in shards]
    if zero_stage > 0:
        wanted += [f"{TAG}/{shard}_optim_states.pt" for shard in shards]
    return [pattern for pattern in wanted if not any(folder.glob(pattern))]


def saved_layout(folder: Path) -> dict[str, Any]:
    """What the learner wrote about its checkpoint. Raises InputError where there is none."""
    try:
        return json.loads((folder / "learner.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: not a checkpoint of the learner ({error})") from None


def differences(saved: dict[str, Any], layout: dict[str, object]) -> list[str]:
    """The keys of the layout that a checkpoint was saved with another value of."""
    return [key for key, now in layout.items() if saved.get(key, NOT_THERE.get(key)) != now]


def load(rank: Saved, folder: Path) -> bool:
    """Goes on where `save` was called. Returns whether the base model was refreshed by then.

    The base model of `rank` is the initial one. Raises InputError for a checkpoint of another layout or with a
    part missing, and where there is none.
    """
    # The layout first: DeepSpeed would fail on another one with a message that helps nobody.
    saved = saved_layout(folder)
    if differing := differences(saved, rank.layout):
        key = differing[0]
        before = saved.get(key, NOT_THERE.get(key))
        now = rank.layout[key]
        raise InputError(
            f"{folder}: was saved with {key}={before}, the learner now has {now}; resume with the same; only"
            " checkpoints of run.portable_checkpoints=true go on in another layout"
        )
    missing = missing_parts(folder, ranks=int(saved["learner.ranks"]), zero_stage=int(saved["learner.zero_stage"]))
    if missing:
        raise InputError(f"{folder}: parts of the checkpoint are missing: {', '.join(missing)}; resume from another")
    # Weights, optimizer and schedule; then every random state.
    for name, trained in rank.trained.items():
        path, state = trained.engine.load_checkpoint(
            str(rank.folder_of(name, folder)), tag=TAG, load_module_strict=not trained.is_partly_frozen
        )
        if path is None:
            raise InputError(f"{folder}: DeepSpeed found no state there; expected {rank.folder_of(name, folder) / TAG}")
        trained.steps_taken = state["steps_taken"]
    refreshed = load_base(rank, folder)
    states = torch.load(folder / f"random-{rank.index}.pt", weights_only=False)
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if rank.device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], rank.device)
    return refreshed


def load_base(rank: Saved, folder: Path) -> bool:
    """The base model of a checkpoint, where it was refreshed by then. Returns whether it was."""
    refreshed = rank.base is not None and saved_layout(folder).get("base_refreshed", False)
    if refreshed:
        set_weights(rank.base, torch.load(folder / BASE, map_location="cpu", mmap=True))
    return refreshed


# --- whole weights ----------------------------------------------------------------------------------------------------


def whole_state(model: Any, *, keep: bool, tick: Callable[[], None] = lambda: None) -> dict[str, torch.Tensor]:
    """Every weight of a transformers module by its name, in CPU memory; each once, where several names share it.

    Called on every rank, because all of them gather ZeRO-3 shards together: one weight is whole at a time, with the
    adapter that is merged into it.

    keep: whether this rank wants them; else it gets an empty dictionary.
    tick: called after every weight, so that a large model is seen to make progress.
    """
    state = {}
    for weight in adapters.weights_of(model):
        with gathered(*weight.parts):
            if keep:
                state[weight.name] = weight.value().detach().cpu().clone()
        tick()
    return state


def adapter_state(model: Any, *, keep: bool) -> dict[str, torch.Tensor]:
    """LoRA's A and B of a module by their names in it, in CPU memory. Called on every rank; keep: as above."""
    state = {}
    for name, parameter in model.named_parameters():
        if not name.endswith(adapters.FACTORS):
            continue
        with gathered(parameter):
            if keep:
                state[name] = parameter.data.detach().cpu().clone()
    return state


@torch.no_grad()
def copy_weights(source: Any, target: Any, *, tick: Callable[[], None]) -> None:
    """Sets `target` to the weights of `source`, a module of the same shape. Called on every rank. tick: as above."""
    weights = dict(source.named_parameters())
    for name, parameter in target.named_parameters():
        with gathered(weights[name]), gathered(parameter, changed=True):
            parameter.data.copy_(weights[name].data)
        tick()


@torch.no_grad()
def set_weights(target: Any, state: dict[str, torch.Tensor]) -> None:
    """Sets `target` to what `whole_state` gave. Called on every rank, with the same state."""
    for name, parameter in target.named_parameters():
        with gathered(parameter, changed=True):
            parameter.data.copy_(state[name])


def save_pretrained(
    model: Any,
    folder: Path,
    *,
    tokenizer: Any,
    is_first: bool,
    tick: Callable[[], None],
    lora: Lora | None = None,
    base: str = "",
) -> None:
    """A Hugging Face checkpoint with its tokenizer; LoRA's adapters are merged, and stand in a folder beside.

    Rank 0 writes it, completely or not at all. Called on every rank, because all of them gather ZeRO-3 shards together.

    model: the transformers module.
    folder: what was there is replaced.
    tokenizer: goes into the same folder.
    is_first: whether this is rank 0.
    tick: called after every weight, so that a large model is seen to make progress.
    lora: what the model's adapters are, where it has any.
    base: the model that they were added to, as their file names it.
    """
    state = whole_state(model, keep=is_first, tick=tick)
    adapter = adapter_state(model, keep=is_first)
    # Written aside and renamed, so that a kill leaves no half checkpoint.
    if is_first:
        aside = folder.with_name(folder.name + ".partial")
        shutil.rmtree(aside, ignore_errors=True)
        _tie_again(model, state)
        model.save_pretrained(aside, state_dict=state)
        tokenizer.save_pretrained(aside)
        if lora is not None:
            adapters.save_adapter(adapter, aside / adapters.ADAPTER, lora=lora, base=base)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    dist.barrier()


def gathered(*parameters: torch.nn.Parameter, changed: bool = False) -> AbstractContextManager:
    """Within it ZeRO-3 parameters are whole on every rank, all at a time; other parameters always are.

    changed: every rank gets what rank 0 made of them.
    """
    if not any(hasattr(parameter, "ds_id") for parameter in parameters):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(list(parameters), modifier_rank=0 if changed else None)


def _tie_again(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Gives a tensor to every name of its parameter: transformers writes it once, and wants to see them all."""
    first: dict[int, str] = {}
    for weight in adapters.weights_of(model, every_name=True):
        state[weight.name] = state[first.setdefault(id(weight.parameter), weight.name)]
