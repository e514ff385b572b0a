"""Where metrics go besides metrics.jsonl: wandb, TensorBoard, or nowhere, behind two calls."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

log = logging.getLogger(__name__)


class Tracker(Protocol):
    def log(self, step: int, metrics: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class NoTracker:
    def log(self, step: int, metrics: dict[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


class TensorBoardTracker:
    def __init__(self, folder: Path, begin: int):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=begin)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class WandbTracker:
    """wandb; without an API key (or with WANDB_MODE=offline) it records offline, in the run's folder, for `wandb sync` later."""

    def __init__(self, folder: Path, name: str, config: dict[str, Any]):
        import os

        import wandb

        mode = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") or _has_netrc_key() else "offline")
        if mode == "offline":
            log.info("wandb records offline under %s (no API key); send it later with `wandb sync`", folder / "wandb")
        self.run = wandb.init(project="explore-rl", name=name, dir=str(folder), config=config, mode=mode, resume="allow", id=_run_id(folder))

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self.run.log(metrics, step=step)

    def close(self) -> None:
        self.run.finish()


def _run_id(folder: Path) -> str:
    import hashlib

    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]


def _has_netrc_key() -> bool:
    netrc = Path.home() / ".netrc"
    return netrc.exists() and "api.wandb.ai" in netrc.read_text(errors="replace")


def make_tracker(kind: str, folder: Path, name: str, config: dict[str, Any], begin: int = 0) -> Tracker:
    """begin: first step that will be logged; what a tracker holds past it (of a run that was killed) is dropped where it can be."""
    if kind == "wandb":
        return WandbTracker(folder, name, config)
    return TensorBoardTracker(folder, begin) if kind == "tensorboard" else NoTracker()
