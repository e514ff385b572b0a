"""Which sequence goes through the model where: sequences -> bundles -> lines -> micro-batches -> ranks.

A bundle is one sequence, or several with the same prompt, which then stands there once: a group of GRPO computes its prompt once and not
sixteen times. A line is one row of the tensor that the model sees, [lines, width]; packed, it holds several bundles one after the other,
which do not see each other (position ids restart, and attention stops there). A micro-batch holds at most `budget` tokens, padding
included (a longer sequence is alone in one). Every rank gets the same number of micro-batches, some perhaps empty.

The plan is a pure function of the lengths, so the same batch is always computed in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Bundle = list[int]  # indices of sequences with the same prompt
MicroBatch = list[list[Bundle]]  # lines
Line = list[int]  # while it is planned: indices of bundles
Lines = list[Line]  # a micro-batch while it is planned
Item = TypeVar("Item")

ENOUGH = 0.04  # share of padding at which longer lines are no longer tried
WIDEST = 128  # tokens; nor are longer ones than this, unless a bundle is: attention would cost more than the padding


@dataclass
class Shard(Generic[Item]):
    """One rank's part of a batch: its sequences, their places in the whole batch, and micro-batches of indices into its own.

    padding_fraction: of the whole batch.
    """

    items: list[Item]
    places: list[int]
    micro_batches: list[MicroBatch]
    padding_fraction: float


def bundles(
    prompts: list[Hashable], prompt_lengths: list[int], lengths: list[int], hidden_size: int, budget: int
) -> list[Bundle]:
    """Sequences with equal `prompts` together, as many as save work: a bundle spares prompts and pays for a wider attention.

    lengths: of the whole sequences, prompt included. With prompt P, completions of C tokens in all, and a transformer's usual matrices
    (12 h^2 weights a layer), a bundle costs  (P + C) + (P + C)^2 / 6h  for its C tokens; the cost a token is least at  C = sqrt(P (6h + P)).

    >>> bundles(["a", "b", "a", "a"], [60, 60, 60, 60], [90, 70, 90, 90], hidden_size=1, budget=1000)
    [[0, 3], [2], [1]]
    >>> bundles(["a", "b", "a", "a"], [60, 60, 60, 60], [90, 70, 90, 90], hidden_size=64, budget=1000)
    [[0, 2, 3], [1]]
    """
    same: dict[Hashable, list[int]] = {}
    for i, prompt in enumerate(prompts):
        same.setdefault(prompt, []).append(i)
    found: list[Bundle] = []
    for group in same.values():
        prompt = prompt_lengths[group[0]]
        best = math.sqrt(prompt * (6 * hidden_size + prompt))
        completion = {i: lengths[i] - prompt for i in group}
        members = max(1, int(best * len(group) / sum(completion.values())))
        for count in range(-(-len(group) // members), len(group) + 1):
            parts = _deal(completion, count)
            if all(prompt + sum(completion[i] for i in part) <= budget for part in parts):
                break
        found += parts
    return found


def _deal(sizes: dict[int, int], count: int) -> list[Bundle]:
    """`count` bundles of about the same size: the longest first, each to the one that has least."""
    parts: list[Bundle] = [[] for _ in range(count)]
    filled = [0] * count
    for i in sorted(sizes, key=lambda i: -sizes[i]):
        least = filled.index(min(filled))
        parts[least].append(i)
        filled[least] += sizes[i]
    return [sorted(part) for part in parts if part]


def bundle_length(bundle: Bundle, sequences: list) -> int:
    """Tokens that a bundle takes. sequences: with `tokens` and `prompt_length`."""
    prompt = sequences[bundle[0]].prompt_length
    return prompt + sum(len(sequences[i].tokens) - prompt for i in bundle)


def plan(lengths: list[int], budget: int, ranks: int, packing: bool, single_line: bool = False) -> list[list[Lines]]:
    """The micro-batches of each rank, as indices into `lengths` (of bundles).

    packing: several bundles share a line. single_line: all of a micro-batch share one line (what variable-length attention
    kernels want); otherwise lines are kept short, because attention over a line costs its width squared.

    >>> plan([4, 2, 2], budget=8, ranks=1, packing=True)
    [[[[0], [1, 2]]]]
    >>> plan([4, 2, 2], budget=8, ranks=2, packing=True)
    [[[[0]]], [[[1, 2]]]]
    """
    if packing and single_line:

        def make(size: int) -> list[Lines]:
            return [[line] for line in _fill(lengths, size)]

    else:
        lines = _lines(lengths, budget) if packing else [[i] for i in _longest_first(lengths)]

        def make(size: int) -> list[Lines]:
            return _cut(lines, lengths, size)

    batches = _even(make, budget, ranks)
    while len(batches) % ranks:  # halve the widest, so that no rank waits for another
        widest = max(range(len(batches)), key=lambda b: (_bundles(batches[b]) > 1, _area(batches[b], lengths)))
        first, second = _halves(batches[widest])
        batches[widest : widest + 1] = [first, second]
    batches.sort(key=lambda batch: -_area(batch, lengths))  # ranks work on neighbours at the same time
    return [batches[rank::ranks] for rank in range(ranks)]


def shards(
    items: list[Item], together: list[Bundle], plans: list[list[Lines]], lengths: list[int]
) -> list[Shard[Item]]:
    """Each rank's own items, with its plan in terms of them. plans: of the bundles `together`, whose lengths are `lengths`."""
    area = sum(_area(batch, lengths) for batches in plans for batch in batches)
    padding = 1 - sum(lengths) / area if area else 0.0
    parts = []
    for batches in plans:
        whole = [[[together[b] for b in line] for line in batch] for batch in batches]
        mine = [i for batch in whole for line in batch for bundle in line for i in bundle]
        local = {i: position for position, i in enumerate(mine)}
        own = [[[[local[i] for i in bundle] for bundle in line] for line in batch] for batch in whole]
        parts.append(Shard([items[i] for i in mine], mine, own, padding))
    return parts


def _longest_first(lengths: list[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))


def _even(make: Callable[[int], list[Lines]], budget: int, ranks: int) -> list[Lines]:
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


def _lines(lengths: list[int], budget: int) -> Lines:
    """Packed lines as wide as the longest bundle, or twice that, and so on until little is padding."""
    width = min(max(lengths, default=1), budget)
    while True:
        lines = _fill(lengths, width)
        padding = 1 - sum(lengths) / (len(lines) * width) if lines else 0.0
        if padding <= ENOUGH or len(lines) <= 1 or 2 * width > min(budget, WIDEST):
            return lines
        width *= 2


def _fill(lengths: list[int], width: int) -> Lines:
    """Best fit, longest first: each bundle goes to the line where it leaves the least room; one longer than `width` is alone."""
    lines: Lines = []
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


def _cut(lines: Lines, lengths: list[int], budget: int) -> list[Lines]:
    """Neighbouring lines, widest first, as many as fit the budget."""
    lines = sorted(lines, key=lambda line: -sum(lengths[i] for i in line))
    batches: list[Lines] = []
    for line in lines:
        if batches and (len(batches[-1]) + 1) * _width(batches[-1][0], lengths) <= budget:
            batches[-1].append(line)
        else:
            batches.append([line])
    return batches


def _halves(batch: Lines) -> tuple[Lines, Lines]:
    if len(batch) > 1:
        return batch[: (len(batch) + 1) // 2], batch[(len(batch) + 1) // 2 :]
    line = batch[0] if batch else []
    if len(line) > 1:
        return [line[: (len(line) + 1) // 2]], [line[(len(line) + 1) // 2 :]]
    return batch, []


def _bundles(batch: Lines) -> int:
    return sum(len(line) for line in batch)


def _width(line: Line, lengths: list[int]) -> int:
    return sum(lengths[i] for i in line)


def _area(batch: Lines, lengths: list[int]) -> int:
    return len(batch) * max((_width(line, lengths) for line in batch), default=0)
