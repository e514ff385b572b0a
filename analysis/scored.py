"""What scored texts tell: lower bounds on answer probabilities that need no draw, and which model scored what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from analysis.records import ModelSamples, Scores

Key = TypeVar("Key")


def rows_of(scores: Scores, samples: ModelSamples) -> np.ndarray:
    """Rows that this model scored: bool [R].

    A model is named as in its samples' `model` column or by the samples' name; folders do not matter.
    """
    names = {samples.name, *map(str, samples.settings.get("model", []))}
    short = names | {name.rstrip("/").rsplit("/", 1)[-1] for name in names}
    return np.array(
        [model in short or str(model).rstrip("/").rsplit("/", 1)[-1] in short for model in scores.of("model")]
    )


def problem_index(scores: Scores, samples: ModelSamples) -> np.ndarray:
    """Index into the samples' problems of each row: int64 [R], -1 where the problem is none of them."""
    where = {key: i for i, key in enumerate(zip(samples.benchmarks, samples.problem_ids, strict=True))}
    keys = zip(scores.of("benchmark"), scores.of("problem_id"), strict=True)
    if len(set(samples.benchmarks)) == 1:  # a file without benchmark names fits the only one there is
        return np.array([where.get((samples.benchmarks[0], problem), -1) for _, problem in keys], dtype=np.int64)
    return np.array([where.get(key, -1) for key in keys], dtype=np.int64)


def lower_bounds(scores: Scores, samples: ModelSamples) -> tuple[np.ndarray | None, str | None]:
    """Lower bound of each problem's probability of a correct answer, from scores: (float64 [M], None), or (None, why
    not)."""
    total, why = _sums(scores, samples, key_of=lambda row, problem: problem, columns=())
    return None if total is None else np.array([total.get(i, 0.0) for i in range(len(samples))]), why


def lower_bounds_by_name(
    scores: Scores, samples: ModelSamples, *, by: str
) -> tuple[dict[tuple[int, str], float] | None, str | None]:
    """The same of each correct answer (by="answer") or mode (by="mode"): {(problem index, name): probability}."""
    return _sums(scores, samples, key_of=lambda row, problem: (problem, str(scores.of(by)[row])), columns=(by,))


def _sums(
    scores: Scores, samples: ModelSamples, *, key_of: Callable[[int, int], Key], columns: tuple[str, ...]
) -> tuple[dict[Key, float] | None, str | None]:
    """Sum of the probabilities of distinct correct token sequences, under the very distribution that was sampled from.

    key_of: what a row and its problem count towards. columns: what the scores need besides. Returns (sums, None), or
    (None, why not): the scores have to say which texts are correct and which token sequences are the same, and have
    to be taken at the samples' own temperature and top-p, both stated.
    """
    mine = rows_of(scores, samples)
    if not mine.any():
        return None, f"no score is by {samples.name}"
    for column in ("sequence", "correct", *columns):
        if scores[column] is None:
            return None, f"the scores have no column {column}"
    # a probability bounds the chance of a draw only where it was taken at the settings of the draws
    for column in ("temperature", "top_p"):
        drawn = samples.settings.get(column, [])
        if len(drawn) != 1:
            return None, f"the samples of {samples.name} do not state one {column}"
        scored = scores[column]
        mine &= np.isclose(
            1.0 if scored is None else np.array([1.0 if x is None else x for x in scored], dtype=float), float(drawn[0])
        )
        if not mine.any():
            return None, f"the scores by {samples.name} were not taken at its samples' {column} of {drawn[0]:g}"
    problem = problem_index(scores, samples)
    mine &= (
        (problem >= 0)
        & np.array([bool(x) for x in scores.of("correct")])
        & np.array([x is not None for x in scores.of("sequence")])
    )
    # equal sequences are one event: their probability counts once
    seen: set[tuple[int, str]] = set()
    total: dict[Key, float] = {}
    for row in np.flatnonzero(mine):
        if (sequence := (int(problem[row]), str(scores.of("sequence")[row]))) in seen:
            continue
        seen.add(sequence)
        key = key_of(int(row), sequence[0])
        total[key] = total.get(key, 0.0) + float(np.exp(scores.of("logprob")[row]))
    return total, None
