"""JSON text as rows, and what it may hold that Arrow's columns may not: integers beyond 64 bits, halves of surrogate
pairs (models write them), values of mixed types."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from analysis.errors import InputError
from analysis.lfs import POINTED, POINTER


def json_lines(opened: Callable[[], Any], at: Callable[[int], str]) -> Iterator[tuple[int, Any]]:
    """Line number and value of every line that is not blank. Raises InputError that names the very line.

    opened: opens the file for bytes.
    at: how errors name a line.
    """
    with io.BufferedReader(opened()) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise InputError(f"{at(number)}: not UTF-8 text ({error.reason})") from None
            except json.JSONDecodeError as error:
                why = (
                    POINTED
                    if number == 1 and line.startswith(POINTER)
                    else f"not JSON ({error.msg}, column {error.colno}); every line is one whole object"
                )
                raise InputError(f"{at(number)}: {why}") from None


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as columns. What Arrow cannot hold becomes text; whoever needs the column as something else refuses it."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns: dict[str, pa.Array] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            made = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
            made = pa.array([_text(value) for value in values], pa.string())
        columns[_whole(name)] = made
    return pa.table(columns)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value if value is None else _whole(value)
    return json.dumps(value)


def _whole(text: str) -> str:
    """`text` with U+FFFD in place of every half of a surrogate pair."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
