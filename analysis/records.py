"""The record schema: what a file of samples, counts or scores has to hold, and the form in which the statistics see it.

Whoever makes records (explore-rl's `sample` and `score`, or a script of yours) needs this file only. Reading them, from
these columns or through an adapter from other projects' files, is `analysis.readers`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import InputError

SCHEMA_VERSION = 1
DEFAULT_BENCHMARK = "default"
VERDICTS = ("correct", "wrong", "no_answer", "timeout", "error")
NO_EVIDENCE = ("timeout", "error")  # verdicts that say nothing about the model: such draws are left out of n

Schema = dict[str, tuple[pa.DataType, str]]
# column -> (Arrow type, meaning). One row a completion. Required: problem_id, and correct or verdict.
SAMPLE_COLUMNS: Schema = {
    "problem_id": (pa.string(), "the problem, unique within its benchmark"),
    "correct": (pa.bool_(), "whether the verifier accepted the completion; null where the verdict is timeout or error"),
    "benchmark": (pa.string(), "the set of problems it belongs to"),
    "sample": (
        pa.int64(),
        "index of the draw within its problem; draws are ordered by it, and it may not repeat under one seed",
    ),
    "answer": (pa.string(), "the extracted final answer; null where there was none"),
    "mode": (pa.string(), "canonical form of the answer: what counts as the same solution"),
    "verdict": (pa.string(), "correct, wrong, no_answer (both wrong), timeout or error (both no evidence)"),
    "completion": (pa.string(), "the text, shown in the report for people to read"),
    "logprob": (
        pa.float64(),
        "log-probability of the whole completion under the model that drew it, at its temperature and top-p, nats",
    ),
    "num_tokens": (pa.int64(), "length of the completion in tokens, end token included"),
    "token_entropy": (pa.float64(), "mean entropy of the next-token distribution over the completion's tokens, nats"),
    "cot_correct": (pa.bool_(), "whether a judge found the reasoning itself correct"),
    "model": (pa.string(), "name or path of the model that drew it"),
    "temperature": (pa.float64(), "sampling temperature"),
    "top_p": (pa.float64(), "nucleus mass"),
    "max_tokens": (pa.int64(), "limit on new tokens"),
    "template": (pa.string(), "name or hash of the prompt template"),
    "finish_reason": (pa.string(), "stop, or length where the completion was cut off"),
    "seed": (pa.int64(), "seed of the draw"),
    "cluster": (
        pa.string(),
        "what the draw shares with some draws of its problem only, as a checkpoint or a prefix; null: nothing",
    ),
}

# One row a problem. Required: problem_id, n, correct.
COUNT_COLUMNS: Schema = {
    "problem_id": (pa.string(), "the problem, unique within its benchmark"),
    "n": (pa.int64(), "draws that are evidence"),
    "correct": (pa.int64(), "how many of them were correct"),
    "benchmark": (pa.string(), "the set of problems it belongs to"),
    "model": (pa.string(), "name or path of the model that drew them"),
    "excluded": (pa.int64(), "draws left out of n (timeout or error of the verifier)"),
    "truncated": (pa.int64(), "draws of n that were cut off at the token limit"),
    "num_tokens": (pa.float64(), "mean length of the completions in tokens"),
    "token_entropy": (pa.float64(), "mean token entropy, nats"),
}

# One row a text that some model scored. Required: problem_id, model, logprob, num_tokens.
SCORE_COLUMNS: Schema = {
    "problem_id": (pa.string(), "the problem, unique within its benchmark"),
    "model": (pa.string(), "name or path of the model that scored the text"),
    "logprob": (
        pa.float64(),
        "log-probability of the whole completion under `model`, at `temperature` and `top_p`, nats",
    ),
    "num_tokens": (pa.int64(), "tokens that were scored"),
    "benchmark": (pa.string(), "the set of problems it belongs to"),
    "sample": (pa.int64(), "index of the draw in the file that it was read from"),
    "written_by": (pa.string(), "name or path of the model that drew the text"),
    "sequence": (
        pa.string(),
        "identity of the token sequence (a hash of its ids): equal ones are counted once when probabilities are summed",
    ),
    "answer": (pa.string(), "the extracted final answer"),
    "mode": (pa.string(), "canonical form of the answer"),
    "correct": (pa.bool_(), "whether the text is correct"),
    "token_entropy": (pa.float64(), "mean entropy of `model`'s next-token distribution over the text, nats"),
    "temperature": (pa.float64(), "temperature the log-probabilities were taken at (1 if absent)"),
    "top_p": (pa.float64(), "nucleus mass the log-probabilities were taken at (1 if absent)"),
    "completion": (pa.string(), "the text"),
}


@dataclass
class AnswerCounts:
    """How often each distinct answer of each problem was drawn.

    A is the number of distinct (problem, answer, mode, correct).

    problem: int64 [A], index into the problems.
    answer: object [A], str or None (no answer could be extracted).
    mode: object [A], str or None.
    count: int64 [A], draws.
    correct: bool [A].
    """

    problem: np.ndarray
    answer: np.ndarray
    mode: np.ndarray
    count: np.ndarray
    correct: np.ndarray


@dataclass
class Draws:
    """Every draw that is evidence, problem by problem, in order of `sample` (of the file where there is none).

    N is n.sum().

    start: int64 [M + 1], the draws of problem i are [start[i]:start[i + 1]].
    correct: uint8 [N].
    logprob, num_tokens: float32 [N] with NaN where a row had none, or None where the whole column is missing.
    clusters: kind (analysis.clusters.KINDS) -> int32 [N], what each draw shares with others; kinds that group some.
    """

    start: np.ndarray
    correct: np.ndarray
    logprob: np.ndarray | None = None
    num_tokens: np.ndarray | None = None
    clusters: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class ModelSamples:
    """All that was drawn from one model.

    Arrays have one entry a problem (M), problems sorted by (benchmark, problem_id).

    name: as tables call the model.
    problem_ids, benchmarks: [M].
    n: int64 [M], draws that are evidence.
    correct: int64 [M], how many were correct.
    excluded: int64 [M], draws whose verdict is timeout or error.
    truncated: int64 [M] or None, draws of n that were cut off.
    cot_correct: int64 [M] or None, draws whose answer and reasoning are both correct.
    cot_unjudged: int64 [M], correct draws whose reasoning no one judged, or None where all were.
    token_entropy: nats, float64 [M] or None, mean over a problem's draws, NaN where it has none.
    num_tokens: the same of completions' lengths.
    answers: None where the input had counts only, or no answer column.
    draws: None where the input had counts only.
    settings: column -> sorted distinct values (at most 20), for model, temperature, top_p, max_tokens, template and
        seed where given.
    files: [{"path", "sha256", "rows", "format"}].
    extra_columns: columns that the schema does not know (kept in `examples`).
    warnings: lines worth telling the user.
    """

    name: str
    problem_ids: list[str]
    benchmarks: list[str]
    n: np.ndarray
    correct: np.ndarray
    excluded: np.ndarray
    truncated: np.ndarray | None = None
    cot_correct: np.ndarray | None = None
    cot_unjudged: np.ndarray | None = None
    token_entropy: np.ndarray | None = None
    num_tokens: np.ndarray | None = None
    answers: AnswerCounts | None = None
    draws: Draws | None = None
    settings: dict[str, list[Any]] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    extra_columns: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.problem_ids)

    def subset(self, index: np.ndarray) -> ModelSamples:
        """The same for the problems at `index` (int [M'] or bool [M]), in that order."""
        index = np.flatnonzero(index) if np.asarray(index).dtype == bool else np.asarray(index, dtype=np.int64)
        new = np.full(len(self), -1, dtype=np.int64)
        new[index] = np.arange(len(index))
        answers = draws = None
        # answers are rows (problem, answer): those of the kept problems, in the new order
        if (a := self.answers) is not None:
            keep = new[a.problem] >= 0
            order = np.argsort(new[a.problem[keep]], kind="stable")
            answers = AnswerCounts(
                new[a.problem[keep]][order], *(x[keep][order] for x in (a.answer, a.mode, a.count, a.correct))
            )
        # draws lie problem by problem, so whole slices move
        if (d := self.draws) is not None:
            rows = (
                np.concatenate([np.arange(d.start[i], d.start[i + 1]) for i in index])
                if len(index)
                else np.zeros(0, dtype=np.int64)
            )
            draws = Draws(
                np.concatenate([[0], np.cumsum(self.n[index])]),
                d.correct[rows],
                logprob=None if d.logprob is None else d.logprob[rows],
                num_tokens=None if d.num_tokens is None else d.num_tokens[rows],
                clusters={kind: code[rows] for kind, code in d.clusters.items()},
            )
        optional = {
            name: None if (x := getattr(self, name)) is None else x[index]
            for name in ("truncated", "cot_correct", "cot_unjudged", "token_entropy", "num_tokens")
        }
        return ModelSamples(
            name=self.name,
            n=self.n[index],
            correct=self.correct[index],
            excluded=self.excluded[index],
            problem_ids=[self.problem_ids[i] for i in index],
            benchmarks=[self.benchmarks[i] for i in index],
            answers=answers,
            draws=draws,
            settings=self.settings,
            files=self.files,
            extra_columns=self.extra_columns,
            warnings=self.warnings,
            **optional,
        )


@dataclass
class Scores:
    """Log-probabilities of texts under models, one entry a text (arrays [R]); columns as SCORE_COLUMNS, None where the
    file had none.

    files as in ModelSamples.
    """

    columns: dict[str, np.ndarray | None]
    files: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.of("problem_id"))

    def __getitem__(self, column: str) -> np.ndarray | None:
        return self.columns[column]

    def of(self, column: str) -> np.ndarray:
        """A column that has to be there."""
        if (found := self.columns[column]) is None:
            raise InputError(f"the scores have no column {column}")
        return found


def conform(table: pa.Table, columns: Schema) -> pa.Table:
    """`table` with the schema's columns first and cast to their types; unknown columns are kept behind them.

    Raises InputError where a column cannot be cast.
    """
    arrays = {}
    for name, (kind, _) in columns.items():
        if name in table.column_names:
            try:
                arrays[name] = table[name].cast(kind)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise InputError(f"column {name} is {table[name].type} and cannot be made {kind}: {error}") from None
    arrays |= {name: table[name] for name in table.column_names if name not in columns}
    return pa.table(arrays).replace_schema_metadata({"explore_rl_records": str(SCHEMA_VERSION)})


def write_samples(path: str | os.PathLike, table: pa.Table | list[dict[str, Any]]) -> None:
    """Writes sample rows (an Arrow table or a list of dicts) that conform to SAMPLE_COLUMNS, as Parquet or, for .jsonl,
    JSON lines.

    Written aside, then renamed. Raises InputError where a required column is missing or a type is wrong.
    """
    _write(Path(path), table, columns=SAMPLE_COLUMNS, required=("problem_id",))


def write_scores(path: str | os.PathLike, table: pa.Table | list[dict[str, Any]]) -> None:
    """As `write_samples`, for SCORE_COLUMNS."""
    _write(Path(path), table, columns=SCORE_COLUMNS, required=("problem_id", "model", "logprob", "num_tokens"))


def _table_of(rows: list[dict[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _write(path: Path, rows: pa.Table | list[dict[str, Any]], *, columns: Schema, required: tuple[str, ...]) -> None:
    table: pa.Table = rows if isinstance(rows, pa.Table) else _table_of(rows)
    if missing := [name for name in required if name not in table.column_names]:
        raise InputError(f"{path}: cannot be written without column {missing[0]}; have {', '.join(table.column_names)}")
    if columns is SAMPLE_COLUMNS and not {"correct", "verdict"} & set(table.column_names):
        raise InputError(
            f"{path}: cannot be written without column correct or verdict; have {', '.join(table.column_names)}"
        )
    table = conform(table, columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if path.suffix == ".jsonl":
            with open(aside, "w", encoding="utf-8") as file:
                for batch in table.to_batches(max_chunksize=4096):
                    for row in batch.to_pylist():
                        file.write(
                            json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False) + "\n"
                        )
        else:
            pq.write_table(table, aside, compression="zstd")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
