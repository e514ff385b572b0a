"""Where metrics go besides metrics.jsonl: wandb, trackio, TensorBoard, or nowhere, behind three calls.

A tracker counts the steps that are done. What step n logged stands at n + 1, beside evaluations and audits of the state
after n + 1 steps.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Protocol

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.training.metrics import of_audit, of_evaluation

log = logging.getLogger(__name__)

PROJECT = "explore-rl"
TABLE = ("problem_id", "text", "reward", "verdict", "answer")  # columns of a table of rollouts


class Tracker(Protocol):
    """done: steps done. rollouts: rows of TABLE."""

    def log(self, done: int, metrics: dict[str, float]) -> None: ...

    def table(self, done: int, rollouts: list[list[Any]]) -> None: ...

    def close(self) -> None: ...


class NoTracker:
    def log(self, done: int, metrics: dict[str, float]) -> None:
        pass

    def table(self, done: int, rollouts: list[list[Any]]) -> None:
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

    def table(self, done: int, rollouts: list[list[Any]]) -> None:
        lines = ["| " + " | ".join(TABLE) + " |", "|---" * len(TABLE) + "|"]
        for row in rollouts:
            cells = [" ".join(str(cell).split()).replace("|", "\\|") for cell in row]
            lines.append("| " + " | ".join(cells) + " |")
        self.writer.add_text("rollouts", "\n".join(lines), done)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WandbTracker:
    """wandb, under the names of `tracking` or of wandb's own variables.

    Without a login, or with WANDB_MODE=offline, it records offline, in the run's folder, for `wandb sync` later.
    """

    def __init__(self, folder: RunFolder, config: Config):
        import wandb

        self.wandb = wandb
        mode = _wandb_mode()
        is_offline = mode == "offline"
        run_id = hashlib.sha256(str(folder.path.resolve()).encode()).hexdigest()[:12]

        # Offline the records are made anew from the folder, in place of what an earlier part of the run left.
        if is_offline:
            log.info("wandb records offline under %s; send it later with `wandb sync`", folder.path / "wandb")
            for earlier in (folder.path / "wandb").glob(f"offline-run-*-{run_id}"):
                shutil.rmtree(earlier)
        self.run = wandb.init(
            **{key: value or None for key, value in wandb_names(config).items()},
            dir=str(folder.path),
            config=asdict(config),
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

    def table(self, done: int, rollouts: list[list[Any]]) -> None:
        if done >= self.held:
            rows: Any = rollouts  # wandb's type of a row is its own
            self.run.log({"rollouts": self.wandb.Table(columns=list(TABLE), data=rows)}, step=done)

    def close(self) -> None:
        self.run.finish()


class TrackioTracker:
    """trackio, which keeps its records on this machine (TRACKIO_DIR). A resumed run goes on where its records end."""

    def __init__(self, folder: RunFolder, config: Config):
        import trackio

        named = config.tracking
        self.trackio = trackio
        self.run = trackio.init(
            project=project_name(config),
            name=run_name(config),
            group=named.group or config.name,
            config=asdict(config),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        # What earlier parts of the run have logged is not logged again: a mark in the folder says how far they came.
        self.mark = folder.path / "trackio-steps"
        self.held = int(self.mark.read_text()) if self.mark.exists() else -1
        for done, metrics in history(folder):
            self.log(done, metrics)

    def log(self, done: int, metrics: dict[str, float]) -> None:
        if done > self.held:
            self.trackio.log(finite(metrics), step=done)
            self.mark.write_text(str(done))

    def table(self, done: int, rollouts: list[list[Any]]) -> None:
        pass  # its tables want pandas frames and a server; the rollouts are in the run's folder

    def close(self) -> None:
        self.trackio.finish()


def project_name(config: Config) -> str:
    return config.tracking.project or os.environ.get("WANDB_PROJECT") or PROJECT


def run_name(config: Config) -> str:
    """How a tracker shows a run: with its seed, so that the runs of a sweep are told apart."""
    return config.tracking.run_name or os.environ.get("WANDB_NAME") or f"{config.name}-seed{config.seed}"


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
    """What WANDB_MODE says; where it is not set, "online" with a login that wandb itself finds and "offline" without.

    wandb looks into WANDB_API_KEY and into the netrc file, for the server that it is set up for.
    """
    mode = os.environ.get("WANDB_MODE")
    if mode:
        return mode
    import wandb

    return "online" if wandb.login(prompt=False) else "offline"


def rollouts_of(folder: RunFolder, step: int, *, most: int) -> list[list[Any]]:
    """Rows of TABLE: the first samples of each group of a step, at most `most` in all."""
    import pyarrow.parquet as pq

    path = folder.path / "rollouts" / f"step-{step:06d}.parquet"
    known = pq.read_schema(path).names
    rows = pq.read_table(path, columns=[name for name in TABLE if name in known]).to_pylist()
    return [[row.get(name) for name in TABLE] for row in rows[:: max(1, len(rows) // most)][:most]]


MODULES = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio"}


def refuse_tracker(config: Config) -> None:
    """Raises InputError where a run's tracker is not installed, or would refuse its names after the start."""
    kind = config.run.tracker
    module = MODULES.get(kind)
    if module is not None and importlib.util.find_spec(module) is None:
        raise InputError(f"run.tracker={kind}: it is not installed; pip install {module}")
    if kind == "wandb":
        import wandb
        from wandb.errors import UsageError

        names = wandb_names(config)
        try:
            wandb.Settings(
                project=names["project"],
                entity=names["entity"],
                run_group=names["group"],
                run_name=names["name"],
                run_tags=tuple(names["tags"]),
            )
        except (ValueError, UsageError) as error:
            raise InputError(f"run.tracker=wandb: its names are refused by wandb: {_said(error)}") from None
        try:
            wandb.Settings().update_from_env_vars(dict(os.environ))
        except (ValueError, UsageError) as error:
            raise InputError(f"run.tracker=wandb: a WANDB_ variable is refused by wandb: {_said(error)}") from None


def _said(error: Exception) -> str:
    return " ".join(str(error).split()).partition(" [type=")[0]


def wandb_names(config: Config) -> dict[str, Any]:
    """How a run is called in wandb: by `tracking`, by wandb's own variables, or by the recipe."""
    named = config.tracking
    return {
        "project": project_name(config),
        "entity": named.entity,  # None: WANDB_ENTITY, or wandb's own default
        "group": named.group or os.environ.get("WANDB_RUN_GROUP") or config.name,
        "name": run_name(config),
        "tags": [*named.tags, *filter(None, os.environ.get("WANDB_TAGS", "").split(","))],
    }


def make_tracker(config: Config, folder: RunFolder) -> Tracker:
    """The tracker that a run asks for. What an earlier part of the run tracked is replaced by the folder's records."""
    kind = config.run.tracker
    if kind == "wandb":
        return WandbTracker(folder, config)
    if kind == "trackio":
        return TrackioTracker(folder, config)
    return TensorBoardTracker(folder) if kind == "tensorboard" else NoTracker()
