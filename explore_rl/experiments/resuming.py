"""What a resumed run may not change, and what it may, if it is asked to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.config.schema import Config, all_settings
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.types import Problem

# How far a run goes and how it is watched may always change.
FREE = (
    "run.steps",
    "run.keep_checkpoints",
    "run.checkpoint_every",
    "run.checkpoint_minutes",
    "run.tracker",
    "run.output",
)
FREE_SECTIONS = ("devices", "tracking")
CHANGES = "changes.jsonl"


def refuse_other_settings(config: Config, folder: RunFolder, *, allowed: Sequence[str] = ()) -> dict[str, Any]:
    """A resumed run goes on under the settings it began with; only how far and how it is watched may change.

    allowed: further settings that may have changed, of those that do not change the mathematics.
    Returns what of them did, setting -> [before, now]. Raises InputError.
    """
    settings = all_settings()
    for key in allowed:
        if key not in settings or not settings[key].harmless:
            can = ", ".join(name for name, known in settings.items() if known.harmless)
            raise InputError(
                f"--allow-changed {key}: changes what is learnt, or is no setting; these may change: {can}"
            )
    began = load_config(folder.path / "config.yaml")
    changed: dict[str, Any] = {}
    for key in settings:
        before = _value(began, key)
        now = _value(config, key)
        if key in FREE or key.split(".")[0] in FREE_SECTIONS or before == now:
            continue
        if key not in allowed:
            hint = f"; add --allow-changed {key}" if settings[key].harmless else ""
            raise InputError(f"--resume: {key} was {before!r} and is now {now!r}; a run goes on as it began{hint}")
        changed[key] = [before, now]
    refuse_another_schedule(began, config, folder=folder)
    return changed


def refuse_other_checkpoints(config: Config, folder: RunFolder) -> None:
    """Raises InputError where the last checkpoint is of a later step than the run is to have, and where there must have
    been checkpoints and are none: beginning again would drop what is recorded."""
    recorded = folder.records("metrics.jsonl")
    made = folder.checkpoints()
    # It may be shorter now than when the steps were made.
    between = max(config.run.checkpoint_every, load_config(folder.path / "config.yaml").run.checkpoint_every)
    ruined = bool(recorded) and bool(recorded[-1].get("update/skipped"))  # a state that is not finite is not saved
    if made and made[-1] > config.run.steps:
        raise InputError(
            f"--resume: run.steps={config.run.steps}: the run has made {made[-1]} steps already; what it was after"
            f" fewer can be had where a checkpoint is kept (explore-rl export {folder.path}@STEP DIR)"
        )
    if len(recorded) > between and not made and not ruined:
        raise InputError(
            f"{folder.path}: {len(recorded)} steps are recorded, and there is no complete checkpoint in "
            f"{folder.path / 'checkpoints'} to go on from: was it removed, or not copied? Put it back, or begin anew"
            " with another run.output"
        )


def _value(config: Config, dotted: str) -> Any:
    value: Any = asdict(config)
    for part in dotted.split("."):
        value = value[part]
    return value


def finished(config: Config, allowed: Sequence[str] = ()) -> Path | None:
    """The folder of a run that has made all its steps and has its final model; None where something is left to do.

    Raises InputError where it was made under other settings.
    """
    path = Path(config.run.output)
    if not (path / "config.yaml").exists() or not (path / "final" / "config.json").exists():
        return None
    folder = RunFolder.open(path)
    last_records = folder.records("metrics.jsonl")[-1:]
    if [record["step"] + 1 for record in last_records] != [config.run.steps]:
        return None
    if load_config(path / "config.yaml").run.steps != config.run.steps:
        return None
    refuse_other_settings(config, folder, allowed=allowed)
    return path


def refuse_another_schedule(began: Config, now: Config, *, folder: RunFolder) -> None:
    """A schedule that falls over run.steps cannot be given another end on the way: the learning rate would jump.

    Raises InputError.
    """
    if now.learner.schedule == "constant" or began.run.steps == now.run.steps:
        return
    from explore_rl.learner.optimizer import learning_rate

    step = max(folder.checkpoints(), default=0)
    if not 0 < step < now.run.steps:
        return  # everything is done again, under the new schedule; or nothing is left to do
    updates = step * now.algorithm.minibatches * now.algorithm.epochs
    raise InputError(
        f"--resume: run.steps was {began.run.steps} and is now {now.run.steps}, but learner.schedule="
        f"{now.learner.schedule} was laid out to end with step {began.run.steps}: after step {step} the learning rate"
        f" would jump from {learning_rate(began, updates):.2g} to {learning_rate(now, updates):.2g}; go on with"
        f" run.steps={began.run.steps}, and train further, on a schedule of its own, in a new run with"
        f" model.path={folder.path / 'final'}"
    )


def content_hash(loaded: list[Problem]) -> str:
    """16 hex digits of ids, prompts and answers: a resumed run has to go on with the problems it began with."""
    digest = hashlib.sha256()
    for problem in loaded:
        digest.update(repr((problem.id, problem.prompt, problem.answer)).encode())
    return digest.hexdigest()[:16]


def refuse_other_problems(path: Path, content: dict[str, str]) -> None:
    """content: hashes by side, "train" and "heldout". Raises InputError if the run in `path` began with others.

    Held-out problems may be others where the setting was allowed to change, which leaves them out of `content`.
    """
    began = RunFolder(path).environment().get("problems", content)
    for side, now in content.items():
        if began.get(side) != now:
            raise InputError(
                f"--resume: the {side} problems are not those that the run in {path} began with; give it the same file"
            )
