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

TAG = "state"


def seed_everything(seed: int, rank: int) -> None:
    random.seed(seed + rank)
    np.random.seed((seed + rank) % 2**32)
    torch.manual_seed(seed + rank)  # CUDA's generators too


@dataclass(frozen=True)
class Saved:
    """What is saved of a rank.

    engine: DeepSpeed's engine.
    index: the rank's number.
    device: the rank's torch device, to which CUDA's random states belong.
    layout: settings that have to be the same when the checkpoint is loaded, by their keys.
    """

    engine: Any
    index: int
    device: torch.device
    layout: dict[str, object]


def save(rank: Saved, folder: Path, *, steps_taken: int) -> None:
    """Writes the rank's part of a checkpoint. Called on every rank.

    The folder is on a file system that all ranks see. The caller names one aside, and marks it as complete afterwards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rank.engine.save_checkpoint(str(folder), tag=TAG, client_state={"steps_taken": steps_taken})
    states = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    if rank.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(rank.device)
    torch.save(states, folder / f"random-{rank.index}.pt")
    if rank.index == 0:
        (folder / "learner.json").write_text(json.dumps(rank.layout))
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


def load(rank: Saved, folder: Path) -> int:
    """Goes on where `save` was called, and returns its steps_taken.

    Raises InputError for a checkpoint of another layout or with a part missing, and where there is none.
    """
    # The layout first: DeepSpeed would fail on another one with a message that helps nobody.
    try:
        saved = json.loads((folder / "learner.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: not a checkpoint of the learner ({error})") from None
    for key, now in rank.layout.items():
        if saved.get(key) != now:
            raise InputError(
                f"{folder}: was saved with {key}={saved.get(key)}, the learner now has {now}; resume with the same"
            )
    missing = missing_parts(folder, ranks=int(saved["learner.ranks"]), zero_stage=int(saved["learner.zero_stage"]))
    if missing:
        raise InputError(f"{folder}: parts of the checkpoint are missing: {', '.join(missing)}; resume from another")
    # Weights, optimizer and schedule; then every random state.
    path, state = rank.engine.load_checkpoint(str(folder), tag=TAG)
    if path is None:
        raise InputError(f"{folder}: DeepSpeed found no state there; expected {folder / TAG}")
    states = torch.load(folder / f"random-{rank.index}.pt", weights_only=False)
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if rank.device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], rank.device)
    return state["steps_taken"]


def save_pretrained(model: Any, folder: Path, *, tokenizer: Any, is_first: bool, tick: Callable[[], None]) -> None:
    """A Hugging Face checkpoint with its tokenizer.

    Rank 0 writes it, completely or not at all. Called on every rank, because all of them gather ZeRO-3 shards together.

    model: the transformers module.
    folder: what was there is replaced.
    tokenizer: goes into the same folder.
    is_first: whether this is rank 0.
    tick: called after every parameter, so that a large model is seen to make progress.
    """
    # One parameter is whole at a time, and only rank 0 keeps a copy.
    state = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        with _gathered(parameter):
            if is_first:
                state[name] = parameter.data.detach().cpu().clone()
        tick()
    # Written aside and renamed, so that a kill leaves no half checkpoint.
    if is_first:
        aside = folder.with_name(folder.name + ".partial")
        shutil.rmtree(aside, ignore_errors=True)
        _tie_again(model, state)
        model.save_pretrained(aside, state_dict=state)
        tokenizer.save_pretrained(aside)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    dist.barrier()


def _gathered(parameter: torch.nn.Parameter) -> AbstractContextManager:
    """Within it a ZeRO-3 parameter is whole on every rank; other parameters always are."""
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter])


def _tie_again(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Lets the names of one parameter share one tensor, so that it is written once."""
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        state[name] = state[first.setdefault(id(parameter), name)]
