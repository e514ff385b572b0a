"""One name for equal answers, as far as it can be had without algebra, and the order that labels give to values."""

from __future__ import annotations

import re

from explore_rl.verifiers.math_scalars import plain
from explore_rl.verifiers.math_values import (
    Assignments,
    Based,
    Chain,
    Labelled,
    Listing,
    Matrix,
    Number,
    Phrase,
    Quantity,
    Sequence,
    Terms,
    Value,
    Words,
)


def key(value: Value) -> str:
    """A canonical way of writing, as far as it can be had without algebra: numbers as fractions, lists sorted, no
    blanks."""
    if isinstance(value, Number):
        return f"{value.value}{'%' if value.percent else ''}"
    if isinstance(value, Based):
        return f"{value.digits}_{value.base}"
    if isinstance(value, Quantity):
        return key(value.amount)
    if isinstance(value, Labelled):
        return key(value.value)
    if isinstance(value, Chain):
        return key(value.sides[-1])
    if isinstance(value, Listing):
        return "{" + ",".join(sorted(key(part) for part in value.parts)) + "}"
    if isinstance(value, Sequence):
        return value.brackets[0] + ",".join(key(part) for part in value.parts) + value.brackets[1]
    if isinstance(value, Assignments):
        return "(" + ",".join(key(part) for _, part in in_order_of_labels(value.pairs)) + ")"
    if isinstance(value, Matrix):
        rows = ([key(cell) for cell in row] for row in value.rows)
        return "(" + ",".join("(" + ",".join(row) + ")" if len(row) > 1 else row[0] for row in rows) + ")"
    if isinstance(value, Words):
        return value.words
    if isinstance(value, Terms):
        return f"{value.kind} {':'.join(map(str, value.terms))}"
    if isinstance(value, Phrase):
        return " ".join([*(key(part) for part in value.parts), *value.words])
    return plain(value.text)


_GREEK: list[str] = list("alpha beta gamma delta epsilon theta lambda mu nu xi rho sigma tau phi chi psi omega".split())


def in_order_of_labels(pairs: tuple[tuple[str, Value], ...]) -> list[tuple[str, Value]]:
    """In the order of the alphabet where the labels are neighbours in it (x, y; a, b, c; x_1, x_2), else as written."""
    names = [re.sub(r"[\s{}\\]", "", name) for name, _ in pairs]
    stems = {re.sub(r"\d+$", "", name) for name in names}
    numbers = [int(found[0]) for name in names if (found := re.search(r"\d+$", name))]
    places = numbers if len(stems) == 1 and len(numbers) == len(names) else None
    if places is None and all(len(name) == 1 for name in names):
        places = [ord(name) for name in names]
        if max(places) - min(places) >= len(places):
            return list(pairs)
    if places is None and all(name in _GREEK for name in names):
        places = [_GREEK.index(name) for name in names]
    if places is None:
        return list(pairs)
    return [pair for _, pair in sorted(zip(places, pairs, strict=True), key=lambda entry: entry[0])]
