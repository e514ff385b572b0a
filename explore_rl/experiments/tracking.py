"""Where metrics go besides metrics.jsonl: wandb, TensorBoard, or nowhere, behind two calls.

A tracker counts the steps that are done. What step n logged stands at n + 1, beside evaluations and audits of the state
after n + 1 steps.
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
    """done: steps done."""

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
    """wandb.

    Without an API key, or with WANDB_MODE=offline, it records offline, in the run's folder, for `wandb sync` later.
    """

    def __init__(self, folder: RunFolder, *, name: str, config: dict[str, Any]):
        import wandb

        mode = _wandb_mode()
        is_offline = mode == "offline"
        run_id = hashlib.sha256(str(folder.path.resolve()).encode()).hexdigest()[:12]

        # Offline the records are made anew from the folder, in place of what an earlier part of the run left.
        if is_offline:
            log.info("wandb records offline under %s; send it later with `wandb sync`", folder.path / "wandb")
            for earlier in (folder.path / "wandb").glob(f"offline-run-*-{run_id}"):
                shutil.rmtree(earlier)
        self.run = wandb.init(
            project="explore-rl",
            name=name,
            dir=str(folder.path),
            config=config,
            mode=mode,
            id=run_id,
            resume=None if is_offline else "allow",
            settings=wandb.Settings(console="off", silent=is_offline),  # it would take over the progress bar
        )
        self.held = 0 if is_offline else self.run.step  # steps that the server holds; they cannot be made anew
        if is_offline:
            for done, metrics in history(folder):
                self.log(done, metrics)

    def log(self, done: int, metrics: dict[str, float]) -> None:
        if done >= self.held:
            self.run.log(finite(metrics), step=done)

    def close(self) -> None:
        self.run.finish()


def history(folder: RunFolder) -> Iterator[tuple[int, dict[str, float]]]:
    """What the run's records tell, in order: (steps done, metrics).

    A tracker begins with it, so that a resumed run has no step twice and none missing.
    """
    entries = []
    for record in folder.records("metrics.jsonl"):
        metrics = {name: value for name, value in record.items() if name != "step" and value is not None}
        entries.append((record["step"] + 1, metrics))
    entries += [(record["step"], of_evaluation(record)) for record in folder.records("evaluations.jsonl")]
    entries += [(record["step"], of_audit(record)) for record in folder.records("exact.jsonl")]
    yield from sorted(entries, key=lambda entry: entry[0])


def finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def _wandb_mode() -> Any:
    """What WANDB_MODE says; where it is not set, "online" with an API key and "offline" without."""
    mode = os.environ.get("WANDB_MODE")
    if mode:
        return mode
    return "online" if os.environ.get("WANDB_API_KEY") or _has_netrc_key() else "offline"


def _has_netrc_key() -> bool:
    netrc = Path.home() / ".netrc"
    return netrc.exists() and "api.wandb.ai" in netrc.read_text(errors="replace")


def make_tracker(kind: str, folder: RunFolder, *, name: str, config: dict[str, Any]) -> Tracker:
    """The tracker that a run asks for. What an earlier part of the run tracked is replaced by the folder's records.

    kind: run.tracker.
    name: the run's name.
    config: the run's settings, nested by section.
    """
    if kind == "wandb":
        return WandbTracker(folder, name=name, config=config)
    return TensorBoardTracker(folder) if kind == "tensorboard" else NoTracker()
