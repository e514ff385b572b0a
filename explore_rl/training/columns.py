"""What the learner says of a step's completions, put into Sample.columns."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np

from explore_rl.config.schema import Config
from explore_rl.learner.messages import UpdateReport
from explore_rl.objectives import readouts
from explore_rl.objectives.readouts import Readout
from explore_rl.strategies.base import Column
from explore_rl.strategies.old_logprob import of_the_policy
from explore_rl.training.rows import Minibatch, sequence_of
from explore_rl.types import Group, Sample

OWN = ("old_logprob", "entropy")


def own_readouts(config: Config) -> tuple[Readout, Readout]:
    """Of the columns that every sample gets: the policy's log-probability and entropy at the training temperature."""
    temperature = config.rollout.temperature
    return readouts.logprob(temperature), readouts.entropy(temperature)


def fill_columns(
    groups: list[Group], columns: tuple[Column, ...], *, learner: Any, config: Config, old_logprob: str = "score"
) -> None:
    """Has the learner read every completion, one pass a model, before the update.

    groups: the step's; their samples get the columns.
    columns: what the strategies need.
    learner: reads as `Learner.read` does.
    config: the run's.
    old_logprob: "score": the policy's log-probability and entropy at the start of the step are read too. "engine": the
        engine's log-probabilities stand for them, and only what it did not draw so is read. "none": nobody needs them.
    """
    samples = [s for g in groups for s in g.samples if len(s.rollout.tokens)]
    own = [Column(name, "policy", readout) for name, readout in zip(OWN, own_readouts(config), strict=True)]
    if old_logprob == "score":
        _read(samples, (*own, *columns), learner=learner)
        return
    if old_logprob == "engine":
        left = []
        for sample in samples:
            logprobs = of_the_policy(sample.rollout, config)
            if logprobs is None:
                left.append(sample)
            else:
                sample.columns["old_logprob"] = logprobs
        _read(left, (own[0],), learner=learner)
    _read(samples, columns, learner=learner)


def _read(samples: list[Sample], columns: tuple[Column, ...], *, learner: Any) -> None:
    if not samples or not columns:
        return
    sequences = [sequence_of(s.rollout) for s in samples]
    by_model = sorted(columns, key=lambda column: (column.model != "policy", column.model))
    for model, wanted in groupby(by_model, key=lambda column: column.model):
        asked = list(wanted)
        answers = learner.read(sequences, tuple(column.readout for column in asked), model=model)
        for sample, values in zip(samples, answers, strict=True):
            for column, value in zip(asked, values, strict=True):
                sample.columns[column.name] = value


def fill_from_update(minibatch: Minibatch, report: UpdateReport) -> dict[int, float]:
    """Puts what the only update of a batch read on its way into the column of the samples that it learnt from.

    A row is read where its mask is not 0. Where that leaves out tokens that somebody drew, the sample gets no column;
    tokens that nobody drew get 0, which nothing looks at. Of the entropy, which no strategy asked for, only the mean
    over a sample's drawn tokens is kept: returned by the sample's identity. The report no longer holds any of it.
    """
    read, report.read = report.read, []
    entropies = {}
    for sample, row, values in zip(minibatch.samples, minibatch.rows, read, strict=True):
        kept = row.mask != 0
        given = sample.rollout.given
        if values is None or not (kept | given).all():
            continue
        logprob, entropy = (_at(kept, value) for value in values)
        sample.columns["old_logprob"] = logprob
        drawn = entropy[~given] if given.any() else entropy
        if len(drawn):
            entropies[id(sample)] = drawn.mean()
    return entropies


def _at(kept: np.ndarray, value: np.ndarray) -> np.ndarray:
    """A column from its values where `kept`, 0 elsewhere."""
    if len(value) == len(kept):
        return value
    column = np.zeros(len(kept), dtype=np.float32)
    column[kept] = value
    return column
