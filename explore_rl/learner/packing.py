"""Which sequence goes through the model where: sequences -> bundles -> lines -> micro-batches -> ranks.

- A bundle is one sequence, or several with the same prompt, which then stands there once: a group of GRPO computes its
  prompt once and not sixteen times.
- A line is one row of the tensor that the model sees, [lines, width]. Packed, it holds several bundles one after the
  other. They do not see each other: position ids restart, and attention stops there.
- A micro-batch holds at most `budget` tokens, padding included. A longer sequence is alone in one.
- Every rank gets the same number of micro-batches, some perhaps empty.

The plan is a pure function of the lengths, so the same batch is always computed in the same order.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain
from typing import Any, Generic, TypeVar

Bundle = list[int]  # indices of sequences with the same prompt
MicroBatch = list[list[Bundle]]  # lines of bundles
Line = list[int]  # while it is planned: indices of bundles
Item = TypeVar("Item")

ENOUGH = 0.04  # share of padding at which longer lines are no longer tried

# Widest line tried, in tokens. A wider line costs more attention than it saves padding; only a bundle that is wider
# itself gets one.
WIDEST = 128


@dataclass
class Shard(Generic[Item]):
    """One rank's part of a batch.

    items: the rank's sequences.
    places: where each of them stands in the whole batch.
    micro_batches: lists of indices into `items`.
    padding_fraction: share of padding in the whole batch, over all ranks.
    """

    items: list[Item]
    places: list[int]
    micro_batches: list[MicroBatch]
    padding_fraction: float


@dataclass
class Draft:
    """A micro-batch while it is planned.

    lines: indices of bundles.
    lengths: tokens of every bundle of the whole batch, in which the lines look up theirs.
    """

    lines: list[Line]
    lengths: list[int]

    @property
    def num_bundles(self) -> int:
        return sum(map(len, self.lines))

    @property
    def area(self) -> int:
        """Tokens that go through the model, padding included."""
        return len(self.lines) * max((_width(line, self.lengths) for line in self.lines), default=0)

    def halves(self) -> tuple[Draft, Draft]:
        """Half of the lines each, or half of a lone line's bundles. A lone bundle stays whole beside an empty draft."""
        if len(self.lines) > 1:
            first, second = _halved(self.lines)
        elif self.num_bundles > 1:
            first, second = ([part] for part in _halved(self.lines[0]))
        else:
            first = self.lines
            second = []
        return Draft(first, self.lengths), Draft(second, self.lengths)


# --- bundles ----------------------------------------------------------------------------------------------------------


def bundles(
    prompts: list[Hashable], prompt_lengths: list[int], *, lengths: list[int], hidden_size: int, budget: int
) -> list[Bundle]:
    """Sequences with equal `prompts` together, as many as save work.

    A bundle spares prompts and pays for a wider attention. With prompt P, completions of C tokens in all, and a
    transformer's usual matrices (12 h^2 weights a layer), a bundle costs  (P + C) + (P + C)^2 / 6h  for its C tokens.
    The cost a token is least at  C = sqrt(P (6h + P)).

    prompts: one a sequence, in any form that can be compared.
    prompt_lengths: one a sequence.
    lengths: the whole sequences', prompts included.
    hidden_size: h, of the model.
    budget: tokens that a bundle may have, unless it is a single sequence.

    >>> bundles(["a", "b", "a", "a"], [60, 60, 60, 60], lengths=[90, 70, 90, 90], hidden_size=1, budget=1000)
    [[0, 3], [2], [1]]
    >>> bundles(["a", "b", "a", "a"], [60, 60, 60, 60], lengths=[90, 70, 90, 90], hidden_size=64, budget=1000)
    [[0, 2, 3], [1]]
    """
    with_prompt: dict[Hashable, list[int]] = {}
    for i, prompt in enumerate(prompts):
        with_prompt.setdefault(prompt, []).append(i)
    chosen: list[Bundle] = []
    for members in with_prompt.values():
        # How many members a bundle of the least cost a token has.
        prompt_length = prompt_lengths[members[0]]
        completion = {i: lengths[i] - prompt_length for i in members}
        best = math.sqrt(prompt_length * (6 * hidden_size + prompt_length))
        most = max(1, int(best * len(members) / sum(completion.values())))
        # As few bundles as that, or more, until each fits the budget; the last try has every sequence alone.
        parts: list[Bundle] = []
        for count in range(-(-len(members) // most), len(members) + 1):
            parts = _deal(completion, count)
            if all(prompt_length + sum(completion[i] for i in part) <= budget for part in parts):
                break
        chosen += parts
    return chosen


def _deal(sizes: dict[int, int], count: int) -> list[Bundle]:
    """`count` bundles of about the same size: the longest first, each to the one that has least."""
    parts: list[Bundle] = [[] for _ in range(count)]
    filled = [0] * count
    for i in sorted(sizes, key=lambda i: -sizes[i]):
        least = filled.index(min(filled))
        parts[least].append(i)
        filled[least] += sizes[i]
    return [sorted(part) for part in parts if part]


def bundle_length(bundle: Bundle, sequences: list[Any]) -> int:
    """Tokens that a bundle takes. sequences: with `tokens` and `prompt_length`."""
    prompt = sequences[bundle[0]].prompt_length
    return prompt + sum(len(sequences[i].tokens) - prompt for i in bundle)


# --- micro-batches ----------------------------------------------------------------------------------------------------


def plan(
    lengths: list[int], budget: int, *, ranks: int, packing: bool, single_line: bool = False
) -> list[list[list[Line]]]:
    """The micro-batches of each rank, as lines of indices into `lengths`.

    lengths: tokens of each bundle.
    budget: tokens of a micro-batch, padding included.
    ranks: among which bundles are dealt out.
    packing: several bundles share a line.
    single_line: all of a micro-batch share one line, which is what variable-length attention kernels want. Otherwise
        lines are kept short, because attention over a line costs its width squared.

    >>> plan([4, 2, 2], budget=8, ranks=1, packing=True)
    [[[[0], [1, 2]]]]
    >>> plan([4, 2, 2], budget=8, ranks=2, packing=True)
    [[[[0]]], [[[1, 2]]]]
    """
    # A line a micro-batch, made anew for every size that is tried; or lines made once, and then cut into micro-batches.
    if packing and single_line:
        make = partial(_one_line_each, lengths)
        widths = lengths
    else:
        lines = _pack(lengths, budget) if packing else [[i] for i in _longest_first(lengths)]
        lines.sort(key=lambda line: -_width(line, lengths))
        make = partial(_cut, lines, lengths=lengths)
        widths = [_width(line, lengths) for line in lines]
    drafts = _even(make, widths, budget=budget, ranks=ranks)
    # Halve the widest until all ranks get the same number, so that no rank waits for another.
    while len(drafts) % ranks:
        widest = max(range(len(drafts)), key=lambda i: (drafts[i].num_bundles > 1, drafts[i].area))
        drafts[widest : widest + 1] = drafts[widest].halves()
    # Ranks work at the same time on micro-batches that are neighbours in size.
    drafts.sort(key=lambda draft: -draft.area)
    return [[draft.lines for draft in drafts[rank::ranks]] for rank in range(ranks)]


def _even(make: Callable[[int], list[Draft]], widths: list[int], *, budget: int, ranks: int) -> list[Draft]:
    """As many micro-batches as the budget needs, up to a multiple of the ranks, and of even size.

    They come out even because none is larger than that number makes necessary.

    make: micro-batches of at most so many tokens.
    widths: tokens of what `make` never cuts.
    """
    drafts = make(budget)
    allowed = -(-len(drafts) // ranks) * ranks
    ascending = sorted(widths)
    filled = [0, *accumulate(ascending)]
    # Bisection for the smallest size that does with the number allowed.
    low = 1
    high = budget
    while low < high:
        size = (low + high) // 2
        # At least so many there are: what is wider is alone, and the rest fills them to the brim. Most sizes that are
        # too small are known by that.
        fitting = bisect_right(ascending, size)
        at_least = len(ascending) - fitting - filled[fitting] // -size
        smaller = make(size) if at_least <= allowed else None
        if smaller is not None and len(smaller) <= allowed:
            drafts = smaller
            high = size
        else:
            low = size + 1
    return drafts


def _one_line_each(lengths: list[int], size: int) -> list[Draft]:
    return [Draft([line], lengths) for line in _fill(lengths, size)]


def _cut(lines: list[Line], size: int, *, lengths: list[int]) -> list[Draft]:
    """Neighbouring lines, as many as fit the size. lines: widest first."""
    drafts: list[Draft] = []
    widest = 0  # of the lines in the last draft: its first
    for line in lines:
        if drafts and (len(drafts[-1].lines) + 1) * widest <= size:
            drafts[-1].lines.append(line)
        else:
            drafts.append(Draft([line], lengths))
            widest = _width(line, lengths)
    return drafts


def _pack(lengths: list[int], budget: int) -> list[Line]:
    """Packed lines as wide as the longest bundle, or twice that, and so on until little is padding."""
    width = min(max(lengths, default=1), budget)
    while True:
        lines = _fill(lengths, width)
        padding = 1 - sum(lengths) / (len(lines) * width) if lines else 0.0
        if padding <= ENOUGH or len(lines) <= 1 or 2 * width > min(budget, WIDEST):
            return lines
        width *= 2


def _fill(lengths: list[int], width: int) -> list[Line]:
    """Best fit, longest first: each bundle goes to the line where it leaves the least room.

    A bundle that is longer than `width` is alone.
    """
    lines: list[Line] = []
    by_room: dict[int, deque[int]] = {}  # room -> lines that have it, those that had it first at the front
    rooms: list[int] = []  # the keys of by_room, ascending
    for i in _longest_first(lengths):
        at = bisect_left(rooms, lengths[i])
        if at == len(rooms):
            lines.append([])
            line = len(lines) - 1
            room = width
        else:
            room = rooms[at]
            line = by_room[room].popleft()
            if not by_room[room]:
                del by_room[room]
                rooms.pop(at)
        lines[line].append(i)
        left = max(room - lengths[i], 0)
        if left not in by_room:
            by_room[left] = deque()
            insort(rooms, left)
        by_room[left].append(line)
    return lines


def _longest_first(lengths: list[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))


def _width(line: Line, lengths: list[int]) -> int:
    return sum(lengths[i] for i in line)


def _halved(members: list[Any]) -> tuple[list[Any], list[Any]]:
    middle = (len(members) + 1) // 2
    return members[:middle], members[middle:]


# --- shards -----------------------------------------------------------------------------------------------------------


def shards(
    items: list[Item], together: list[Bundle], *, plans: list[list[list[Line]]], lengths: list[int]
) -> list[Shard[Item]]:
    """Splits items by rank and renumbers each rank's plan to the rank's own list.

    items: the sequences of the whole batch.
    together: its bundles, indices into `items`.
    plans: one a rank, of indices into `together`.
    lengths: tokens of each bundle.
    """
    # Every rank knows the padding of the whole batch.
    area = sum(Draft(lines, lengths).area for lines in chain.from_iterable(plans))
    padding = 1 - sum(lengths) / area if area else 0.0
    parts = []
    for rank_plan in plans:
        # Bundles in place of their indices, then the rank's own numbers in place of the batch's.
        batches = [_with_bundles(lines, together) for lines in rank_plan]
        places = list(chain.from_iterable(map(sequences_of, batches)))
        local = {place: i for i, place in enumerate(places)}
        parts.append(
            Shard(
                items=[items[place] for place in places],
                places=places,
                micro_batches=[_renumbered(batch, local) for batch in batches],
                padding_fraction=padding,
            )
        )
    return parts


def sequences_of(batch: MicroBatch) -> list[int]:
    """Indices of the sequences in a micro-batch, in the order in which they stand there."""
    in_order = chain.from_iterable(batch)
    return list(chain.from_iterable(in_order))


def _with_bundles(lines: list[Line], together: list[Bundle]) -> MicroBatch:
    """The lines with bundles in place of the bundles' indices."""
    return [[together[b] for b in line] for line in lines]


def _renumbered(batch: MicroBatch, local: dict[int, int]) -> MicroBatch:
    """The micro-batch with each sequence's index in the whole batch replaced by the one in `local`."""

    def renumber(bundle: Bundle) -> Bundle:
        return [local[i] for i in bundle]

    return [[renumber(bundle) for bundle in line] for line in batch]
