"""Columns of a batch as a wanted type, and what has to hold between them, with errors that name the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from analysis.errors import InputError
from analysis.files import RowBlock, Source
from analysis.records import NO_EVIDENCE, VERDICTS

pc: Any = pyarrow.compute  # its functions are made when it is imported, which no type checker sees

TRUE = ["true", "1", "1.0", "yes"]
FALSE = ["false", "0", "0.0", "no"]
MEANING = {
    pa.bool_(): "true or false (or 1 or 0)",
    pa.int64(): "a whole number of at most 18 digits",
    pa.float64(): "a number",
    pa.string(): "text",
}


def column(
    batch: RowBlock, source: Source, *, name: str, kind: pa.DataType, missing_ok: bool = True
) -> pa.Array | None:
    """Column `name` of a batch as `kind`, None where the batch has none.

    Raises InputError naming the first row that is not `kind`, or is missing.

    batch: rows of a file.
    source: where they are from, for the error.
    name: of the column.
    kind: the Arrow type that is wanted.
    missing_ok: whether a row may lack it.
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


def verdicts(got: dict[str, pa.Array | None], batch: RowBlock, *, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """correct (False where it is no evidence) and evidence, bool [rows], from columns `correct` and `verdict`.

    Raises InputError naming the first row in which both are missing, contradict each other, or a verdict is unknown.
    """
    rows = batch.table.num_rows
    correct = got["correct"]
    verdict = got["verdict"]
    if correct is None and verdict is None:
        raise InputError(f"{source.at(batch.number(0))}: neither correct nor verdict is there")
    # What the words say, looked up once a distinct word; one more entry stands for a missing one.
    if verdict is None:
        evidence = np.ones(rows, dtype=bool)
        said = np.zeros(rows, dtype=bool)
        unknown = np.ones(rows, dtype=bool)
    else:
        encoded = verdict if pa.types.is_dictionary(verdict.type) else verdict.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        index = np.asarray(encoded.indices.fill_null(len(words)))
        if bad := [word for word in words if word not in VERDICTS]:
            at = np.flatnonzero(index == words.index(bad[0]))
            if len(at):
                raise InputError(
                    f"{source.at(batch.number(int(at[0])))}: verdict is {bad[0]!r}; it should be "
                    f"one of {', '.join(VERDICTS)}"
                )
        evidence = ~np.array([word in NO_EVIDENCE for word in words] + [False])[index]
        said = np.array([word == "correct" for word in words] + [False])[index]
        unknown = index == len(words)
    # Where a row has both, they have to agree: a verdict that is no evidence goes with correct = false alone.
    if correct is None:
        correct = pa.nulls(rows, pa.bool_())
    absent = np.asarray(correct.is_null())
    value = np.asarray(correct.fill_null(False))
    if (missing := absent & unknown).any():
        raise InputError(f"{source.at(batch.number(int(missing.argmax())))}: correct is missing")
    if (clash := ~absent & ~unknown & (value != said) & (evidence | value)).any():
        i = int(clash.argmax())
        raise InputError(
            f"{source.at(batch.number(i))}: correct is {bool(value[i])} but verdict is {words[index[i]]!r}"
        )
    return np.where(absent, said, value) & evidence, evidence


def check_ranges(got: dict[str, pa.Array | None], batch: RowBlock, *, source: Source) -> None:
    """Raises InputError naming the first row with a number that cannot be."""
    for name, low, high, meaning in (
        ("sample", 0, np.inf, "an index from 0"),
        ("logprob", -np.inf, 1e-6, "at most 0"),
        ("num_tokens", 0, np.inf, "not negative"),
        ("token_entropy", -1e-6, np.inf, "not negative"),
        ("temperature", 0, np.inf, "not negative"),
        ("top_p", 1e-12, 1, "in (0, 1]"),
    ):
        if got[name] is not None:
            values = floats(got[name])
            if (bad := (values < low) | (values > high)).any():
                i = int(bad.argmax())
                raise InputError(f"{source.at(batch.number(i))}: {name} is {values[i]:g}; it should be {meaning}")


def floats(array: pa.Array) -> np.ndarray:
    return array.cast(pa.float64()).to_numpy(zero_copy_only=False)
