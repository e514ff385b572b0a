"""Rows of problem files, one at a time, each knowing where it stands: JSON lines, JSON, CSV, Parquet, `datasets`
folders, globs.

Nothing is held but the current line or batch, so a file may be larger than memory (a JSON array alone is read whole).
Whatever is wrong with a file becomes an InputError that names file, line (or row) and key.
"""

from __future__ import annotations

import csv
import glob
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from explore_rl.fetching import hub

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
BATCH_ROWS = 256  # rows of a Parquet or Arrow file that are turned to Python objects at once


@dataclass(frozen=True)
class Row:
    """One record of a file.

    path: the file's.
    name: the file's path below what was asked for, without suffix.
    number: which line (or row) of it, from 1.
    unit: what `number` counts.
    values: the record.
    """

    path: str
    name: str
    number: int
    unit: str  # "line" | "row"
    values: dict[str, Any]

    @property
    def place(self) -> str:
        return f"{self.path}:{self.number}" if self.unit == "line" else f"{self.path}: row {self.number}"

    def error(self, key: str, message: str) -> InputError:
        return InputError(f"{self.place}: key {key!r}: {message}")

    def first(self, *keys: str) -> str | None:
        """The first of these keys that holds something."""
        return next((key for key in keys if self.values.get(key) is not None), None)

    def text(self, *keys: str) -> str:
        """The text under the first of these keys that is there. InputError if none is, or if it is not text, or
        blank."""
        key = self.first(*keys)
        if key is None:
            rest = keys[1:]
            others = f" (nor is there {' or '.join(map(repr, rest))})" if rest else ""
            raise self.error(keys[0], f"missing{others}; expected text")
        value = self.values[key]
        if not isinstance(value, str):
            raise self.error(key, f"expected text, got {describe(value)}")
        if not value.strip():
            raise self.error(key, "empty; expected text")
        return value

    def optional_text(self, key: str) -> str | None:
        """The text under a key that a row may do without: None if it is absent, null or blank (many columns of code
        sets are)."""
        value = self.values.get(key)
        return None if value is None or (isinstance(value, str) and not value.strip()) else self.text(key)

    def need(self, key: str, kind: type, *, what: str) -> Any:
        """The value under key, of the kind asked for; `what` says in words what is expected."""
        value = self.values.get(key)
        if value is None:
            raise self.error(key, f"missing; expected {what}")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"expected {what}, got {describe(value)}")
        return value


def describe(value: Any) -> str:
    """A value in an error message: its JSON type and how it begins."""
    kind = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    shown = repr(value)
    return f"{kind.get(type(value), type(value).__name__)} {shown if len(shown) <= 60 else shown[:57] + '...'}"


def read_rows(path: str | Path) -> Iterator[Row]:
    """The rows of a file, of every file of a folder or glob (sorted), or of a folder that `datasets` saved. Raises
    InputError."""
    asked = Path(path)
    try:
        is_folder = asked.is_dir()
        is_there = asked.exists()
    except (OSError, ValueError) as error:  # too long, or with a NUL in it
        raise InputError(f"{str(path)[:200]!r}: not a usable path: {error}") from None
    if is_folder and ((asked / "dataset_dict.json").exists() or (asked / "state.json").exists()):
        yield from _saved_dataset(asked)
        return
    if is_folder:
        try:
            files = sorted(file for file in asked.rglob("*") if _suffix(file) in SUFFIXES and file.is_file())
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}: {error.filename})") from None
        if not files:
            raise InputError(f"{path}: the folder holds no {', '.join(SUFFIXES)} file")
    elif is_there:
        files = [asked]
    else:
        files = [Path(name) for name in sorted(glob.glob(str(path)))]
        if not files:
            is_data_set = hub.is_name(str(path))  # without a split, so that it is read as a path
            hint = f"; a data set of the hub has its split behind its name: {path}:train" if is_data_set else ""
            raise InputError(f"{path}: no such file or folder{hint}")
    for file in files:
        name = str(file.relative_to(asked) if is_folder else file.name)
        for suffix in (".gz", *SUFFIXES):
            name = name.removesuffix(suffix)
        yield from _read_file(file, name)


def _suffix(file: Path) -> str:
    return Path(file.stem).suffix.lower() if file.suffix.lower() == ".gz" else file.suffix.lower()


def _read_file(file: Path, name: str) -> Iterator[Row]:
    suffix = _suffix(file)
    if suffix not in SUFFIXES:
        known = f"{', '.join(SUFFIXES)}, those of text also with .gz"
        raise InputError(f"{file}: unknown kind of file {suffix or '(no suffix)'!r}; known: {known}")
    try:
        if suffix == ".parquet":
            yield from _table_rows(file, name, batches=_parquet_batches(file))
        elif suffix == ".arrow":
            yield from _table_rows(file, name, batches=_arrow_batches(file))
        elif suffix in (".csv", ".tsv"):
            yield from _csv_rows(file, name, delimiter="\t" if suffix == ".tsv" else ",")
        elif suffix == ".json" and not _first_line_is_object(file):
            yield from _json_document(file, name)
        else:
            yield from _json_lines(file, name)
    except (OSError, EOFError, zlib.error) as error:  # gzip raises all three
        raise InputError(f"{file}: cannot be read: {_one_line(error)}") from None


# --- text -------------------------------------------------------------------------------------------------------------


def _open(file: Path):
    return gzip.open(file, "rb") if file.suffix.lower() == ".gz" else open(file, "rb")


def _json_lines(file: Path, name: str) -> Iterator[Row]:
    with _open(file) as stream:
        for number, raw in enumerate(stream, start=1):
            if raw.strip():
                yield Row(str(file), name, number, "line", _object(_parse(raw, f"{file}:{number}"), f"{file}:{number}"))


def _json_document(file: Path, name: str) -> Iterator[Row]:
    with _open(file) as stream:
        raw = stream.read()
    if not raw.strip():
        return
    document = _parse(raw, str(file))
    rows = document if isinstance(document, list) else [document]
    for number, values in enumerate(rows, start=1):
        yield Row(str(file), name, number, "row", _object(values, f"{file}: row {number}"))


def _first_line_is_object(file: Path) -> bool:
    """Many .json files are JSON lines in truth."""
    with _open(file) as stream:
        for raw in stream:
            if raw.strip():
                try:
                    return isinstance(json.loads(raw), dict)
                except (ValueError, RecursionError):
                    return False
    return False


def _parse(raw: bytes, place: str) -> Any:
    try:
        value = json.loads(raw.decode("utf-8-sig"))
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair parses, but is no text
        return value
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: not UTF-8: {error.reason} at byte {error.start}") from None
    except UnicodeEncodeError:
        raise InputError(f"{place}: holds half a surrogate pair (\\ud800 to \\udfff), which is no text") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:  # a number of too many digits; nested too deeply
        raise InputError(f"{place}: not usable JSON: {_one_line(error)}") from None


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{place}: expected an object with named fields, got {describe(value)}")
    return value


def _csv_rows(file: Path, name: str, *, delimiter: str) -> Iterator[Row]:
    with io.TextIOWrapper(_open(file), encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, delimiter=delimiter, strict=True)
        try:
            for values in reader:
                if None in values or None in values.values():
                    fields = len(reader.fieldnames or ())
                    raise InputError(f"{file}:{reader.line_num}: the row does not have the header's {fields} fields")
                yield Row(
                    str(file), name, reader.line_num, "line", {key: value or None for key, value in values.items()}
                )
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{file}:{reader.line_num + 1}: not readable as CSV: {_one_line(error)}") from None


# --- columns ----------------------------------------------------------------------------------------------------------


def _parquet_batches(file: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as opened:
        yield from opened.iter_batches(batch_size=BATCH_ROWS)


def _arrow_batches(file: Path) -> Iterator[Any]:
    """Arrow streams (what `datasets` writes) and Arrow files."""
    import pyarrow as pa

    with pa.memory_map(str(file)) as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        if is_file:
            reader = pa.ipc.open_file(source)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            batches = pa.ipc.open_stream(source)
        for batch in batches:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


def _table_rows(file: Path, name: str, *, batches: Iterator[Any]) -> Iterator[Row]:
    import pyarrow as pa

    number = 0
    try:
        for batch in batches:
            batch.validate(
                full=True
            )  # a damaged file may point outside itself, which kills the process when it is read
            for values in batch.to_pylist():
                number += 1
                yield Row(str(file), name, number, "row", values)
    except InputError:
        raise
    except (
        pa.ArrowException,
        ValueError,
        OverflowError,
    ) as error:  # broken file; text that is not UTF-8; a date out of range
        raise InputError(f"{file}: cannot be read after row {number}: {_one_line(error)}") from None


def _saved_dataset(folder: Path) -> Iterator[Row]:
    """A folder of `Dataset.save_to_disk` or `DatasetDict.save_to_disk`, read with pyarrow alone."""
    splits = folder / "dataset_dict.json"
    if splits.exists():
        names = _whole(splits).get("splits")
        if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
            raise InputError(f"{folder}: holds the splits {names!r}; name one, for example {folder / 'train'}")
        folder = folder / names[0]
    state = folder / "state.json"
    files = _whole(state).get("_data_files")
    if not isinstance(files, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("filename"), str) for entry in files
    ):
        raise InputError(f"{state}: key '_data_files': expected the list of Arrow files that save_to_disk writes")
    for entry in files:
        if not (folder / entry["filename"]).is_file():
            raise InputError(f"{state}: names {entry['filename']!r}, which is not there")
        yield from _read_file(folder / entry["filename"], entry["filename"].removesuffix(".arrow"))


def _whole(file: Path) -> dict[str, Any]:
    try:
        return _object(_parse(file.read_bytes(), str(file)), str(file))
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
