"""What the learner says of a step's completions, put into Sample.columns."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from explore_rl.config.schema import Config
from explore_rl.objectives import readouts
from explore_rl.strategies.base import Column
from explore_rl.training.rows import sequence_of
from explore_rl.types import Group


def fill_columns(groups: list[Group], columns: tuple[Column, ...], *, learner: Any, config: Config) -> None:
    """Has the learner read every completion, one pass a model.

    Every sample gets the policy's log-probability and entropy at the start of the step and at the training temperature,
    and what the strategies need.

    columns: what the strategies need.
    learner: reads as `Learner.read` does.
    """
    temperature = config.rollout.temperature
    own = (
        Column("old_logprob", "policy", readouts.logprob(temperature)),
        Column("entropy", "policy", readouts.entropy(temperature)),
    )
    samples = [s for g in groups for s in g.samples if len(s.rollout.tokens)]
    sequences = [sequence_of(s.rollout) for s in samples]
    by_model = sorted((*own, *columns), key=lambda column: (column.model != "policy", column.model))
    for model, wanted in groupby(by_model, key=lambda column: column.model):
        asked = list(wanted)
        answers = learner.read(sequences, tuple(column.readout for column in asked), model)
        for sample, values in zip(samples, answers, strict=True):
            for column, value in zip(asked, values, strict=True):
                sample.columns[column.name] = value
