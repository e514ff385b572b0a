"""What a user asked for of a file, and how a foreign value becomes a verdict: shared by all adapters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.errors import InputError

Rows = Iterator[tuple[int, dict[str, Any]]]  # a row's number in its file, and the row

RIGHT = ("true", "yes", "pass", "passed", "correct", "c")
WRONG = ("false", "no", "fail", "failed", "incorrect", "wrong", "i", "timeout", "timed out")


@dataclass
class Asked:
    """One file and what is wanted of it.

    path: for errors, and for formats that say something in a file's name.
    word: how errors call a row, "line" or "row".
    select: what stood behind "::", as a filter, a step, a model.
    metric: the column or score that says what is correct, where there are several.
    correct_above: numbers above it are correct, others are wrong; None: only 0 and 1 say anything.
    notes: what the adapter wants the user to know, filled in as it reads.
    """

    path: Path
    word: str = "line"
    select: str | None = None
    metric: str | None = None
    correct_above: float | None = None
    notes: dict[str, None] = field(default_factory=dict)

    def at(self, number: int) -> str:
        return f"{self.path}, {self.word} {number}"

    def note(self, line: str) -> None:
        """A warning, said once."""
        self.notes[line] = None

    def choose(self, names: Iterable[str], number: int, *, what: str = "verdicts") -> str:
        """The metric to read, among those that a row has. Raises InputError where that is a choice nobody made."""
        known = list(dict.fromkeys(names))
        if self.metric is not None:
            if self.metric not in known:
                has = ", ".join(known) or "none"
                raise InputError(f"{self.at(number)}: --metric {self.metric}: no such metric; the row has {has}")
            return self.metric
        if len(known) > 1:
            raise InputError(
                f"{self.at(number)}: the rows hold several {what} ({', '.join(known)}), which may differ: choose one, "
                f"as in --metric {known[0]}"
            )
        return known[0]

    def verdict(self, value: Any, name: str, *, number: int, wrong_too: Sequence[float] = ()) -> bool:
        """Whether `value` says correct. Raises InputError for a value that says neither.

        value: what the row holds.
        name: of the column, for the error.
        number: of the row, for the error.
        wrong_too: numbers besides 0 that mean wrong in this format.
        """
        if isinstance(value, bool):
            return value
        word = value.strip().lower() if isinstance(value, str) else None
        if word in RIGHT or word in WRONG:
            return word in RIGHT
        figure = _number(value)
        if figure is not None and self.correct_above is not None:
            return figure > self.correct_above
        if figure == 1 or figure == 0 or figure in wrong_too:
            return figure == 1
        known = ", ".join(map(str, (0, 1, *wrong_too)))
        why = "so it does not say whether the completion is correct: give --correct-above, or --metric for another"
        raise InputError(f"{self.at(number)}: {name} is {value!r}, none of {known}, {why}")


def _number(value: Any) -> float | None:
    try:
        figure = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return figure if math.isfinite(figure) else None


def text_of(message: Any) -> str | None:
    """A text, or what the messages of a conversation say, one after the other; None for anything else."""
    if isinstance(message, str):
        return message
    if isinstance(message, list) and all(isinstance(turn, dict) and "content" in turn for turn in message):
        return "\n".join(str(turn["content"]) for turn in message)
    return None


def spread(row: dict[str, Any], length: int, *, skip: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    """One row for each place of the row's lists of `length`; what is no such list stands in all of them."""
    left_out = set(skip)
    lists = {k: v for k, v in row.items() if k not in left_out and isinstance(v, list) and len(v) == length}
    common = {k: v for k, v in row.items() if k not in left_out and k not in lists}
    for i in range(length):
        yield common | {name: values[i] for name, values in lists.items()}
