"""Where metrics go besides metrics.jsonl: wandb, TensorBoard, or nowhere, behind two calls.

A tracker counts the steps that are done: what step n logged stands at n + 1, beside evaluations and audits of the state after so many steps.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from explore_rl.experiments.run_folder import RunFolder
from explore_rl.training.metrics import of_audit, of_evaluation

log = logging.getLogger(__name__)


class Tracker(Protocol):
    def log(self, done: int, metrics: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class NoTracker:
    def log(self, done: int, metrics: dict[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


class TensorBoardTracker:
    """Event files in the run's folder."""

    def __init__(self, folder: RunFolder):
        from torch.utils.tensorboard import SummaryWriter

        place = folder.path / "tensorboard"
        shutil.rmtree(place, ignore_errors=True)
        self.writer = SummaryWriter(str(place))
        for done, metrics in history(folder):
            self.log(done, metrics)

    def log(self, done: int, metrics: dict[str, float]) -> None:
        for name, value in finite(metrics).items():
            self.writer.add_scalar(name, value, done)
        self.writer.flush()  # else up to two minutes are lost with a run that is killed

    def close(self) -> None:
        self.writer.close()


class WandbTracker:
    """wandb; without an API key (or with WANDB_MODE=offline) it records offline, in the run's folder, for `wandb sync` later."""

    def __init__(self, folder: RunFolder, name: str, config: dict[str, Any]):
        import wandb

        mode = os.environ.get("WANDB_MODE") or (
            "online" if os.environ.get("WANDB_API_KEY") or _has_netrc_key() else "offline"
        )
        run_id = hashlib.sha256(str(folder.path.resolve()).encode()).hexdigest()[:12]
        offline = mode == "offline"
        if offline:
            log.info("wandb records offline under %s; send it later with `wandb sync`", folder.path / "wandb")
            for earlier in (folder.path / "wandb").glob(f"offline-run-*-{run_id}"):
                shutil.rmtree(earlier)
        self.run = wandb.init(
            project="explore-rl", name=name, dir=str(folder.path), config=config, mode=mode, id=run_id, resume=None if offline else "allow",
            settings=wandb.Settings(console="off", silent=offline),  # it would take over the progress bar
        )  # fmt: skip
        self.held = 0 if offline else self.run.step  # the server's part of a run cannot be made anew
        if offline:
            for done, metrics in history(folder):
                self.log(done, metrics)

    def log(self, done: int, metrics: dict[str, float]) -> None:
        if done >= self.held:
            self.run.log(finite(metrics), step=done)

    def close(self) -> None:
        self.run.finish()


def history(folder: RunFolder) -> Iterator[tuple[int, dict[str, float]]]:
    """What the run's records tell, in order. A tracker begins with it, so that a resumed run has no step twice and none missing."""
    rows = [
        (r["step"] + 1, {k: v for k, v in r.items() if k != "step" and v is not None})
        for r in folder.records("metrics.jsonl")
    ]
    rows += [(r["step"], of_evaluation(r)) for r in folder.records("evaluations.jsonl")]
    rows += [(r["step"], of_audit(r)) for r in folder.records("exact.jsonl")]
    yield from sorted(rows, key=lambda row: row[0])


def finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def _has_netrc_key() -> bool:
    netrc = Path.home() / ".netrc"
    return netrc.exists() and "api.wandb.ai" in netrc.read_text(errors="replace")


def make_tracker(kind: str, folder: RunFolder, name: str, config: dict[str, Any]) -> Tracker:
    """kind: run.tracker. What an earlier part of the run left in the folder is replaced by the folder's records."""
    if kind == "wandb":
        return WandbTracker(folder, name, config)
    return TensorBoardTracker(folder) if kind == "tensorboard" else NoTracker()
