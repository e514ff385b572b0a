"""Batches that were drawn ahead, in a checkpoint: they cannot be drawn again, since their weights are gone.

Groups and what strategies keep for the step are pickled. A problem of the run is named by its place among the
problems, so that it is the same object afterwards.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from explore_rl.cluster.faults import RunStopped
from explore_rl.strategies.base import StepContext, Strategy
from explore_rl.training.drawing import Batch
from explore_rl.types import Problem

FILE = "ahead.pkl"


def save(folder: Path, batches: list[Batch], *, problems: list[Problem]) -> None:
    """Writes batches of which nothing is being drawn. Raises RunStopped for what a strategy keeps unsavably.

    problems: those of the run.
    """
    target = io.BytesIO()
    for batch in batches:
        try:
            _Pickler(target, problems).dump(_whole(batch))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise RunStopped(
                f"drawn ahead: the batch of step {batch.number} cannot be saved: {error}; what strategies leave in"
                " context.kept and in samples has to be plain data"
            ) from error
    (folder / FILE).write_bytes(target.getbuffer())


def _whole(batch: Batch) -> dict[str, Any]:
    strategies = {
        strategy.key: {
            "rng": context.rng.bit_generator.state,
            "kept": context.kept,
            "metrics": context.metrics,
        }
        for strategy, context in batch.acting
    }
    return {
        "number": batch.number,
        "epoch": batch.epoch,
        "drawn": batch.drawn,
        "plans": batch.plans,
        "strategies": strategies,
    }


def load(
    folder: Path,
    problems: list[Problem],
    *,
    strategies: list[Strategy],
    context_of: Callable[[Strategy, int], StepContext],
) -> list[Batch]:
    """The batches that `save` left in a checkpoint, if any. Raises InputError for those of other strategies.

    folder: the checkpoint's.
    problems: the run's, by which the batches' own are found again.
    strategies: all of the run.
    context_of: a fresh context of a strategy in a step.
    """
    path = folder / FILE
    batches: list[Batch] = []
    if path.exists():
        source = io.BytesIO(path.read_bytes())
        while source.tell() < len(source.getbuffer()):
            whole = _Unpickler(source, problems).load()
            batches.append(_batch(whole, path, strategies=strategies, context_of=context_of))
    return batches


def _batch(
    whole: dict[str, Any],
    path: Path,
    *,
    strategies: list[Strategy],
    context_of: Callable[[Strategy, int], StepContext],
) -> Batch:
    kept = whole["strategies"]
    if kept.keys() != {strategy.key for strategy in strategies}:
        raise InputError(f"{path}: was drawn for other strategies: {', '.join(kept)}")
    batch = Batch(whole["number"], [], drawn=whole["drawn"], plans=whole.get("plans"), epoch=whole["epoch"])
    for strategy in strategies:
        context = context_of(strategy, batch.number)
        context.rng.bit_generator.state = kept[strategy.key]["rng"]
        context.kept.update(kept[strategy.key]["kept"])
        context.metrics.update(kept[strategy.key]["metrics"])
        batch.acting.append((strategy, context))
    return batch


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, problems: list[Problem]):
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.places = {id(problem): place for place, problem in enumerate(problems)}

    def persistent_id(self, obj: Any) -> int | None:
        return self.places.get(id(obj)) if isinstance(obj, Problem) else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, problems: list[Problem]):
        super().__init__(file)
        self.problems = problems

    def persistent_load(self, pid: int) -> Problem:
        return self.problems[pid]
