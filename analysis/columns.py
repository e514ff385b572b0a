"""Columns of a batch as a wanted type, with errors that name the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from analysis.errors import InputError
from analysis.files import Batch, Source

pc: Any = pyarrow.compute  # its functions are made when it is imported, which no type checker sees

TRUE = ["true", "1", "1.0", "yes"]
FALSE = ["false", "0", "0.0", "no"]
MEANING = {
    pa.bool_(): "true or false (or 1 or 0)",
    pa.int64(): "a whole number of at most 18 digits",
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
    if pa.types.is_struct(data.type) and data.type.get_field_index("type") >= 0:
        data = pc.struct_field(data, "type")  # SGLang's finish_reason is {"type": "length"}
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
    number = r"^[+-]?\d{1,18}(\.0*)?$" if pa.types.is_integer(kind) else r"^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$"
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
