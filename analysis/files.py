"""From paths to tables: finds the files, reads them in batches, and turns the columns of other projects into ours."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from analysis.adapters import ADAPTERS, Adapter
from analysis.errors import InputError
from analysis.records import COUNT_COLUMNS, SAMPLE_COLUMNS, SCORE_COLUMNS

pc: Any = pyarrow.compute  # its functions are made when it is imported, which no type checker sees

READERS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
BATCH_ROWS = 1 << 19  # a batch of samples without texts is then about 20 MB
TEXT_BATCH_ROWS = 1 << 13  # where each row may hold a completion of many kilobytes


@dataclass
class Source:
    """One file to read. `select` is what followed "::" in its name: a model, a column's prefix, a filter."""

    path: Path
    select: str | None = None
    format: str = ""
    adapter: Adapter | None = None
    kind: str = ""  # samples, counts or scores
    columns: list[str] = field(default_factory=list)

    def at(self, row: int | None = None) -> str:
        """How errors name a place: rows count from 1, a CSV's header not among them; a JSON-lines row is its line."""
        return str(self.path) if row is None else f"{self.path}, {'line' if self.format == 'json' else 'row'} {row}"


@dataclass
class Batch:
    """Some rows of a file. number(i): what row i is called in errors."""

    table: pa.Table
    number: Callable[[int], int]


def find_sources(paths: list[str]) -> list[Source]:
    """The files behind `paths`: files or folders (searched through, .json left aside), with "::NAME" where a file holds
    several models.

    Raises InputError for a path that is not there, of an unknown format, empty, or given twice.
    """
    sources: list[Source] = []
    for given in paths:
        name, _, select = str(given).partition("::")
        path = Path(name).expanduser()
        if path.is_dir():
            found = sorted(
                p
                for p in path.rglob("*")
                if p.is_file()
                and not any(part.startswith(".") for part in p.relative_to(path).parts)
                and _suffix(p) in READERS
                and _suffix(p) != ".json"
            )
            if not found:
                raise InputError(
                    f"{path}: the folder holds no file of records ({', '.join(s for s in READERS if s != '.json')})"
                )
        elif path.is_file():
            found = [path]
        else:
            raise InputError(f"{path}: no such file or folder")
        sources += [Source(p, select or None) for p in found]
    seen: dict[tuple[Path, str | None], None] = {}
    for source in sources:
        if (key := (source.path.resolve(), source.select)) in seen:
            raise InputError(f"{source.path}: given twice")
        seen[key] = None
        _identify(source)
    kinds = {s.kind: s for s in sources}
    if len(kinds) > 1:
        a, b = list(kinds.values())[:2]
        raise InputError(f"{a.path} holds {a.kind} and {b.path} holds {b.kind}: give one kind on a side")
    return sources


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix.lower() in (".gz", ".zst", ".bz2") else path.suffix.lower()


def _identify(source: Source) -> None:
    """Fills in format, columns, adapter and kind, from the head of the file."""
    suffix = _suffix(source.path)
    if suffix not in READERS:
        raise InputError(
            f"{source.path}: unknown kind of file {suffix or '(no ending)'}; readable are "
            f"{', '.join(READERS)}, also gzipped (.gz)"
        )
    source.format = READERS[suffix]
    if source.path.stat().st_size == 0:
        raise InputError(f"{source.path}: the file is empty")
    source.columns = _head(source)
    columns = set(source.columns)
    source.kind = (
        "scores"
        if {"logprob", "num_tokens", "model"} <= columns and not {"correct", "verdict"} & columns
        else _kind(columns)
    )
    if not source.kind:
        source.adapter = next((adapter for adapter in ADAPTERS if adapter.fits(columns)), None)
        if source.adapter is None:
            raise InputError(
                f"{source.path}: neither samples (problem_id and correct or verdict), nor counts "
                "(problem_id, n, correct),"
                f" nor a known format ({', '.join(a.name for a in ADAPTERS)}); its columns are "
                f"{', '.join(source.columns) or 'none'}"
            )
        source.kind = source.adapter.kind


def _kind(columns: set[str]) -> str:
    if "problem_id" not in columns:
        return ""
    if {"n", "correct"} <= columns:
        return "counts"
    return "samples" if columns & {"correct", "verdict"} else ""


def _head(source: Source) -> list[str]:
    """The columns of a file; of JSON lines those of its first 100 rows."""
    if source.format == "parquet":
        return parquet(source).schema_arrow.names
    if source.format == "csv":
        with _open(source) as raw:
            line = io.TextIOWrapper(raw, encoding="utf-8-sig").readline()
        names = next(csv.reader([line], delimiter=_delimiter(source)), [])
        names = [name.strip() for name in names]
        if repeated := [n for n in names if names.count(n) > 1]:
            raise InputError(f"{source.path}: column {repeated[0]!r} appears twice in the header")
        return names
    names = {}
    for index, (_, row) in enumerate(_json_rows(source)):
        names |= dict.fromkeys(row)
        if index == 99:
            break
    if not names:
        raise InputError(f"{source.path}: the file holds no rows")
    return list(names)


def batches(source: Source, wanted: set[str] | None = None, *, rows: int = BATCH_ROWS) -> Iterator[Batch]:
    """The rows of a file in our columns, adapted where the file is another project's. wanted: only these columns (all
    where None)."""
    read = {"parquet": _parquet_batches, "csv": _csv_batches, "json": _json_batches}[source.format]
    adapter = source.adapter
    for batch in read(source, wanted if adapter is None else None, rows if adapter is None else TEXT_BATCH_ROWS):
        if adapter is None:
            yield batch
            continue
        out: list[dict[str, Any]] = []
        numbers: list[int] = []
        for i, row in enumerate(batch.table.to_pylist() if not isinstance(batch.table, list) else batch.table):
            number = batch.number(i)
            for converted in adapter.convert(row, source.path, source.select, source.at(number)):
                out.append(converted)
                numbers.append(number)
        if out:
            yield Batch(_from_rows(out), numbers.__getitem__)


def one_model(batch: Batch, source: Source) -> Batch:
    """Only the rows of the model that FILE::NAME asks for, where the file has a model column (adapters see to it
    themselves)."""
    if not source.select or source.adapter or "model" not in batch.table.column_names:
        if source.select and not source.adapter:
            raise InputError(f"{source.path}: has no model column to choose {source.select!r} by")
        return batch
    kept = np.flatnonzero(np.asarray(pc.equal(batch.table["model"].cast(pa.string()), source.select).fill_null(False)))
    return Batch(batch.table.take(pa.array(kept)), lambda i: batch.number(int(kept[i])))


def _from_rows(rows: list[dict[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):  # mixed types: as text, and whoever needs the column checks it
            columns[name] = pa.array(
                [v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string()
            )
    return pa.table(columns)


def _open(source: Source) -> pa.NativeFile:
    return pa.input_stream(str(source.path), compression="detect")


def _delimiter(source: Source) -> str:
    return "\t" if _suffix(source.path) == ".tsv" else ","


def parquet(source: Source) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(source.path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{source.path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    return pq.ParquetFile(
        source.path,
        read_dictionary=[t for t in texts if t in SAMPLE_COLUMNS and t not in ("completion", "answer", "mode")],
    )


def _parquet_batches(source: Source, wanted: set[str] | None, rows: int) -> Iterator[Batch]:
    file = parquet(source)
    if file.metadata.num_rows == 0:
        raise InputError(f"{source.path}: the file holds no rows")
    columns = None if wanted is None else [name for name in source.columns if name in wanted]
    first = 1
    for batch in file.iter_batches(batch_size=rows, columns=columns):
        yield Batch(pa.Table.from_batches([batch]), lambda i, first=first: first + i)
        first += batch.num_rows


def _csv_batches(source: Source, wanted: set[str] | None, rows: int) -> Iterator[Batch]:
    refused: list[pa_csv.InvalidRow] = []

    def refuse(row: pa_csv.InvalidRow) -> str:
        refused.append(row)
        return "error"

    names = source.columns
    first = 1
    try:
        reader = pa_csv.open_csv(
            _open(source),
            read_options=pa_csv.ReadOptions(column_names=names, skip_rows=1, block_size=16 << 20, use_threads=False),
            parse_options=pa_csv.ParseOptions(
                delimiter=_delimiter(source), newlines_in_values=True, invalid_row_handler=refuse
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                include_columns=None if wanted is None else [n for n in names if n in wanted],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                null_values=[""],
            ),
        )
        for batch in reader:
            if batch.num_rows:
                yield Batch(pa.Table.from_batches([batch]), lambda i, first=first: first + i)
            first += batch.num_rows
    except pa.ArrowInvalid as error:
        if refused:
            at = (
                source.at() if refused[0].number is None else source.at(refused[0].number - 1)
            )  # its numbers count the header
            columns = f"{refused[0].actual_columns} fields where the header has {refused[0].expected_columns}"
            raise InputError(f"{at}: {columns}: {refused[0].text[:80]!r}") from None
        if "Empty CSV file" not in str(error):
            raise InputError(f"{source.path}: {str(error).splitlines()[0]}") from None
    if first == 1:
        raise InputError(f"{source.path}: the file holds no rows below its header")


def _json_rows(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object, of JSON lines; of a JSON array, position (from 1) and object."""
    text = io.TextIOWrapper(_open(source), encoding="utf-8-sig")
    if _suffix(source.path) == ".json":
        whole = text.read()
        if whole.lstrip()[:1] == "[":
            try:
                yield from ((i, _object(row, source, number=i)) for i, row in enumerate(json.loads(whole), 1))
            except json.JSONDecodeError as error:
                raise InputError(f"{source.at(error.lineno)}: not JSON ({error.msg}, column {error.colno})") from None
            return
        text = io.StringIO(whole)
    number = 0
    try:
        for number, line in enumerate(text, 1):
            if line.strip():
                yield number, _object(json.loads(line), source, number=number)
    except json.JSONDecodeError as error:
        raise InputError(f"{source.at(number)}: not JSON ({error.msg}, column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{source.at(number + 1)}: not UTF-8 text ({error.reason})") from None


def _object(row: Any, source: Source, *, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"{source.at(number)}: a JSON object is wanted, this is {type(row).__name__}")
    return row


def _json_batches(source: Source, wanted: set[str] | None, rows: int) -> Iterator[Batch]:
    numbers: list[int] = []
    held: list[dict[str, Any]] = []

    def flush() -> Batch:
        table = (
            held
            if source.adapter
            else _from_rows([{k: v for k, v in r.items() if wanted is None or k in wanted} for r in held])
        )
        return Batch(table, list(numbers).__getitem__)

    for number, row in _json_rows(source):
        held.append(row)
        numbers.append(number)
        if len(held) == TEXT_BATCH_ROWS:
            yield flush()
            held = []
            numbers = []
    if held:
        yield flush()


# --- columns of a wanted type, with errors that name the row
# -----------------------------------------------------------


TRUE = ["true", "1", "1.0", "yes"]
FALSE = ["false", "0", "0.0", "no"]
MEANING = {
    pa.bool_(): "true or false (or 1 or 0)",
    pa.int64(): "a whole number",
    pa.float64(): "a number",
    pa.string(): "text",
}


def column(batch: Batch, source: Source, name: str, kind: pa.DataType, *, missing_ok: bool = True) -> pa.Array | None:
    """Column `name` of a batch as `kind`, None where the batch has none.

    Raises InputError naming the first row that is not `kind`, or is missing.
    """
    if name not in batch.table.column_names:
        return None
    data = batch.table[name].combine_chunks()
    data = data.chunk(0) if isinstance(data, pa.ChunkedArray) and data.num_chunks == 1 else data
    if pa.types.is_null(data.type):
        out = pa.nulls(len(data), kind)
    elif pa.types.is_string(kind):
        out = data if _is_text(data.type) else _cast(data, kind)
    elif _is_text(data.type):
        out = _parse(data.cast(pa.string()), kind)
    elif pa.types.is_boolean(kind) and (pa.types.is_integer(data.type) or pa.types.is_floating(data.type)):
        out = pc.if_else(pc.or_(pc.equal(data, 1), pc.equal(data, 0)), pc.equal(data, 1), pa.scalar(None, pa.bool_()))
    elif pa.types.is_boolean(data.type) and not pa.types.is_boolean(kind):
        out = None
    else:
        out = _cast(data, kind)
    if out is None:
        raise InputError(f"{source.path}: column {name} is {data.type}; it should be {MEANING[kind]}")
    lost = np.asarray(pc.and_(pc.is_null(out), pc.is_valid(data)))
    if lost.any():
        i = int(lost.argmax())
        raise InputError(f"{source.at(batch.number(i))}: {name} is {_shown(data[i])}; it should be {MEANING[kind]}")
    if not missing_ok and out.null_count:
        i = int(np.asarray(pc.is_null(out)).argmax())
        raise InputError(f"{source.at(batch.number(i))}: {name} is missing")
    return out


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (pa.types.is_dictionary(kind) and _is_text(kind.value_type))
    )


def _cast(data: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Cast; values that do not fit (2.5 as a whole number, NaN) become null, None where the types cannot be cast at
    all."""
    if pa.types.is_integer(kind) and pa.types.is_floating(data.type):
        data = pc.if_else(pc.equal(pc.round(data), data), data, pa.scalar(None, data.type))
    if pa.types.is_floating(kind):
        data = data.cast(kind) if pa.types.is_integer(data.type) or pa.types.is_floating(data.type) else data
        return pc.if_else(pc.is_finite(data), data, pa.scalar(None, kind)) if pa.types.is_floating(data.type) else None
    try:
        return data.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _parse(data: pa.Array, kind: pa.DataType) -> pa.Array:
    text = pc.utf8_lower(pc.utf8_trim_whitespace(data))
    if pa.types.is_boolean(kind):
        known = pc.is_in(text, value_set=pa.array(TRUE + FALSE))
        return pc.if_else(known, pc.is_in(text, value_set=pa.array(TRUE)), pa.scalar(None, pa.bool_()))
    number = r"^[+-]?\d+(\.0*)?$" if pa.types.is_integer(kind) else r"^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$"
    fits = pc.match_substring_regex(text, number)
    clean = pc.if_else(
        fits,
        pc.replace_substring_regex(text, r"\.0*$", "") if pa.types.is_integer(kind) else text,
        pa.scalar(None, pa.string()),
    )
    return pc.replace_substring_regex(clean, r"^\+", "").cast(kind)


def _shown(value: pa.Scalar) -> str:
    shown = value.as_py()
    return repr(shown if not isinstance(shown, str) or len(shown) <= 40 else shown[:40] + "...")


def natural_key(text: str) -> list[tuple[int, int | str]]:
    """Sorts "9" before "10"."""
    return [
        (0, int(part)) if part.isdigit() and part.isascii() else (1, part) for part in re.split(r"(\d+)", text) if part
    ]


KNOWN = {"samples": SAMPLE_COLUMNS, "counts": COUNT_COLUMNS, "scores": SCORE_COLUMNS}
