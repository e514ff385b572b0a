"""Rows that are turns of one session, and so no draws of their own: their number is not the number of draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from analysis.errors import InputError
from analysis.files import RowBlock, Source

pc: Any = pyarrow.compute  # its functions are made when it is imported, which no type checker sees

TURNS = ("turn", "turn_id", "turn_idx", "turn_index")
SESSIONS = ("session", "session_id", "trajectory_id", "traj_id", "traj_uid", "episode_id", "conversation_id")


def refuse_turns(batch: RowBlock, source: Source, *, code: np.ndarray) -> None:
    """Raises InputError where a column of the batch says that several rows are of one session.

    Where sessions have names and each has one row, every row is a draw: a column `turn` then counts the turns of whole
    sessions, or is that of the last one. Sessions are compared within a batch, where the rows of one stand together in
    all logs that we know.

    code: the problem of every row, int [rows].
    """
    again = {name: _second_rows(batch, name, code=code) for name in _plain(batch, SESSIONS)}
    named = [rows for rows in again.values() if rows is not None]
    if named and not any(len(rows) for rows in named):
        return
    for name in _plain(batch, TURNS):
        turn = batch.table[name].combine_chunks()
        first = next(iter(turn.drop_null()), None)
        other = np.asarray(pc.fill_null(pc.not_equal(turn, first), False)) if first is not None else np.zeros(0, bool)
        if other.any():
            _refuse(batch, source, row=int(other.argmax()), name=name)
    for name, rows in again.items():
        if rows is not None and len(rows):
            _refuse(batch, source, row=int(rows[0]), name=name)


def _second_rows(batch: RowBlock, name: str, *, code: np.ndarray) -> np.ndarray | None:
    """Rows whose session (of their problem) had a row before them, ascending; None where some row has no session."""
    if batch.table[name].null_count:
        return None
    session = batch.table[name].combine_chunks().cast(pa.string()).dictionary_encode()
    number = code.astype(np.int64) * len(session.dictionary) + np.asarray(session.indices)
    _, first = np.unique(number, return_index=True)
    return np.setdiff1d(np.arange(len(number)), first)


def _plain(batch: RowBlock, names: tuple[str, ...]) -> list[str]:
    """Those of the columns that are there, with a number or a text in each cell."""
    table = batch.table
    return [name for name in names if name in table.column_names and not pa.types.is_nested(table[name].type)]


def _refuse(batch: RowBlock, source: Source, *, row: int, name: str) -> None:
    raise InputError(
        f"{source.at(batch.number(row))}: column {name} says that rows are turns of one session; a draw is a whole "
        "session: keep one row of each, with the session's verdict (or take the column away if rows are draws)"
    )
