"""Completions for people to read: which of a run's rollouts, or of a file of samples, go into a page of bounded size,
and what is known of all of them.

The files are read twice: once their light columns, from which rows are chosen and totals are made, and once the texts
of the chosen rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from analysis.batches import batches, one_model
from analysis.columns import column
from analysis.errors import InputError
from analysis.files import BATCH_ROWS, TEXT_BATCH_ROWS, RowBlock, Source, find_sources, parquet
from analysis.records import DEFAULT_BENCHMARK, NO_EVIDENCE

pc: Any = pyarrow.compute  # its functions are made when it is imported, which no type checker sees

GROUP_SHOWN = 64  # completions of one problem and step that are shown at most, where not all can be
LIGHT = {"step", "problem_id", "benchmark", "group", "source", "model", "correct", "verdict", "reward"}
TEXTS = ("text", "completion", "output", "response")  # columns that may hold the completion, in this order
CUT = {"answer": 300, "mode": 300, "reason": 500}  # characters of other texts
SHOWN = (
    "temperature",
    "top_p",
    "weight_version",
    "sample",
    "seed",
    "finish_reason",
    "score",
    "advantage",
    "weight",
    "in_baseline",
    "kept",
    "logprob",
    "token_entropy",
    "cot_correct",
    "mode",
    "reason",
)  # what else is said of a completion, where it is there

Decode = Callable[[list[int]], str]


@dataclass(frozen=True)
class Limits:
    """How much goes into the page.

    rows: completions, at most.
    characters: of each text.
    steps: first and last step to take, None: all.
    seed: of the choice.
    """

    rows: int = 4000
    characters: int = 4000
    steps: tuple[int, int] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rows", "characters"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}; it should be at least 1")
        if self.steps and self.steps[0] > self.steps[1]:
            raise InputError(f"steps = {self.steps[0]} {self.steps[1]}; the first should not be above the last")


@dataclass
class Light:
    """Every row, without its texts. N rows.

    step: int64 [N], 0 where the files have no steps.
    group: int64 [N], one number a problem and step (and a drawing of it, where a step draws a problem twice).
    source: int64 [N], index into `sources`.
    verdict: int64 [N], index into `verdicts`.
    reward: float64 [N], NaN where unknown.
    sources, verdicts: the words that occur.
    has: columns that some file has.
    """

    step: np.ndarray
    group: np.ndarray
    source: np.ndarray
    verdict: np.ndarray
    reward: np.ndarray
    sources: list[str]
    verdicts: list[str]
    has: set[str]


def read(paths: list[str], limits: Limits, *, decode: Decode | None = None) -> dict[str, Any]:
    """What the viewer shows: {"rows": [...], "prompts": [...], "groups": [...], "steps": [...], "sources", "total"}.

    paths: run folders, or files of samples in any form that `analysis.readers` knows, FILE::NAME too.
    decode: text of prompt tokens, for runs (None: their prompts are not shown).
    Raises InputError where a path is not there, holds no completions, or has no row of the asked steps.
    """
    sources = find_sources([str(rollouts_of(path)) for path in paths])
    for source in sources:
        if source.kind != "samples" or not (source.adapter or set(TEXTS) & set(source.columns)):
            raise InputError(f"{source.path}: holds no completions (no column {' or '.join(TEXTS[:2])})")
    light = _light(sources)
    inside = np.ones(len(light.step), dtype=bool)
    if limits.steps is not None:
        inside = (light.step >= limits.steps[0]) & (light.step <= limits.steps[1])
        if "step" not in light.has:
            raise InputError(f"{sources[0].path}: has no column step; leave --steps out")
        if not inside.any():
            first, last = (int(limit(light.step)) for limit in (np.min, np.max))
            raise InputError(f"no step from {limits.steps[0]} to {limits.steps[1]}: there are {first} to {last}")
    at = np.flatnonzero(inside)
    chosen = at[choose(light.step[at], light.group[at], limits=limits)]
    rows, prompts = _texts(sources, chosen, light=light, characters=limits.characters, decode=decode)
    return {
        "rows": rows,
        "prompts": prompts,
        "groups": _groups(light, np.unique(light.group[chosen])),
        "steps": _steps(light, at) if "step" in light.has else [],
        "sources": light.sources,
        "total": {"rows": len(at), "groups": len(np.unique(light.group[at]))},
    }


def rollouts_of(path: str) -> Path | str:
    """The folder of a run's rollouts where `path` is a run, else `path` itself."""
    folder = Path(path) / "rollouts"
    if folder.is_dir():
        if not any(folder.glob("*.parquet")):
            raise InputError(f"{folder}: no rollouts yet; they are written at the end of each step")
        return folder
    return path


def choose(step: np.ndarray, group: np.ndarray, *, limits: Limits) -> np.ndarray:
    """Positions [<= limits.rows] of the rows to show, ascending: all, where they fit. Else every step has the same
    share, filled with whole groups in random order (of a group of more than GROUP_SHOWN a random part).

    step, group: int64 [N].

    >>> choose(np.repeat([0, 1], 6), np.repeat([0, 1, 2, 3], 3), limits=Limits(rows=6)).tolist()
    [3, 4, 5, 6, 7, 8]
    """
    if len(step) <= limits.rows:
        return np.arange(len(step))
    rng = np.random.default_rng(limits.seed)
    steps, sizes = np.unique(step, return_counts=True)
    if len(steps) > limits.rows:
        taken = np.unique(np.linspace(0, len(steps) - 1, limits.rows).round().astype(int))
        steps = steps[taken]
        sizes = sizes[taken]
    left = limits.rows
    chosen = []
    for position, which in enumerate(np.argsort(sizes, kind="stable")):  # small steps first: what they leave is shared
        rows = np.flatnonzero(step == steps[which])
        room = left // (len(steps) - position)
        # rows in random order, groups in random order, at most GROUP_SHOWN rows of each
        rows = rng.permutation(rows)
        _, code = np.unique(group[rows], return_inverse=True)
        order = np.argsort(rng.permutation(code.max() + 1)[code], kind="stable")
        rows = rows[order]
        code = code[order]
        start = np.flatnonzero(np.diff(code, prepend=-1))
        rank = np.arange(len(code)) - np.repeat(start, np.diff(np.append(start, len(code))))
        rows = rows[rank < GROUP_SHOWN][:room]
        chosen.append(rows)
        left -= len(rows)
    return np.sort(np.concatenate(chosen))


# --- the first pass: every row without its texts


class _Codes:
    """Numbers for texts, in the order in which they are first seen."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def of(self, array: pa.Array, absent: str) -> np.ndarray:
        """int64 [N], of a text column; null counts as the text `absent`."""
        coded = array.cast(pa.string()).fill_null(absent).dictionary_encode()
        known = [self.numbers.setdefault(text, len(self.numbers)) for text in coded.dictionary.to_pylist()]
        return np.array(known, dtype=np.int64)[np.asarray(coded.indices)]


def _coded(batch: RowBlock, source: Source, *, name: str, codes: _Codes, absent: str) -> np.ndarray:
    values = column(batch, source, name=name, kind=pa.string())
    return codes.of(pa.nulls(batch.table.num_rows, pa.string()) if values is None else values, absent)


def _numbers(batch: RowBlock, source: Source, *, name: str, kind: pa.DataType, absent: float) -> np.ndarray:
    values = column(batch, source, name=name, kind=kind)
    return np.full(batch.table.num_rows, absent) if values is None else np.asarray(values.fill_null(absent))


def _light(sources: list[Source]) -> Light:
    problems, benchmarks, makers, verdicts = (_Codes() for _ in range(4))
    parts: list[list[np.ndarray]] = []
    has: set[str] = set()
    for source in sources:
        for batch in batches(source, LIGHT, rows=BATCH_ROWS):
            batch = one_model(batch, source)
            if not batch.table.num_rows:
                continue
            has |= set(batch.table.column_names)
            maker = "source" if "source" in batch.table.column_names else "model"
            parts.append(
                [
                    _numbers(batch, source, name="step", kind=pa.int64(), absent=0),
                    _numbers(batch, source, name="group", kind=pa.int64(), absent=0),
                    _coded(batch, source, name="problem_id", codes=problems, absent=""),
                    _coded(batch, source, name="benchmark", codes=benchmarks, absent=DEFAULT_BENCHMARK),
                    _coded(batch, source, name=maker, codes=makers, absent="unknown"),
                    verdicts.of(_verdict(batch, source), "unknown"),
                    _numbers(batch, source, name="reward", kind=pa.float64(), absent=np.nan),
                ]
            )
    if not parts:
        raise InputError(f"{sources[0].path}: no row to show")
    step, drawn, problem, benchmark, maker, verdict, reward = (
        np.concatenate(list(x)) for x in zip(*parts, strict=True)
    )
    # One number for each (step, drawing, problem, benchmark): these are few, so a mixed radix does not overflow.
    group = np.zeros(len(step), dtype=np.int64)
    for key in (step, drawn, problem, benchmark):
        values, code = np.unique(key, return_inverse=True)
        _, group = np.unique(group * len(values) + code, return_inverse=True)
    return Light(step, group, maker, verdict, reward, list(makers.numbers), list(verdicts.numbers), has)


def _verdict(batch: RowBlock, source: Source) -> pa.Array:
    """correct, wrong, no_answer, timeout, error, or null where nothing is known."""
    if (verdict := column(batch, source, name="verdict", kind=pa.string())) is not None:
        return verdict
    correct = column(batch, source, name="correct", kind=pa.bool_())
    if correct is None:
        return pa.nulls(batch.table.num_rows, pa.string())
    return pc.if_else(correct, pa.scalar("correct"), pa.scalar("wrong"))


def _tally(light: Light, rows: np.ndarray) -> dict[str, Any]:
    """How many rows, how many of them correct, of how many that are evidence, and the mean reward."""
    names = np.array(light.verdicts)
    verdict = light.verdict[rows]
    reward = light.reward[rows]
    known = ~np.isin(names, [*NO_EVIDENCE, "unknown"])[verdict]
    return {
        "n": len(rows),
        "correct": int((names == "correct")[verdict].sum()),
        "judged": int(known.sum()),
        "reward": None if np.isnan(reward).all() else float(np.nanmean(reward)),
    }


def _by(key: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(value of the key, its rows), ascending."""
    order = rows[np.argsort(key[rows], kind="stable")]
    values, start = np.unique(key[order], return_index=True)
    yield from zip(values.tolist(), np.split(order, start[1:]), strict=True)


def _steps(light: Light, rows: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"step": step, "groups": len(np.unique(light.group[own])), **_tally(light, own)}
        for step, own in _by(light.step, rows)
    ]


def _groups(light: Light, shown: np.ndarray) -> list[dict[str, Any]]:
    """All rows of the groups of which something is shown, summed up."""
    rows = np.flatnonzero(np.isin(light.group, shown))
    return [{"group": group, **_tally(light, own)} for group, own in _by(light.group, rows)]


# --- the second pass: the texts of the chosen rows


def _texts(
    sources: list[Source], chosen: np.ndarray, *, light: Light, characters: int, decode: Decode | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """A dict a chosen row, in the files' order, and the distinct prompts, which rows name by position."""
    rows: list[dict[str, Any]] = []
    prompts: dict[Any, int] = {}
    said: list[str] = []
    for first, batch in _chosen_batches(sources, chosen):
        # Rows that are not shown are not turned into Python.
        here = chosen[(chosen >= first) & (chosen < first + batch.table.num_rows)]
        if not len(here):
            continue
        lengths = _lengths(batch.table)
        for number, row in zip(here.tolist(), batch.table.take(pa.array(here - first)).to_pylist(), strict=True):
            text = next((row[name] for name in TEXTS if row.get(name) is not None), None)
            length = row.get("num_tokens") if lengths is None else int(lengths[number - first])
            out = {
                "step": int(light.step[number]),
                "group": int(light.group[number]),
                "source": int(light.source[number]),
                "verdict": light.verdicts[light.verdict[number]],
                "reward": None if np.isnan(light.reward[number]) else float(light.reward[number]),
                "problem": row.get("problem_id"),
                "benchmark": row.get("benchmark"),
                "answer": cut(row.get("answer"), CUT["answer"]),
                "tokens": length,
                "text": cut(text, characters),
            }
            more = [(name, row[name]) for name in SHOWN if row.get(name) is not None]
            out["more"] = {name: cut(_exact(value), CUT.get(name, 300)) for name, value in more}
            # A group shares its prompt, which goes into the page once. Tokens alone need a tokenizer to be shown.
            prompt = row.get("prompt")
            key = prompt if prompt is not None else tuple(row.get("prompt_tokens") or ())
            if key and key not in prompts and (prompt is not None or decode is not None):
                prompts[key] = len(said)
                said.append(cut(str(prompt) if decode is None or prompt is not None else decode(list(key)), characters))
            out["prompt"] = prompts.get(key)
            rows.append(out)
    return rows, said


def _chosen_batches(sources: list[Source], chosen: np.ndarray) -> Iterator[tuple[int, RowBlock]]:
    """(number of its first row among all, batch), of those batches that may hold a chosen row. Of Parquet, row
    groups without one are not decoded."""
    first = 0
    for source in sources:
        if source.format != "parquet" or source.adapter or source.select:
            for batch in batches(source, None, rows=TEXT_BATCH_ROWS):
                batch = one_model(batch, source)
                yield first, batch
                first += batch.table.num_rows
            continue
        file = parquet(source)
        heavy = {"logprobs", "old_logprobs"}  # one number a token, which nobody reads here
        wanted = [name for name in source.columns if name not in heavy]
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if np.searchsorted(chosen, first) == np.searchsorted(chosen, first + rows):
                first += rows
                continue
            for part in file.iter_batches(TEXT_BATCH_ROWS, row_groups=[group], columns=wanted):
                yield first, RowBlock(pa.Table.from_batches([part]), lambda i: i)
                first += part.num_rows


def _lengths(table: pa.Table) -> np.ndarray | None:
    """Tokens of each completion, where they are recorded one by one."""
    if "tokens" not in table.column_names or not pa.types.is_list(table["tokens"].type):
        return None
    return np.asarray(pc.list_value_length(table["tokens"]).fill_null(0))


def _exact(value: Any) -> Any:
    """Whole numbers that a browser would round, as seeds are, become text."""
    return str(value) if isinstance(value, int) and abs(value) > 2**53 else value


def cut(value: Any, characters: int) -> Any:
    """A text of at most so many characters, which says how many are left out; other values as they are.

    >>> cut("abcdef", 4)
    'abcd\\n[... 2 more characters]'
    """
    if not isinstance(value, str) or len(value) <= characters:
        return value
    return f"{value[:characters]}\n[... {len(value) - characters:,} more characters]"
