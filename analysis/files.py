"""From paths to files: finds them, and says what each is. analysis.batches reads their rows."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from analysis import documents
from analysis.adapters import ADAPTERS, CHOSEN, LISTS, Adapter
from analysis.adapters.asked import Asked
from analysis.errors import InputError
from analysis.json_rows import json_lines
from analysis.lfs import POINTED, is_pointer
from analysis.records import SAMPLE_COLUMNS

pc: Any = pyarrow.compute  # its functions are made when it is imported, which no type checker sees

READERS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".eval": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
BATCH_ROWS = 1 << 19  # a batch of samples without texts is then about 20 MB
TEXT_BATCH_ROWS = 1 << 13  # where each row may hold a completion of many kilobytes


@dataclass
class Source:
    """One file to read.

    asked: what the user wants of it; its `select` is what followed "::" in its name: a model, a filter.
    given: the file or folder as the user named it.
    format: parquet, csv or json (which JSON lines are too).
    adapter, document: the format of another project, of rows or of one JSON document.
    kind: samples, counts or scores.
    columns: those of the file.
    lists: columns that hold lists.
    """

    asked: Asked
    given: str = ""
    format: str = ""
    adapter: Adapter | None = None
    document: documents.Document | None = None
    kind: str = ""
    columns: list[str] = field(default_factory=list)
    lists: set[str] = field(default_factory=set)

    @property
    def path(self) -> Path:
        return self.asked.path

    @property
    def select(self) -> str | None:
        return self.asked.select

    @property
    def foreign(self) -> str | None:
        """The name of another project's format; None for our own."""
        found = self.adapter or self.document
        return found.name if found else None

    def at(self, row: int | None = None) -> str:
        """How errors name a place: rows count from 1, a CSV's header not among them; a JSON-lines row is its line."""
        return str(self.path) if row is None else f"{self.path}, {'line' if self.format == 'json' else 'row'} {row}"


@dataclass
class RowBlock:
    """Some rows of a file. number(i): what row i is called in errors."""

    table: pa.Table
    number: Callable[[int], int]


def find_sources(paths: list[str], *, metric: str | None = None, correct_above: float | None = None) -> list[Source]:
    """The files behind `paths`: files or folders (searched through, .json left aside), with "::NAME" where a file holds
    several models.

    metric, correct_above: as in `adapters.asked.Asked`, for all of them.
    Raises InputError for a path that is not there, of an unknown format, empty, or given twice.
    """
    sources: list[Source] = []
    for given in paths:
        name, marked, select = str(given).partition("::")
        if marked and not select:
            raise InputError(f"{given}: the name of a model, step or filter is missing behind ::")
        try:
            path = Path(name).expanduser()
        except RuntimeError:
            raise InputError(f"{name}: there is no user of this name, whose home ~ would be") from None
        # In a folder .json files are mostly settings and results beside the records; one that is wanted is named.
        if path.is_dir():
            try:
                found = sorted(
                    p
                    for p in path.rglob("*")
                    if _suffix(p) in READERS
                    and _suffix(p) != ".json"
                    and p.is_file()
                    and not any(part.startswith(".") for part in p.relative_to(path).parts)
                )
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror}: {error.filename})") from None
            if not found:
                raise InputError(
                    f"{path}: the folder holds no file of records ({', '.join(s for s in READERS if s != '.json')})"
                )
        elif path.is_file():
            found = [path]
        else:
            raise InputError(f"{path}: no such file or folder")
        for p in found:
            word = "line" if READERS.get(_suffix(p)) == "json" else "row"
            sources.append(Source(Asked(p, word, select or None, metric, correct_above), given=str(path)))
    # The same draws under two spellings of a path would count twice and look like more evidence than there is.
    seen: dict[tuple[Path, str | None], None] = {}
    for source in sources:
        if (key := (source.path.resolve(), source.select)) in seen:
            raise InputError(f"{source.path}: given twice")
        seen[key] = None
        with readable(source):
            _identify(source)
    # Counts have no texts, scores no verdicts: of a mixture some figures would cover a part of the problems only.
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
    _refuse_other_content(source)
    source.columns = _head(source)
    columns = set(source.columns)
    if source.document is not None:
        source.kind = "samples"
        return
    source.kind = (
        "scores"
        if {"logprob", "num_tokens", "model"} <= columns and not {"correct", "verdict"} & columns
        else _kind(columns)
    )
    # Our own samples in another shape: lists over draws, or a verdict in a column of the user's choice.
    metric = source.asked.metric
    if source.kind != "scores" and "problem_id" in columns:
        if (metric or ("correct" if "correct" in columns else "verdict")) in source.lists:
            source.kind = LISTS.kind
            source.adapter = LISTS
            return
        if metric in columns or (source.kind == "samples" and source.asked.correct_above is not None):
            source.kind = CHOSEN.kind
            source.adapter = CHOSEN
            return
    if source.kind and metric is not None:
        raise InputError(f"{source.path}: --metric {metric}: no such column; it has {', '.join(source.columns)}")
    if not source.kind:
        source.adapter = next((adapter for adapter in ADAPTERS if adapter.fits(columns)), None)
        if source.adapter is None:
            raise InputError(
                f"{source.path}: neither samples (problem_id and correct or verdict), nor counts "
                "(problem_id, n, correct),"
                f" nor a known format ({', '.join(a.name for a in ADAPTERS)}); its columns are "
                f"{', '.join(source.columns) or 'none'}"
                + ("; columns of CSV are parted by commas" if ";" in "".join(source.columns) else "")
            )
        source.kind = source.adapter.kind


# What a file begins with -> what it is, and the endings that say so.
BEGINNINGS = {
    b"\x1f\x8b": ("packed with gzip", (".gz",)),
    b"PAR1": ("Parquet", (".parquet", ".pq")),
    b"PK\x03\x04": ("a ZIP archive", (".eval",)),
    b"\x28\xb5\x2f\xfd": ("packed with zstd", (".zst",)),
}


def _refuse_other_content(source: Source) -> None:
    """Raises InputError for a file whose name does not say what is in it."""
    with open(source.path, "rb") as file:
        head = file.read(4)
    for mark, (what, endings) in BEGINNINGS.items():
        if head.startswith(mark) and source.path.suffix.lower() not in endings:
            raise InputError(
                f"{source.path}: the content is {what}, and the name does not end in {' or '.join(endings)}"
            )


def _kind(columns: set[str]) -> str:
    if "problem_id" not in columns:
        return ""
    if {"n", "correct"} <= columns:
        return "counts"
    return "samples" if columns & {"correct", "verdict"} else ""


def _head(source: Source) -> list[str]:
    """The columns of a file; of JSON lines those of its first 100 rows. Fills in `lists` and `document`."""
    if source.format == "parquet":
        schema = parquet(source).schema_arrow
        source.lists = {f.name for f in schema if pa.types.is_list(f.type) or pa.types.is_large_list(f.type)}
        return schema.names
    if source.format == "csv":
        with io.BufferedReader(opened(source)) as raw:
            line = raw.readline().decode("utf-8-sig")
        if "\0" in line:
            raise InputError(f"{source.path}: not UTF-8 text (zero bytes, as UTF-16 has them); save it as UTF-8")
        line = re.split("[\r\n]", line)[0]  # lines of an old Macintosh end with \r alone
        names = next(csv.reader([line], delimiter=delimiter(source)), [])
        names = [name.strip() for name in names]
        if repeated := [n for n in names if names.count(n) > 1]:
            raise InputError(f"{source.path}: column {repeated[0]!r} appears twice in the header")
        return names
    names = {}
    for index, (_, row) in enumerate(read_json_rows(source)):
        names |= dict.fromkeys(row)
        source.lists |= {name for name, value in row.items() if isinstance(value, list)}
        if index == 99:
            break
    if not names:
        raise InputError(f"{source.path}: the file holds no rows")
    return list(names)


@contextmanager
def readable(source: Source) -> Iterator[None]:
    """Around reading: a file that is cut, locked, not packed as its name says or not UTF-8 becomes an InputError."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(f"{source.path}: not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{source.path}: cannot be read ({error.strerror or ' '.join(str(error).split())})") from None


def opened(source: Source) -> pa.NativeFile:
    return pa.input_stream(str(source.path), compression="detect")


def delimiter(source: Source) -> str:
    return "\t" if _suffix(source.path) == ".tsv" else ","


def parquet(source: Source) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(source.path)
    except (pa.ArrowInvalid, OSError) as error:
        why = POINTED if is_pointer(source.path) else f"not a readable Parquet file ({str(error).splitlines()[0]})"
        raise InputError(f"{source.path}: {why}") from None
    texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    return pq.ParquetFile(
        source.path,
        read_dictionary=[t for t in texts if t in SAMPLE_COLUMNS and t not in ("completion", "answer", "mode")],
    )


def read_json_rows(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object, of JSON lines; of a JSON array, position (from 1) and object; of one JSON document, the
    rows of its format."""
    content = (
        documents.read(source.path, lambda: opened(source)) if _suffix(source.path) in (".json", ".eval") else None
    )
    if isinstance(content, dict):
        source.document = documents.find(content)
        if source.document is not None:
            yield from enumerate(source.document.rows(content, source.asked), 1)
            return
        keys = set(content)
        if not _kind(keys) and not any(adapter.fits(keys) for adapter in ADAPTERS):
            raise InputError(
                f"{source.path}: one JSON object, not rows, and of no known format "
                f"({', '.join(d.name for d in documents.DOCUMENTS)}); its keys are {', '.join(list(content)[:12])}"
            )
        content = [content]  # JSON lines of a single line
    if content is not None:
        if not isinstance(content, list):
            raise InputError(f"{source.path}: an array of JSON objects is wanted, this is {type(content).__name__}")
        yield from ((i, _object(row, source, number=i)) for i, row in enumerate(content, 1))
        return
    for number, row in json_lines(lambda: opened(source), source.at):
        yield number, _object(row, source, number=number)


def _object(row: Any, source: Source, *, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"{source.at(number)}: a JSON object is wanted, this is {type(row).__name__}")
    return row


def several_models(source: Source, models: set[str]) -> str:
    shown = sorted(models)
    some = ", ".join(shown[:4])
    return f"{source.given}: one side holds several models ({some}); choose one, as in {source.given}::{shown[0]}"


def natural_key(text: str) -> list[tuple[int, int | str]]:
    """Sorts "9" before "10"."""
    return [
        (0, int(part)) if part.isdigit() and part.isascii() else (1, part) for part in re.split(r"(\d+)", text) if part
    ]
