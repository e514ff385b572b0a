"""Problems for pretrained models by name: "real:sum?terms=2&digits=2&split=train&size=1000".

A level's problems are a fixed pseudo-random stream without repetitions, and each belongs to one split, by a hash of its
numbers: 40 % train, 40 % audit, 10 % held out, 10 % final. So no problem of one split is a reordering of a problem of
another, and a smaller size is the beginning of a larger one. `audit` serves the exact audits, `final` the last one.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from urllib.parse import parse_qsl

from analysis.errors import InputError
from explore_rl.real import families
from explore_rl.types import Problem, Trace

PREFIX = "real:"
SPLITS = {"train": (0.0, 0.4), "audit": (0.4, 0.8), "heldout": (0.8, 0.9), "final": (0.9, 1.0)}
SIZES = {"train": 1000, "audit": 200, "heldout": 100, "final": 500}
SHOTS = 4
ENOUGH = 2000  # draws in a row that give nothing new: then the level has no further problem


def load(name: str) -> list[Problem]:
    """The problems that a name stands for.

    Problems of the train split carry right answers as traces (source "arithmetic"), all where they are listed. Where no
    size is named there are as many as SIZES says, or fewer if the level has no more. Raises InputError for an unknown
    name, key or value, and for a size that the level does not have.

    name: "real:" and one of sum, product, mixed, gcd, pairs and steps, optionally followed by "?" and the family's
        levels, split=train|audit|heldout|final and size=N, joined by "&".

    >>> problem = load("real:sum?terms=2&digits=2&size=1")[0]
    >>> problem.prompt.splitlines()[-2:]
    ['81 + 74 = 155', '93 + 20 =']
    >>> problem.answer, problem.traces[0].text
    ({'numbers': [93, 20]}, ' 113\\n')
    """
    kind, level, split, size = _read(name)
    shots = "".join(_shots(kind, level))
    found: list[Problem] = []
    for numbers in _stream(kind, level, split=split):
        found.append(_problem(kind, numbers, shots=shots, level=level, split=split))
        if len(found) == (size or SIZES[split]):
            return found
    if size is not None or not found:
        raise InputError(f"{name}: size={size or SIZES[split]}: must be at most {len(found)}, which is what it holds")
    return found


def specs() -> list[str]:
    """Every level of the families whose answers are listed, as a name without split and size."""
    found = []
    for kind, family in families.KINDS.items():
        if not family.is_listed:
            continue
        levels: list[str] = [""]
        for option, values in family.levels.items():
            levels = [f"{level}&{option}={value}" for level in levels for value in sorted(values)]
        found += [f"{PREFIX}{kind}?{level.removeprefix('&')}" for level in levels]
    return found


def _read(name: str) -> tuple[str, dict[str, int], str, int | None]:
    """Kind, level, split and size of a name."""
    start, _, query = name.partition("?")
    kind = start.removeprefix(PREFIX)
    if kind not in families.KINDS:
        raise InputError(f"{name}: unknown family {kind}; known: {', '.join(PREFIX + one for one in families.KINDS)}")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else [])
    except ValueError:
        raise InputError(f"{name}: what follows '?' must read key=value&key=value") from None
    known = families.KINDS[kind].levels
    for key in options:
        if key not in (*known, "split", "size"):
            raise InputError(f"{name}: unknown key {key}; known: {', '.join((*known, 'split', 'size'))}")
    level = {}
    for option, values in known.items():
        text = options.get(option, str(values[0]))
        if text not in map(str, values):
            raise InputError(f"{name}: {option}={text}: must be one of {', '.join(map(str, sorted(values)))}")
        level[option] = int(text)
    split = options.get("split", "train")
    if split not in SPLITS:
        raise InputError(f"{name}: split={split}: must be one of {', '.join(SPLITS)}")
    text = options.get("size")
    if text is not None and (not text.isdigit() or int(text) == 0):
        raise InputError(f"{name}: size={text}: must be a whole number from 1")
    return kind, level, split, None if text is None else int(text)


def _shots(kind: str, level: dict[str, int]) -> list[str]:
    """Solved lines; their numbers are no problem of any split."""
    family = families.KINDS[kind]
    lines = []
    for numbers in _shown(kind, level):
        rng = random.Random(_hash("shot", kind, numbers))
        answers = family.answers(numbers)
        # Where answers are not listed the first is the plainest: shots that write in one way are easier to follow.
        answer = rng.choice(answers) if family.is_listed else answers[0]
        lines.append(f"{family.question(numbers)} {answer}{families.END}")
    return lines


def _shown(kind: str, level: dict[str, int]) -> list[tuple[int, ...]]:
    """The numbers of the shots."""
    rng = random.Random(_hash("shots", kind, sorted(level.items())))
    shown: dict[tuple[int, ...], tuple[int, ...]] = {}
    while len(shown) < SHOTS:
        numbers = families.KINDS[kind].draw(rng, level)
        shown.setdefault(families.same(kind, numbers), numbers)
    return list(shown.values())


def _stream(kind: str, level: dict[str, int], *, split: str) -> Iterator[tuple[int, ...]]:
    """The numbers of the level's problems in this split, until no new ones come."""
    begin, end = SPLITS[split]
    rng = random.Random(_hash("stream", kind, sorted(level.items())))
    seen = {families.same(kind, numbers) for numbers in _shown(kind, level)}
    idle = 0
    while idle < ENOUGH:
        numbers = families.KINDS[kind].draw(rng, level)
        same = families.same(kind, numbers)
        idle += 1
        if same in seen:
            continue
        seen.add(same)
        idle = 0
        if begin <= _hash("split", kind, same) / 2**64 < end:
            yield numbers


def _problem(kind: str, numbers: tuple[int, ...], *, shots: str, level: dict[str, int], split: str) -> Problem:
    verifier = f"real_{kind}"
    answer = {"numbers": list(numbers)}
    traces = families.completions(verifier, answer) if split == "train" else []
    return Problem(
        id=f"{kind}-{'.'.join(map(str, level.values()))}-{'.'.join(map(str, numbers))}",
        prompt=shots + families.KINDS[kind].question(numbers),
        answer=answer,
        verifier=verifier,
        traces=tuple(Trace(text=text, source="arithmetic") for text in traces),
        benchmark=f"real-{kind}",
        metadata={"split": split} | level,
    )


def _hash(*parts: object) -> int:
    """What the fixed pseudo-random orders come from, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")
