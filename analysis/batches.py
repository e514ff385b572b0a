"""The rows of a file in batches, with the columns of other projects turned into ours."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pa_csv

from analysis.adapters import Adapter
from analysis.errors import InputError
from analysis.files import (
    BATCH_ROWS,
    TEXT_BATCH_ROWS,
    RowBlock,
    Source,
    delimiter,
    opened,
    parquet,
    read_json_rows,
    readable,
)
from analysis.json_rows import table_of

pc: Any = pyarrow.compute  # its functions are made when it is imported, which no type checker sees


def batches(source: Source, wanted: set[str] | None = None, *, rows: int = BATCH_ROWS) -> Iterator[RowBlock]:
    """The rows of a file in our columns, adapted where the file is another project's. wanted: only these columns (all
    where None)."""
    read = {"parquet": _parquet_batches, "csv": _csv_batches, "json": _json_batches}[source.format]
    own = source.foreign is None
    with readable(source):
        found = read(source, wanted if own else None, rows=rows if own else TEXT_BATCH_ROWS)
        yield from found if source.adapter is None else _adapted(source.adapter, source, found=found)


def _adapted(adapter: Adapter, source: Source, *, found: Iterator[RowBlock]) -> Iterator[RowBlock]:
    """The batches of another project's rows, converted."""

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        for batch in found:
            for i, row in enumerate(batch.table if isinstance(batch.table, list) else batch.table.to_pylist()):
                yield batch.number(i), row

    numbers: list[int] = []
    out: list[dict[str, Any]] = []
    for number, row in adapter.convert(rows(), source.asked):
        numbers.append(number)
        out.append(row)
        if len(out) == TEXT_BATCH_ROWS:
            yield RowBlock(table_of(out), numbers.__getitem__)
            numbers = []
            out = []
    if out:
        yield RowBlock(table_of(out), numbers.__getitem__)


def one_model(batch: RowBlock, source: Source) -> RowBlock:
    """Only the rows of the model that FILE::NAME asks for (or of what else an adapter makes of NAME itself).

    Raises InputError where the rows have no model to choose by: a NAME without effect would be a wrong label.
    """
    if not source.select or (source.adapter and source.adapter.selects):
        return batch
    if "model" not in batch.table.column_names:
        what = f"a {source.foreign} file" if source.foreign else "the file"
        raise InputError(f"{source.path}: {what} has no model column to choose {source.select!r} by; leave ::NAME out")
    kept = np.flatnonzero(np.asarray(pc.equal(batch.table["model"].cast(pa.string()), source.select).fill_null(False)))
    return RowBlock(batch.table.take(pa.array(kept)), lambda i: batch.number(int(kept[i])))


def _parquet_batches(source: Source, wanted: set[str] | None, *, rows: int) -> Iterator[RowBlock]:
    file = parquet(source)
    if file.metadata.num_rows == 0:
        raise InputError(f"{source.path}: the file holds no rows")
    columns = None if wanted is None else [name for name in source.columns if name in wanted]
    first = 1
    for batch in file.iter_batches(batch_size=rows, columns=columns):
        yield RowBlock(pa.Table.from_batches([batch]), lambda i, first=first: first + i)
        first += batch.num_rows


def _check_utf8(source: Source) -> None:
    """Raises InputError with the line that is not UTF-8: also in columns that only the report will read."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = 1
    with opened(source) as raw:
        while block := raw.read(1 << 20):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                # The decoder counts from what the block before left over, at most three bytes.
                lines += error.object[: error.start].count(b"\n")
                raise InputError(
                    f"{source.path}, line {lines}: not UTF-8 text ({error.reason}); save it as UTF-8"
                ) from None
            lines += block.count(b"\n")


def _csv_batches(source: Source, wanted: set[str] | None, *, rows: int) -> Iterator[RowBlock]:
    _check_utf8(source)
    refused: list[pa_csv.InvalidRow] = []

    def refuse(row: pa_csv.InvalidRow) -> str:
        refused.append(row)
        return "error"

    names = source.columns
    first = 1
    try:
        reader = pa_csv.open_csv(
            opened(source),
            read_options=pa_csv.ReadOptions(column_names=names, skip_rows=1, block_size=16 << 20, use_threads=False),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter(source), newlines_in_values=True, invalid_row_handler=refuse
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
                yield RowBlock(pa.Table.from_batches([batch]), lambda i, first=first: first + i)
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


def _json_batches(source: Source, wanted: set[str] | None, *, rows: int) -> Iterator[RowBlock]:
    numbers: list[int] = []
    held: list[dict[str, Any]] = []

    def flush() -> RowBlock:
        table = (
            held
            if source.adapter
            else table_of([{k: v for k, v in r.items() if wanted is None or k in wanted} for r in held])
        )
        return RowBlock(table, list(numbers).__getitem__)

    for number, row in read_json_rows(source):
        held.append(row)
        numbers.append(number)
        if len(held) == TEXT_BATCH_ROWS:
            yield flush()
            held = []
            numbers = []
    if held:
        yield flush()
