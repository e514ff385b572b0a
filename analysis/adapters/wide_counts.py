"""Counts of several models side by side: problem, n, and one NAME_correct column a model. FILE::NAME says which one is
meant."""

from __future__ import annotations

from analysis.adapters.asked import Asked, Rows
from analysis.errors import InputError

ENDING = "_correct"


def fits(columns: set[str]) -> bool:
    return (
        bool({"problem_id", "problem"} & columns)
        and "n" in columns
        and any(c.endswith(ENDING) for c in columns)
        and "correct" not in columns
    )


def convert(rows: Rows, asked: Asked) -> Rows:
    path = asked.path
    select = asked.select
    for number, row in rows:
        names = [column.removesuffix(ENDING) for column in row if column.endswith(ENDING)]
        if select is None or select not in names:
            wanted = "holds the counts of several models" if select is None else f"holds no counts of {select!r}"
            raise InputError(f"{path}: {wanted}; say which, as in {path}::{names[0]} (it has {', '.join(names)})")
        kept = {k: v for k, v in row.items() if not k.endswith(ENDING) and k != "problem"}
        problem = row.get("problem_id", row.get("problem"))
        yield number, kept | {"problem_id": problem, "correct": row[select + ENDING]}
