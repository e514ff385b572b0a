"""Reasoning patterns: does tuning choose better ways to reason, or does it make each way work better?

Every draw is given one pattern: the first of a user's regular expressions that its completion matches, or the label in
a column of the samples. Of each pattern: how often base and tuned model use it, and how often a draw that uses it is
correct. The change of accuracy then splits exactly into two parts (Kitagawa 1955, doi 10.1080/01621459.1955.10501299),
problem by problem, with u the share of draws that use a pattern and s the success among them:

    p_t - p_b = sum (u_t - u_b) (s_t + s_b) / 2      selection: other patterns are chosen
              + sum (u_t + u_b) / 2 (s_t - s_b)      within: the same patterns succeed more often

where a side that never uses a pattern on a problem takes the other side's success. The claim of arXiv 2506.04695, that
RLVR works by selection while success within a pattern hardly moves, is that the second part is about 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from analysis.batches import batches, one_model
from analysis.columns import column
from analysis.errors import InputError
from analysis.estimates import mean_of, sides_of
from analysis.files import TEXT_BATCH_ROWS, RowBlock, Source, find_sources
from analysis.intervals import PSEUDO_DIFFERENCE
from analysis.pair import BenchmarkPair
from analysis.records import DEFAULT_BENCHMARK, NO_EVIDENCE, ModelSamples

NONE = "none of them"  # the pattern of a draw that shows none
MOST_LABELS = 50  # different labels of a column beyond which they are no patterns
COLUMNS = {"problem_id", "benchmark", "correct", "verdict", "model"}


@dataclass(frozen=True)
class Patterns:
    """Regular expressions by name, in the order in which they are tried; or the column that holds a label of each
    draw."""

    expressions: dict[str, re.Pattern[str]]
    column: str = "completion"
    path: str = ""

    def of(self, text: str) -> str:
        """The pattern of one draw: the first expression that is found in its completion, or its label itself.

        >>> Patterns({"check": re.compile("(?i)verify")}).of("Let me Verify that.")
        'check'
        """
        if self.column != "completion":
            return text or NONE
        return next((name for name, expression in self.expressions.items() if expression.search(text)), NONE)


def read_patterns(path: str) -> Patterns:
    """A JSON object of name -> regular expression (Python's), or {"column": "NAME"} for labels in the samples. Raises
    InputError in one line."""
    try:
        given: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--patterns {path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(given, dict) or not given or not all(isinstance(value, str) for value in given.values()):
        raise InputError(
            f'{path}: should hold an object of names and regular expressions, or {{"column": "NAME"}} for labels'
        )
    if set(given) == {"column"}:
        if given["column"] in (*COLUMNS, "completion"):
            raise InputError(f"{path}: column {given['column']} holds no labels; name another column of the samples")
        return Patterns({}, given["column"], path)
    if NONE in given:
        raise InputError(f"{path}: {NONE!r} is what draws without a pattern are called; rename that pattern")
    expressions = {}
    for name, expression in given.items():
        try:
            expressions[name] = re.compile(expression)
        except re.error as error:
            raise InputError(f"{path}: pattern {name!r} is no regular expression ({error})") from None
    return Patterns(expressions, "completion", path)


@dataclass(frozen=True)
class PatternCounts:
    """Draws of one side by pattern.

    names: K patterns, NONE last.
    used: int64 [M, K], draws of each problem with that pattern.
    correct: int64 [M, K], those of them that are correct.
    unread: draws that are evidence but have no text or label.
    """

    names: tuple[str, ...]
    used: np.ndarray
    correct: np.ndarray
    unread: int

    def at(self, index: np.ndarray) -> PatternCounts:
        """The same of the problems at `index`."""
        return PatternCounts(self.names, self.used[index], self.correct[index], self.unread)


def count_patterns(samples: ModelSamples, patterns: Patterns) -> PatternCounts:
    """A pass over the files of one side. Raises InputError where they hold no completions (or no such column)."""
    where = {key: i for i, key in enumerate(zip(samples.benchmarks, samples.problem_ids, strict=True))}
    only = samples.benchmarks[0] if len(set(samples.benchmarks)) == 1 else None
    found: dict[tuple[int, str, bool], int] = {}
    unread = 0
    with tqdm(desc=f"patterns of {samples.name}", unit=" rows", unit_scale=True, delay=3, disable=None) as bar:
        for source, batch in _text_batches(samples, patterns):
            bar.update(batch.table.num_rows)
            for problem, text, correct in _rows(batch, source, patterns=patterns, only=only):
                if (at := where.get(problem)) is None:
                    continue
                if text is None:
                    unread += 1
                    continue
                key = (at, patterns.of(text), correct)
                found[key] = found.get(key, 0) + 1
    labels = sorted({name for _, name, _ in found} - {NONE})
    if patterns.column != "completion" and len(labels) > MOST_LABELS:
        raise InputError(
            f"{patterns.path}: column {patterns.column} holds {len(labels):,} different labels; patterns are at most "
            f"{MOST_LABELS}"
        )
    names = (*(patterns.expressions or labels), NONE)
    used = np.zeros((len(samples), len(names)), dtype=np.int64)
    right = np.zeros_like(used)
    for (at, name, correct), count in found.items():
        used[at, names.index(name)] += count
        right[at, names.index(name)] += count * correct
    return PatternCounts(names, used, right, unread)


def _text_batches(samples: ModelSamples, patterns: Patterns) -> Iterator[tuple[Source, RowBlock]]:
    for source in find_sources([f["path"] + (f"::{f['select']}" if f.get("select") else "") for f in samples.files]):
        if source.kind != "samples" or (source.adapter is None and patterns.column not in source.columns):
            raise InputError(
                f"{source.path}: has no column {patterns.column}, which --patterns {patterns.path} looks at"
            )
        for batch in batches(source, COLUMNS | {patterns.column}, rows=TEXT_BATCH_ROWS):
            yield source, one_model(batch, source)


def _rows(
    batch: RowBlock, source: Source, *, patterns: Patterns, only: str | None
) -> Iterator[tuple[tuple[str, str], str | None, bool]]:
    """(benchmark, problem), text and correctness of each row that is evidence."""
    rows = batch.table.num_rows

    def values(name: str, kind: pa.DataType) -> list[Any]:
        array = column(batch, source, name=name, kind=kind)
        return [None] * rows if array is None else array.to_pylist()

    for problem, benchmark, correct, verdict, text in zip(
        values("problem_id", pa.string()),
        values("benchmark", pa.string()),
        values("correct", pa.bool_()),
        values("verdict", pa.string()),
        values(patterns.column, pa.string()),
        strict=True,
    ):
        if verdict not in NO_EVIDENCE:
            name = only if only is not None else benchmark or DEFAULT_BENCHMARK
            yield (name, problem), text, bool(correct) if correct is not None else verdict == "correct"


def same_names(base: PatternCounts, tuned: PatternCounts) -> tuple[PatternCounts, PatternCounts]:
    """Both sides over the patterns of either (labels that one side never uses)."""
    names = (*dict.fromkeys([*base.names[:-1], *tuned.names[:-1]]), NONE)

    def spread(side: PatternCounts) -> PatternCounts:
        to = [names.index(name) for name in side.names]
        used = np.zeros((len(side.used), len(names)), dtype=np.int64)
        correct = np.zeros_like(used)
        used[:, to] = side.used
        correct[:, to] = side.correct
        return PatternCounts(names, used, correct, side.unread)

    return spread(base), spread(tuned)


def split_change(base: PatternCounts, tuned: PatternCounts) -> tuple[np.ndarray, np.ndarray]:
    """Selection and within of each problem, float64 [M] each (NaN where a side has no text); their sum is the change of
    its accuracy.

    >>> one = PatternCounts(("a", NONE), np.array([[1, 3]]), np.array([[1, 0]]), 0)
    >>> two = PatternCounts(("a", NONE), np.array([[3, 1]]), np.array([[3, 0]]), 0)
    >>> [float(x[0]) for x in split_change(one, two)]
    [0.5, 0.0]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        u = [side.used / side.used.sum(axis=1, keepdims=True) for side in (base, tuned)]
        s = [side.correct / side.used for side in (base, tuned)]
    s_b = np.nan_to_num(np.where(np.isnan(s[0]), s[1], s[0]))
    s_t = np.nan_to_num(np.where(np.isnan(s[1]), s[0], s[1]))
    selection = ((u[1] - u[0]) * (s_t + s_b) / 2).sum(axis=1)
    within = ((u[1] + u[0]) / 2 * (s_t - s_b)).sum(axis=1)
    return selection, within


def pattern_rates(pair: BenchmarkPair, base: PatternCounts, *, tuned: PatternCounts) -> dict[str, Any]:
    """The table of one benchmark: of each pattern, its share of the draws (mean over problems) and its success, over
    the problems on which both sides use it; and the change of accuracy in its two parts."""
    rows = []
    with np.errstate(invalid="ignore", divide="ignore"):
        share = [side.used / side.used.sum(axis=1, keepdims=True) for side in (base, tuned)]
        success = [side.correct / side.used for side in (base, tuned)]
    for i, name in enumerate(base.names):
        both = ~np.isnan(success[0][:, i]) & ~np.isnan(success[1][:, i])
        first, second = (np.where(both, side[:, i], np.nan) for side in success)
        rows.append(
            {
                "pattern": name,
                "draws": {"base": int(base.used[:, i].sum()), "tuned": int(tuned.used[:, i].sum())},
                "share": sides_of(pair, share[0][:, i], tuned=share[1][:, i], bounded=True),
                "problems": int(both.sum()),
                "success": sides_of(pair, first, tuned=second, bounded=True) if both.any() else None,
            }
        )
    selection, within = split_change(base, tuned)
    return {
        "rows": rows,
        "change": mean_of(pair, selection + within, pseudo=PSEUDO_DIFFERENCE),
        "selection": mean_of(pair, selection, pseudo=PSEUDO_DIFFERENCE),
        "within": mean_of(pair, within, pseudo=PSEUDO_DIFFERENCE),
    }
