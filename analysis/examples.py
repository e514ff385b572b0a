"""Completions to read: a few correct and a few wrong ones of chosen problems, found in a second pass over the files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from analysis.batches import batches, one_model
from analysis.columns import column
from analysis.files import TEXT_BATCH_ROWS, RowBlock, Source, find_sources, parquet
from analysis.records import DEFAULT_BENCHMARK, ModelSamples

pc: Any = pyarrow.compute  # its functions are made when it is imported, which no type checker sees


def examples(
    samples: ModelSamples, problems: Sequence[int], *, each: int = 2, characters: int = 6000
) -> dict[int, list[dict[str, Any]]]:
    """Rows to read, for the problems at these indices: up to `each` correct and `each` wrong ones a problem, cut at
    `characters`.

    Rows are dicts of all their columns, unknown ones too, with `correct` as a bool. Empty where the files have no
    completions. Of Parquet only row groups with a wanted row have their texts decoded.

    samples: whose rows, with the files that they were read from.
    problems: indices.
    each: rows of a kind and problem.
    characters: of a text, before it is cut.
    """
    wanted = {(samples.benchmarks[i], samples.problem_ids[i]): int(i) for i in problems}
    found: dict[int, list[dict[str, Any]]] = {i: [] for i in wanted.values()}
    room = {(i, correct): each for i in found for correct in (True, False)}
    only = samples.benchmarks[0] if len(set(samples.benchmarks)) == 1 else None
    # The files are read again as they were read first: the same column, the same metric.
    names = [f["path"] + (f"::{f['select']}" if f.get("select") else "") for f in samples.files if wanted]
    asked = {key: samples.files[0].get(key) for key in ("metric", "correct_above")} if names else {}
    sources = find_sources(names, **asked)
    for source in sources:
        if source.kind != "samples" or (not source.foreign and "completion" not in source.columns):
            continue
        for batch, chosen in _batches_with(source, set(wanted), only=only, each=each):
            for i, key, correct in chosen:
                at = wanted[key]
                text = batch.table["completion"][i].as_py() if "completion" in batch.table.column_names else None
                if text is None or not room[at, correct]:
                    continue
                text = text if isinstance(text, str) else json.dumps(text, default=str, ensure_ascii=False)
                room[at, correct] -= 1
                row = {name: batch.table[name][i].as_py() for name in batch.table.column_names}
                cut = (
                    text
                    if len(text) <= characters
                    else f"{text[:characters]}\n[... {len(text) - characters:,} more characters]"
                )
                found[at].append(row | {"completion": cut, "correct": correct})
        # Nothing more is wanted, so later files stay closed.
        if not any(room.values()):
            break
    return found


def _batches_with(
    source: Source, wanted: set[tuple[str, str]], *, only: str | None, each: int
) -> Iterator[tuple[RowBlock, list]]:
    """Batches that hold wanted rows, and which: (row in the batch, (benchmark, problem), correct)."""
    if source.format != "parquet" or source.foreign:
        for batch in batches(source, None, rows=TEXT_BATCH_ROWS):
            batch = one_model(batch, source)
            if chosen := _choose(batch, source, wanted=wanted, only=only, each=each):
                yield batch, chosen
        return
    file = parquet(source)
    first = 1
    light = [name for name in ("problem_id", "benchmark", "correct", "verdict", "model") if name in source.columns]
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=light)
        chosen = _choose(RowBlock(table, lambda i, first=first: first + i), source, wanted=wanted, only=only, each=each)
        first += table.num_rows
        start = 0
        for batch in file.iter_batches(TEXT_BATCH_ROWS, row_groups=[group]) if chosen else ():
            here = [(i - start, key, correct) for i, key, correct in chosen if start <= i < start + batch.num_rows]
            if here:
                yield RowBlock(pa.Table.from_batches([batch]), lambda i: i), here
            start += batch.num_rows
            if start > max(i for i, *_ in chosen):
                break


def _choose(
    batch: RowBlock, source: Source, *, wanted: set[tuple[str, str]], only: str | None, each: int
) -> list[tuple[int, tuple[str, str], bool]]:
    """The first `each` correct and wrong rows of every wanted problem in the batch, in the batch's order."""
    if not batch.table.num_rows:
        return []
    # Rows of wanted ids, of the one model where the file has several.
    ids = pa.array(sorted({problem for _, problem in wanted}), pa.string())
    problem = pc.cast(column(batch, source, name="problem_id", kind=pa.string()), pa.string())
    rows = np.asarray(pc.is_in(problem, value_set=ids))
    if source.select and not source.foreign:
        rows &= np.asarray(pc.equal(batch.table["model"].cast(pa.string()), source.select).fill_null(False))
    at = np.flatnonzero(rows)
    code = np.asarray(problem.take(pa.array(at)).dictionary_encode().indices).astype(np.int64)
    # A file says so in one column or the other.
    correct = np.zeros(len(rows), dtype=bool)
    for name, kind, right in (("correct", pa.bool_(), True), ("verdict", pa.string(), "correct")):
        if (values := column(batch, source, name=name, kind=kind)) is not None:
            correct |= np.asarray(pc.equal(values.cast(kind), right).fill_null(False))
    # One key for problem, set and correctness; of each key the first rows, found by one sort.
    benchmark = None if only is not None else column(batch, source, name="benchmark", kind=pa.string())
    sets = (
        np.zeros(len(at), dtype=np.int64)
        if benchmark is None
        else np.asarray(benchmark.cast(pa.string()).take(pa.array(at)).fill_null("").dictionary_encode().indices)
    )
    key = (code * (sets.max(initial=0) + 1) + sets) * 2 + correct[at]
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    # Two sets may share an id, so the pair is looked up once more.
    chosen = []
    for i in np.sort(at[order[rank < each]]).tolist():
        name = only if only is not None else (None if benchmark is None else benchmark[i].as_py()) or DEFAULT_BENCHMARK
        if (name, problem[i].as_py()) in wanted:
            chosen.append((i, (name, problem[i].as_py()), bool(correct[i])))
    return chosen
