"""Laboratory problems by name: "lab:countdown?level=3&split=train&size=300".

The splits share no multiset of numbers, so no problem of one is a reordering, or even another target, of a problem of
another. Each level's multisets are put in a fixed pseudo-random order (a hash) and dealt out: 40 % train, 40 % audit,
20 % held out. A split's problems are all (multiset, target) pairs that have a correct answer, again in a fixed order; a
smaller size is the beginning of a larger one.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from urllib.parse import parse_qsl

from analysis.errors import InputError
from explore_rl.lab import countdown
from explore_rl.types import Problem, Trace

SPLITS = {"train": (0.0, 0.4), "audit": (0.4, 0.8), "heldout": (0.8, 1.0)}  # shares of the level's multisets
SIZES = {"train": 300, "audit": 500, "heldout": 500}
PREFIX = "lab:countdown"
MAX_TOKENS = 24  # longer than any answer of any level with its end token


def load(name: str) -> list[Problem]:
    """The problems that a name stands for.

    Problems of the train split carry every correct answer as a trace (source "enumerator", with its region); the others
    carry none. Raises InputError for an unknown name, key or value, and for a size larger than the split.

    name: "lab:countdown", optionally followed by "?" and any of level=3, split=train|audit|heldout, size=N (or
        size=all), joined by "&".

    >>> problem = load("lab:countdown?level=3&split=train&size=1")[0]
    >>> problem.verifier, sorted(problem.answer), problem.metadata["level"]
    ('countdown', ['numbers', 'target'], 3)
    """
    base, _, query = name.partition("?")
    if base != PREFIX:
        raise InputError(f"{name}: unknown laboratory problems; known: {PREFIX}?level=3&split=train&size=300")
    # Level and split name the pool.
    options = {"level": "3", "split": "train"} | _parse_query(name, query)
    level = options["level"]
    if not level.isdigit() or int(level) not in countdown.LEVELS:
        raise InputError(f"{name}: level={level}: must be one of {', '.join(map(str, countdown.LEVELS))}")
    split = options["split"]
    if split not in SPLITS:
        raise InputError(f"{name}: split={split}: must be one of {', '.join(SPLITS)}")
    # Size cuts off its beginning.
    pool = _pool(int(level), split)
    size = options.get("size", str(min(SIZES[split], len(pool))))
    if size != "all" and (not size.isdigit() or int(size) == 0 or int(size) > len(pool)):
        raise InputError(
            f"{name}: size={size}: must be all or a whole number from 1 to {len(pool)}, which is what this split holds"
        )
    chosen = pool if size == "all" else pool[: int(size)]
    return [_problem(numbers, target, level=int(level), split=split) for numbers, target in chosen]


def _parse_query(name: str, query: str) -> dict[str, str]:
    """What follows the "?" as a dict. Raises InputError, which begins with `name`, for unknown keys."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise InputError(f"{name}: what follows '?' must read key=value&key=value") from None
    for key, _ in pairs:
        if key not in ("level", "split", "size"):
            raise InputError(f"{name}: unknown key {key}; known: level, split, size")
    return dict(pairs)


def _pool(level: int, split: str) -> list[tuple[tuple[int, ...], int]]:
    """All of a split's (sorted numbers, target) pairs in their fixed order."""
    rules = countdown.LEVELS[level]
    multisets = list(itertools.combinations_with_replacement(range(1, rules.max_number + 1), rules.count))
    multisets.sort(key=lambda numbers: _hash("multiset", level, numbers))
    start, end = (round(share * len(multisets)) for share in SPLITS[split])
    pairs = [(numbers, target) for numbers in multisets[start:end] for target in countdown.targets(numbers, rules)]
    return sorted(pairs, key=lambda pair: _hash("problem", level, *pair))


def _hash(*parts: object) -> int:
    """What fixed pseudo-random orders are sorted by, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def _problem(numbers: tuple[int, ...], target: int, *, level: int, split: str) -> Problem:
    """The problem; its numbers are shown in an order that hangs on numbers and target alone."""
    order = list(numbers)
    random.Random(_hash("order", numbers, target)).shuffle(order)
    # Only training may look at answers.
    traces: tuple[Trace, ...] = ()
    if split == "train":
        traces = tuple(
            Trace(text=answer, source="enumerator", region=countdown.region(answer))
            for answer in countdown.enumerate_answers(numbers, target)
        )
    return Problem(
        id=f"countdown-{level}-{'.'.join(map(str, numbers))}-{target}",
        prompt=countdown.prompt(order, target),
        answer={"numbers": list(numbers), "target": target},
        verifier="countdown",
        traces=traces,
        benchmark=f"countdown-{level}",
        metadata={"level": level, "split": split},
    )
