"""Which sequence goes through the model where: sequences -> lines -> micro-batches -> ranks.

A line is one row of the tensor that the model sees, [lines, width]; packed, it holds several sequences one after the other, which do
not see each other (position ids restart, and attention stops there). A micro-batch holds at most `budget` tokens, padding included
(a longer sequence is alone in one). Every rank gets the same number of micro-batches, some perhaps empty.

The plan is a pure function of the lengths, so the same batch is always computed in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Line = list[int]  # indices of sequences
MicroBatch = list[Line]
Item = TypeVar("Item")

ENOUGH = 0.04  # share of padding at which longer lines are no longer tried
WIDEST = 128  # tokens; nor are longer ones than this, unless a sequence is: attention would cost more than the padding


@dataclass
class Shard(Generic[Item]):
    """One rank's part of a batch: its sequences, and its micro-batches as indices into them. padding_fraction: of the whole batch."""

    items: list[Item]
    micro_batches: list[MicroBatch]
    padding_fraction: float


def plan(lengths: list[int], budget: int, ranks: int, packing: bool, single_line: bool = False) -> list[list[MicroBatch]]:
    """The micro-batches of each rank, as indices into `lengths`.

    packing: several sequences share a line. single_line: all sequences of a micro-batch share one line (what variable-length attention
    kernels want); otherwise lines are kept short, because attention over a line costs its width squared.

    >>> plan([4, 2, 2], budget=8, ranks=1, packing=True)
    [[[[0], [1, 2]]]]
    >>> plan([4, 2, 2], budget=8, ranks=2, packing=True)
    [[[[0]]], [[[1, 2]]]]
    """
    if packing and single_line:

        def make(size: int) -> list[MicroBatch]:
            return [[line] for line in _fill(lengths, size)]

    else:
        lines = _lines(lengths, budget) if packing else [[i] for i in _longest_first(lengths)]

        def make(size: int) -> list[MicroBatch]:
            return _cut(lines, lengths, size)

    batches = _even(make, budget, ranks)
    while len(batches) % ranks:  # halve the widest, so that no rank waits for another
        widest = max(range(len(batches)), key=lambda b: (_sequences(batches[b]) > 1, _area(batches[b], lengths)))
        first, second = _halves(batches[widest])
        batches[widest : widest + 1] = [first, second]
    batches.sort(key=lambda batch: -_area(batch, lengths))  # ranks work on neighbours at the same time
    return [batches[rank::ranks] for rank in range(ranks)]


def shards(items: list[Item], plans: list[list[MicroBatch]], lengths: list[int]) -> list[Shard[Item]]:
    """Each rank's own items, with its plan in terms of them."""
    area = sum(_area(batch, lengths) for batches in plans for batch in batches)
    padding = 1 - sum(lengths) / area if area else 0.0
    parts = []
    for batches in plans:
        mine = [i for batch in batches for line in batch for i in line]
        local = {i: position for position, i in enumerate(mine)}
        parts.append(Shard([items[i] for i in mine], [[[local[i] for i in line] for line in batch] for batch in batches], padding))
    return parts


def _longest_first(lengths: list[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))


def _even(make: Callable[[int], list[MicroBatch]], budget: int, ranks: int) -> list[MicroBatch]:
    """As many micro-batches as the budget needs, up to a multiple of the ranks, none larger than it has to be: so they are of even size."""
    batches = make(budget)
    allowed = -(-len(batches) // ranks) * ranks
    low, high = 1, budget
    while low < high:
        size = (low + high) // 2
        found = make(size)
        if len(found) <= allowed:
            batches, high = found, size
        else:
            low = size + 1
    return batches


def _lines(lengths: list[int], budget: int) -> list[Line]:
    """Packed lines as wide as the longest sequence, or twice that, and so on until little is padding."""
    width = min(max(lengths, default=1), budget)
    while True:
        lines = _fill(lengths, width)
        padding = 1 - sum(lengths) / (len(lines) * width) if lines else 0.0
        if padding <= ENOUGH or len(lines) <= 1 or 2 * width > min(budget, WIDEST):
            return lines
        width *= 2


def _fill(lengths: list[int], width: int) -> list[Line]:
    """Best fit, longest first: each sequence goes to the line where it leaves the least room; one longer than `width` is alone."""
    lines: list[Line] = []
    by_room: dict[int, list[int]] = {}  # room -> lines that have it
    for i in _longest_first(lengths):
        room = min((r for r, which in by_room.items() if r >= lengths[i] and which), default=None)
        if room is None:
            lines.append([])
            line, room = len(lines) - 1, width
        else:
            line = by_room[room].pop(0)
        lines[line].append(i)
        by_room.setdefault(max(room - lengths[i], 0), []).append(line)
    return lines


def _cut(lines: list[Line], lengths: list[int], budget: int) -> list[MicroBatch]:
    """Neighbouring lines, widest first, as many as fit the budget."""
    lines = sorted(lines, key=lambda line: -sum(lengths[i] for i in line))
    batches: list[MicroBatch] = []
    for line in lines:
        if batches and (len(batches[-1]) + 1) * _width(batches[-1][0], lengths) <= budget:
            batches[-1].append(line)
        else:
            batches.append([line])
    return batches


def _halves(batch: MicroBatch) -> tuple[MicroBatch, MicroBatch]:
    if len(batch) > 1:
        return batch[: (len(batch) + 1) // 2], batch[(len(batch) + 1) // 2 :]
    line = batch[0] if batch else []
    if len(line) > 1:
        return [line[: (len(line) + 1) // 2]], [line[(len(line) + 1) // 2 :]]
    return batch, []


def _sequences(batch: MicroBatch) -> int:
    return sum(len(line) for line in batch)


def _width(line: Line, lengths: list[int]) -> int:
    return sum(lengths[i] for i in line)


def _area(batch: MicroBatch, lengths: list[int]) -> int:
    return len(batch) * max((_width(line, lengths) for line in batch), default=0)
