"""Our own samples, where `--metric` names the column that says what is correct, or `--correct-above` makes a verdict of
a column of numbers."""

from __future__ import annotations

from analysis.adapters.asked import Asked, Rows
from analysis.errors import InputError


def fits(columns: set[str]) -> bool:
    return "problem_id" in columns


def convert(rows: Rows, asked: Asked) -> Rows:
    name = asked.metric or "correct"
    for number, row in rows:
        if row.get(name) is None:
            raise InputError(f"{asked.at(number)}: {name} is missing; the row has {', '.join(row)}")
        kept = {k: v for k, v in row.items() if k not in ("correct", "verdict")}
        yield number, kept | {"correct": asked.verdict(row[name], name, number=number), "metric": name}
