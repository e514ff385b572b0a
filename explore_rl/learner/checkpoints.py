"""What a rank leaves on disk and takes up again: DeepSpeed's state, the schedule's position and every random state."""

from __future__ import annotations

import json
import random
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed as dist

from analysis.errors import InputError
from explore_rl.models import load_tokenizer

if TYPE_CHECKING:
    from explore_rl.learner.rank import LearnerRank

TAG = "state"


def seed_everything(seed: int, rank: int) -> None:
    random.seed(seed + rank)
    np.random.seed((seed + rank) % 2**32)
    torch.manual_seed(seed + rank)  # CUDA's generators too


def save(rank: LearnerRank, folder: Path) -> None:
    """Called on every rank; the folder is on a file system that all of them see. Whoever calls writes aside and marks it complete."""
    folder.mkdir(parents=True, exist_ok=True)
    rank.engine.save_checkpoint(str(folder), tag=TAG, client_state={"steps_taken": rank.steps_taken})
    states = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    if rank.kind == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(rank.device)
    torch.save(states, folder / f"random-{rank.index}.pt")
    if rank.index == 0:
        (folder / "learner.json").write_text(json.dumps(_layout(rank)))
    dist.barrier()


def load(rank: LearnerRank, folder: Path) -> None:
    """Goes on where `save` was called. Raises InputError for a checkpoint of another layout, or none."""
    try:
        saved = json.loads((folder / "learner.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: not a checkpoint of the learner ({error})") from None
    for key, now in _layout(rank).items():
        if saved.get(key) != now:
            raise InputError(f"{folder}: was saved with {key}={saved.get(key)}, the learner now has {now}; resume with the same")
    path, state = rank.engine.load_checkpoint(str(folder), tag=TAG)
    if path is None:
        raise InputError(f"{folder}: DeepSpeed found no state there; expected {folder / TAG}")
    rank.steps_taken = state["steps_taken"]
    states = torch.load(folder / f"random-{rank.index}.pt", weights_only=False)
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if rank.kind == "cuda":
        torch.cuda.set_rng_state(states["cuda"], rank.device)


def _layout(rank: LearnerRank) -> dict[str, object]:
    learner = rank.config.learner
    return {
        "learner.ranks": rank.ranks, "learner.zero_stage": learner.zero_stage, "learner.optimizer": learner.optimizer,
        "model.dtype": rank.config.model.dtype,
    }  # fmt: skip


def save_pretrained(rank: LearnerRank, folder: Path) -> None:
    """A Hugging Face checkpoint with its tokenizer: written by rank 0, whole or not at all; ZeRO-3 shards are gathered on all ranks."""
    state = {}
    for name, parameter in rank.model.named_parameters(remove_duplicate=False):
        with _whole(parameter):
            if rank.index == 0:
                state[name] = parameter.data.detach().cpu().clone()
        rank.progress += 1
    if rank.index == 0:
        aside = folder.with_name(folder.name + ".partial")
        shutil.rmtree(aside, ignore_errors=True)
        _tie_again(rank.model, state)
        rank.model.save_pretrained(aside, state_dict=state)
        load_tokenizer(rank.config.model.path).save_pretrained(aside)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    dist.barrier()


def _whole(parameter: torch.nn.Parameter):
    if not hasattr(parameter, "ds_id"):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter])


def _tie_again(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Names of one parameter share one tensor, so that it is written once."""
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        state[name] = state[first.setdefault(id(parameter), name)]
