"""Steps of the real Trainer over a table of logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq

from explore_rl.config.schema import Config
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.strategies import together
from explore_rl.strategies.base import Strategy, needs_of
from explore_rl.testing.actors import TableActors
from explore_rl.testing.digits import digit_problems, digit_table, digits_config, verify_digits
from explore_rl.testing.learner import TableLearner, Update
from explore_rl.testing.table import LogitTable
from explore_rl.training.actors import Actors, models_of
from explore_rl.training.trainer import Trainer
from explore_rl.types import Problem


@dataclass(frozen=True)
class FinishedSteps:
    """What steps left behind. trainer: as they left it, actors and strategies included; folder: of the run."""

    trainer: Trainer
    folder: RunFolder

    @property
    def learner(self) -> TableLearner:
        learner = self.trainer.actors.learner
        assert isinstance(learner, TableLearner)
        return learner

    @property
    def table(self) -> np.ndarray:
        """The trained logits, [contexts, vocabulary]."""
        return self.learner.policy.logits

    @property
    def updates(self) -> list[Update]:
        """Every optimizer step since the start or the resume: its rows, the exact gradient and the report."""
        return self.learner.history

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What was logged, a dictionary a step."""
        return self.folder.records("metrics.jsonl")

    def samples(self, step: int) -> list[dict[str, Any]]:
        """Every sample of a step as the run folder keeps it: source, text, verdict, reward, advantage, weight, ..."""
        return pq.read_table(self.folder.path / "rollouts" / f"step-{step:06d}.parquet").to_pylist()


def make_trainer(
    folder: Path | str,
    strategies: Sequence[Strategy] = (),
    *,
    config: Config | None = None,
    problems: list[Problem] | None = None,
    table: LogitTable | None = None,
) -> Trainer:
    """A Trainer over a table, made as a run makes it: by the strategies' `needs`, after their `check`.

    folder: the run's; made if it is not there.
    strategies: instances, in order.
    config, problems, table: `digits_config()`, `digit_problems()` and the table that fits them. A table of one's own
    has to have a row for whatever the problems' prompts can lead to.
    """
    config = config or digits_config()
    problems = problems or digit_problems()
    table = table or digit_table(problems, config=config)
    # As a run does it: what strategies refuse, they refuse before anything is made.
    every = together.assemble(list(strategies), config)
    together.check(every, config, problems=problems)
    needs = needs_of(every, config)
    path = Path(folder)
    # A folder with a config is a run that is gone on with.
    run_folder = (
        RunFolder.open(path) if (path / "config.yaml").exists() else RunFolder.create(path, "{}\n", environment={})
    )
    actors = TableActors(
        config,
        table,
        base_engine=needs.base_engine,
        models=models_of(needs),
        verifiers={"digits": verify_digits},
    )
    return Trainer(
        config,
        problems=problems,
        evaluations=[],
        strategies=every,
        actors=cast(Actors, actors),
        folder=run_folder,
    )


def run_steps(
    folder: Path | str,
    strategies: Sequence[Strategy] = (),
    *,
    config: Config | None = None,
    problems: list[Problem] | None = None,
    table: LogitTable | None = None,
    stop_after: int | None = None,
) -> FinishedSteps:
    """Trains for config.run.steps steps, from the checkpoint that the folder holds, if it holds one.

    folder: the run's; made if it is not there.
    strategies: instances, in order.
    config, problems, table: as in `make_trainer`.
    stop_after: stops with a checkpoint once so many steps are done. None: goes on to the last.
    """
    trainer = make_trainer(folder, strategies, config=config, problems=problems, table=table)
    trainer.resume()
    trainer.start()
    trainer.run(should_stop=lambda: trainer.next_step == stop_after)
    return FinishedSteps(trainer, trainer.folder)
