"""Reads one model's records and lines two models up. Samples are streamed: what stays in memory is a few bytes a draw.

    base = load(["runs/base/*.parquet"]);  tuned = load(["runs/grpo"]);  base, tuned, warnings = align(base, tuned)

A path may be a CSV, JSON-lines or Parquet file or a folder of them, of samples or of counts (found from the columns),
in our schema or in one that `analysis.adapters` knows; FILE::NAME takes one model out of a file that holds several.
"""

from __future__ import annotations

import glob
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from analysis.accumulate import SampleRows
from analysis.batches import batches, one_model
from analysis.columns import column
from analysis.count_rows import CountRows
from analysis.errors import InputError
from analysis.files import find_sources, sha256
from analysis.records import DEFAULT_BENCHMARK, SAMPLE_COLUMNS, SCORE_COLUMNS, ModelSamples, Scores

TRUNCATION_MARGIN = 0.02  # truncation rates of the two sides that differ by more than this get a warning
UNPAIRED_SETTINGS = ("model", "seed")  # settings in which two sides should differ


def load(
    paths: Sequence[str],
    name: str | None = None,
    *,
    metric: str | None = None,
    correct_above: float | None = None,
) -> ModelSamples:
    """One model's samples or counts.

    Raises InputError, naming file and row, for what is missing, contradictory, not of its type, or there twice.

    paths: files, folders or globs, "FILE::COLUMN" for a table of counts.
    name: how tables call the model; None: its `model` column, else the first file's stem.
    metric: what says which draws are correct, where files hold several.
    correct_above: numbers above it do.
    """
    sources = find_sources(_expand(paths), metric=metric, correct_above=correct_above)
    if sources[0].kind == "scores":
        raise InputError(
            f"{sources[0].path}: holds scores of texts, not samples (no column correct or verdict); "
            "give it with --scores"
        )
    rows = CountRows() if sources[0].kind == "counts" else SampleRows()
    files = []
    found: dict[tuple[str, str | None], int] = {}  # rows by what the user gave: a folder may hold files of others
    with tqdm(total=None, desc="reading", unit=" rows", unit_scale=True, delay=3, disable=None) as bar:
        for index, source in enumerate(sources):
            before = rows.seen
            for batch in batches(source, rows.WANTED):
                batch = one_model(batch, source)
                if batch.table.num_rows:
                    rows.add(batch, source, file=index)
                    bar.update(batch.table.num_rows)
            found[source.given, source.select] = found.get((source.given, source.select), 0) + rows.seen - before
            files.append(
                {
                    "path": str(source.path),
                    "sha256": sha256(source.path),
                    "rows": rows.seen - before,
                    "format": source.format,
                }
            )
            asked = {"select": source.select, "adapter": source.foreign}
            asked |= {"metric": metric, "correct_above": correct_above}
            files[-1] |= {key: value for key, value in asked.items() if value is not None}
    # a NAME that matches nothing, or one file under two names, would be a silent mistake
    for (given, select), count in found.items():
        if select and not count:
            raise InputError(f"{given}: no row belongs to {select!r}")
    hashes = {}
    for source, file in zip(sources, files, strict=True):
        if (same := hashes.setdefault((file["sha256"], source.select), file["path"])) != file["path"]:
            raise InputError(f"{file['path']}: the same content as {same}; its draws would count twice")
    # what the rows make together
    samples = rows.finish(sources)
    samples.files = files
    samples.warnings += dict.fromkeys(line for source in sources for line in source.asked.notes)
    if samples.settings.get("temperature") == [0.0]:
        samples.warnings.append(
            "all draws were made at temperature 0: they are one deterministic answer a problem, of which another draw "
            "would show the same, so what chance explains is overstated"
        )
    samples.extra_columns = sorted(
        {
            c
            for s in sources
            if not s.foreign
            for c in s.columns
            if c not in SAMPLE_COLUMNS and c not in ("n", "excluded", "truncated")
        }
    )
    samples.name = (
        name or next(iter(samples.settings.get("model", [])), None) or sources[0].select or _file_name(sources[0].path)
    )
    return samples


DATED = re.compile(r"(samples|details)_.+_\d{4}-\d\d-\d\dT")  # lm-evaluation-harness: the model is the folder


def _file_name(path: Path) -> str:
    """What a side is called after its file: the folder where the file is named by task and time alone."""
    folder = path.resolve().parent.name
    return folder if folder and DATED.match(path.name) else path.name.split(".")[0]


def load_scores(paths: Sequence[str]) -> Scores:
    """Scores of texts under models (SCORE_COLUMNS). Raises InputError naming file and row."""
    sources = find_sources(_expand(paths))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in SCORE_COLUMNS}
    files = []
    total = 0
    for source in sources:
        if missing := [c for c in ("problem_id", "model", "logprob", "num_tokens") if c not in source.columns]:
            raise InputError(f"{source.path}: scores need column {missing[0]}; it has {', '.join(source.columns)}")
        before = total
        for batch in batches(source, set(SCORE_COLUMNS) - {"completion"}):
            for name, (kind, _) in SCORE_COLUMNS.items():
                required = name in ("problem_id", "model", "logprob", "num_tokens")
                array = column(batch, source, name=name, kind=kind, missing_ok=not required)
                parts[name].append(
                    np.full(batch.table.num_rows, None, dtype=object) if array is None else _numpy(array)
                )
            total += batch.table.num_rows
            # Rounding may leave a probability of 1 a little above it.
            positive = parts["logprob"][-1] > 1e-6
            if positive.any():
                i = int(positive.argmax())
                raise InputError(
                    f"{source.at(batch.number(i))}: logprob is {parts['logprob'][-1][i]}; the "
                    "logarithm of a probability is at most 0"
                )
        files.append(
            {"path": str(source.path), "sha256": sha256(source.path), "rows": total - before, "format": source.format}
        )
    # A column that no file has is None as a whole.
    columns: dict[str, np.ndarray | None] = {}
    for name, pieces in parts.items():
        joined = np.concatenate(pieces)
        columns[name] = None if joined.dtype == object and all(v is None for v in joined) else joined
    if columns["benchmark"] is None:
        columns["benchmark"] = np.full(total, DEFAULT_BENCHMARK, dtype=object)
    return Scores(columns, files)


def align(
    base: ModelSamples, tuned: ModelSamples, *, common: bool = False
) -> tuple[ModelSamples, ModelSamples, list[str]]:
    """Both sides with the same problems in the same order, and lines of warning about what makes them hard to compare.

    A problem on one side only raises InputError, unless `common`, which drops it and says so. Problems without a single
    draw that is evidence are left out, with a warning.
    """
    warnings = [f"{side.name}: {line}" for side in (base, tuned) for line in side.warnings]
    # A problem is known by its benchmark too: ids such as 1, 2, 3 are common to many of them.
    base, tuned = _same_benchmark_names(base, tuned)
    keys = [list(zip(side.benchmarks, side.problem_ids, strict=True)) for side in (base, tuned)]
    where = [{key: i for i, key in enumerate(side)} for side in keys]
    alone = [[key for key in keys[i] if key not in where[1 - i]] for i in (0, 1)]
    if alone[0] or alone[1]:
        text = "; ".join(
            f"{len(lost)} problem{'s' * (len(lost) > 1)} only in {side.name} "
            f"({', '.join(_called(k) for k in lost[:3])}{', ...' * (len(lost) > 3)})"
            for lost, side in zip(alone, (base, tuned), strict=True)
            if lost
        )
        # Such ids look the same in a terminal, so the message has to say what differs.
        spelt = [{_spelling(key) for key in lost} for lost in alone]
        if spelt[0] & spelt[1]:
            shown = [next(ascii(k[1]) for k in lost if _spelling(k) in spelt[0] & spelt[1]) for lost in alone]
            text += f"; some differ in blanks or Unicode form alone, as {shown[0]} and {shown[1]}"
        if {key[1] for key in alone[0]} & {key[1] for key in alone[1]}:
            text += (
                "; what stands before the / is the benchmark's name, and differs: for lm-evaluation-harness it is the"
                " task in the file's name (samples_TASK_DATE.jsonl)"
            )
        if not common:
            raise InputError(
                f"the two sides hold different problems: {text} [{base.files[0]['path']} against "
                f"{tuned.files[0]['path']}];"
                " --common drops them"
            )
        warnings.append(f"dropped, as they are on one side only: {text}")
    shared = [key for key in keys[0] if key in where[1]]
    if not shared:
        raise InputError(
            f"the two sides have no problem in common [{base.files[0]['path']} against {tuned.files[0]['path']}]"
        )
    # A side without evidence has no pass rate here, not one of 0.
    kept = [key for key in shared if base.n[where[0][key]] and tuned.n[where[1][key]]]
    if len(kept) < len(shared):
        lost = [key for key in shared if key not in set(kept)]
        warnings.append(
            f"{len(lost)} problems left out, as one side has no draw of them that is evidence "
            f"({', '.join(_called(k) for k in lost[:3])})"
        )
        if not kept:
            raise InputError("no problem has a draw that is evidence on both sides")
    base, tuned = (
        side.subset(np.array([at[key] for key in kept])) for side, at in zip((base, tuned), where, strict=True)
    )
    return base, tuned, warnings + _differences(base, tuned)


def _expand(paths: Sequence[str]) -> list[str]:
    out = []
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        matches = (
            sorted(glob.glob(str(path)))
            if any(c in str(path) for c in "*?[") and not Path(str(path).partition("::")[0]).exists()
            else []
        )
        out += matches or [str(path)]
    if not out:
        raise InputError("no file given")
    return out


def _numpy(array: pa.Array) -> np.ndarray:
    if pa.types.is_floating(array.type) or (pa.types.is_integer(array.type) and not array.null_count):
        return array.to_numpy(zero_copy_only=False)
    return np.array(array.to_pylist() or [None], dtype=object)[: len(array)]


def _spelling(key: tuple[str, str]) -> tuple[str, str]:
    return key[0], unicodedata.normalize("NFC", key[1]).strip()


def _called(key: tuple[str, str]) -> str:
    return key[1] if key[0] == DEFAULT_BENCHMARK else f"{key[0]}/{key[1]}"


def _same_benchmark_names(base: ModelSamples, tuned: ModelSamples) -> tuple[ModelSamples, ModelSamples]:
    """Where only one side names its benchmark, and it is a single one, the other side takes that name."""
    names = [set(side.benchmarks) for side in (base, tuned)]
    for i, side in enumerate((base, tuned)):
        other = names[1 - i]
        if names[i] == {DEFAULT_BENCHMARK} and len(other) == 1 and other != names[i]:
            side = side.subset(np.arange(len(side)))
            side.benchmarks = list(other) * len(side)
            return (side, tuned) if i == 0 else (base, side)
    return base, tuned


def _differences(base: ModelSamples, tuned: ModelSamples) -> list[str]:
    out = []
    sides = (base, tuned)
    # Another temperature or length limit moves pass@k by itself, and would be read as an effect of the training.
    for key in sorted((base.settings.keys() | tuned.settings.keys()) - set(UNPAIRED_SETTINGS)):
        values = [side.settings.get(key) or [] for side in sides]
        if values[0] != values[1] and all(values):
            out.append(f"{key} differs: {base.name} has {_list(values[0])}, {tuned.name} has {_list(values[1])}")
        for side, value in zip(sides, values, strict=True):
            if len(value) > 1:
                out.append(f"{side.name} mixes draws with {key} {_list(value)}")
    if base.truncated is not None and tuned.truncated is not None:
        rates = [base.truncated.sum() / base.n.sum(), tuned.truncated.sum() / tuned.n.sum()]
        if abs(rates[0] - rates[1]) > TRUNCATION_MARGIN:
            out.append(
                f"truncation differs: {rates[0]:.1%} of {base.name}'s and {rates[1]:.1%} of "
                f"{tuned.name}'s completions were cut off"
            )
    # Support and pass@k need one k for all problems, so the problem with the fewest draws sets it.
    for side in sides:
        asked = side.n + side.excluded
        if asked.min() < asked.max():
            out.append(f"{side.name} has between {asked.min():,} and {asked.max():,} draws a problem")
        if side.excluded.any():
            share = side.excluded.sum() / (side.n.sum() + side.excluded.sum())
            out.append(
                f"{side.excluded.sum():,} draws of {side.name} ({share:.2%}) have verdict timeout or "
                "error and are left out"
            )
    asked = [side.n + side.excluded for side in sides]
    if set(asked[0].tolist()) != set(asked[1].tolist()):
        out.append(
            f"the sides differ in draws a problem: {base.name} has {_span(asked[0])}, {tuned.name} has "
            f"{_span(asked[1])}"
        )
    # A copied file would pass for "nothing changed": a verdict about a mistake.
    if {(f["sha256"], f.get("select")) for f in base.files} & {(f["sha256"], f.get("select")) for f in tuned.files}:
        out.append("the same file is on both sides: a model is compared with its own draws, so nothing can differ")
    elif (
        np.array_equal(base.correct, tuned.correct)
        and np.array_equal(base.n, tuned.n)
        and len(np.unique(base.correct)) > 2
    ):
        out.append("both sides have the same counts on every problem: are they the same draws?")
    return out


def _list(values: list[Any]) -> str:
    return ", ".join(str(v) for v in values[:4]) + (", ..." if len(values) > 4 else "")


def _span(n: np.ndarray) -> str:
    return f"{n.min():,}" if n.min() == n.max() else f"{n.min():,} to {n.max():,}"
