"""How often a verifier is wrong, from a person's judgements of a stratified sample of its verdicts.

`draw` picks the verdicts that a person should look at, `rates` turns the judgements into P(accepted | wrong) and
P(rejected | right).

A sample that is balanced by verdict shows how many accepted answers are wrong, which is another number: with 1 % of
wrong answers accepted and 1 % of answers right, half of the accepted ones are wrong. So every judgement counts for as
many verdicts as its stratum holds for each one drawn (Rogan and Gladen, 1978, for the idea). Bounds are
Clopper-Pearson's within the strata, each at the level 1 - (1 - level) / strata, and combined at their worst:
conservative.

    >>> strata = [Stratum("accepted", True, 100, 50, 1), Stratum("rejected", False, 900, 50, 49)]
    >>> round(rates(strata).accepted_if_wrong.rate, 4)  # 2 of 100 accepted and 882 of 900 rejected ones are wrong
    0.0023
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scipy.stats import beta

from analysis.errors import InputError

FEW = 5  # accepted draws of problems with at most so many decide whether a problem counts as solved
FIRST = 0.5  # share of the sample that the accepted draws of such problems get
ACCEPTED_FEW, ACCEPTED, WRONG_FEW, WRONG, UNREAD = (
    f"accepted, of 1 to {FEW} correct",
    "accepted, of more",
    f"rejected, of 0 to {FEW} correct",
    "rejected, of more",
    "no answer found",
)
ORDER = (ACCEPTED_FEW, ACCEPTED, WRONG_FEW, WRONG, UNREAD)


@dataclass(frozen=True)
class Stratum:
    """Verdicts of one kind, and what a person says of some of them.

    name: as the sheet has it.
    accepted: whether the verdicts are CORRECT.
    size: how many there are.
    judged: how many a person looked at.
    wrong: how many of the answers looked at are wrong, says the person.
    """

    name: str
    accepted: bool
    size: int
    judged: int
    wrong: int


@dataclass(frozen=True)
class Rate:
    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class Rates:
    accepted_if_wrong: Rate
    rejected_if_right: Rate


# --- drawing ---------------------------------------------------------------------------------------------------------


def stratum_of(verdict: str, correct_of_problem: int) -> str | None:
    """None for a timeout or an error, which is no verdict."""
    if verdict == "correct":
        return ACCEPTED_FEW if correct_of_problem <= FEW else ACCEPTED
    if verdict == "wrong":
        return WRONG_FEW if correct_of_problem <= FEW else WRONG
    return UNREAD if verdict == "no_answer" else None


def draw(verdicts: list[tuple[str, str]], count: int, *, seed: int = 0) -> list[tuple[int, str, int]]:
    """Which verdicts to judge: (place in `verdicts`, stratum, size of the stratum), in a random order.

    verdicts: (problem, verdict) of every draw. Half of the sample goes to accepted draws of problems with 1 to FEW
    correct, the rest in equal parts to the other strata; what a stratum is too small for goes to the others.
    Raises ValueError where there are more strata than `count`.
    """
    correct = Counter(problem for problem, verdict in verdicts if verdict == "correct")
    places: dict[str, list[int]] = defaultdict(list)
    for place, (problem, verdict) in enumerate(verdicts):
        if name := stratum_of(verdict, correct[problem]):
            places[name].append(place)
    sizes = {name: len(places[name]) for name in ORDER if places[name]}
    generator = random.Random(seed)
    drawn = []
    for name, number in _shares(sizes, count).items():
        drawn += [(place, name, sizes[name]) for place in generator.sample(places[name], number)]
    generator.shuffle(drawn)
    return drawn


def _shares(sizes: dict[str, int], count: int) -> dict[str, int]:
    """
    >>> _shares({ACCEPTED_FEW: 3, ACCEPTED: 100, WRONG: 100}, 20)
    {'accepted, of 1 to 5 correct': 3, 'accepted, of more': 9, 'rejected, of more': 8}
    """
    if count < len(sizes):
        raise ValueError(f"expected at least {len(sizes)}, one for each kind of verdict in the file")
    shares = dict.fromkeys(sizes, 0)
    if ACCEPTED_FEW in sizes:  # every other stratum gets one at least
        shares[ACCEPTED_FEW] = min(sizes[ACCEPTED_FEW], math.ceil(count * FIRST), count - len(sizes) + 1)
    left = count - sum(shares.values())
    while left > 0 and (open_ones := [name for name in sizes if shares[name] < sizes[name]]):
        # the emptiest first, so that the others catch up before the first one gets more
        name = min(open_ones, key=lambda name: shares[name])
        shares[name] += 1
        left -= 1
    return shares


# --- taking the judgements back --------------------------------------------------------------------------------------


def strata_of(rows: Iterable[dict[str, Any]], place: str) -> list[Stratum]:
    """The strata of a judged sheet. Raises InputError for a row that is not judged, naming it."""
    sizes: dict[str, int] = {}
    judged = Counter()
    wrong = Counter()
    rows = list(rows)
    open_rows = [number for number, row in enumerate(rows, start=1) if row.get("judged_correct") is None]
    for number, row in enumerate(rows, start=1):
        name = row.get("stratum")
        verdict = row.get("judged_correct")
        if name not in ORDER or not isinstance(row.get("stratum_size"), int):
            raise InputError(f"{place}:{number}: no row of an audit sheet; expected what `verify --audit` wrote")
        if verdict is None:
            raise InputError(
                f"{place}:{number}: key 'judged_correct': not judged yet, as {len(open_rows)} of {len(rows)} rows; "
                "expected true or false"
            )
        if not isinstance(verdict, bool):
            raise InputError(f"{place}:{number}: key 'judged_correct': expected true or false, got {verdict!r}")
        sizes[name] = row["stratum_size"]
        judged[name] += 1
        wrong[name] += not verdict
    return [
        Stratum(name, name in (ACCEPTED_FEW, ACCEPTED), sizes[name], judged[name], wrong[name])
        for name in ORDER
        if name in sizes
    ]


def rates(strata: list[Stratum], level: float = 0.95) -> Rates:
    """P(accepted | wrong) and P(rejected | right), each with a two-sided bound of this level."""
    own_level = 1 - (1 - level) / max(1, len(strata))
    wrong = [(s, *_share(s.wrong, s, level=own_level)) for s in strata]
    right = [(s, *_share(s.judged - s.wrong, s, level=own_level)) for s in strata]
    return Rates(_ratio(wrong, accepted=True), _ratio(right, accepted=False))


def _share(count: int, stratum: Stratum, *, level: float) -> tuple[float, float, float]:
    """The share of a stratum and its bounds; a stratum of which everything was judged is known."""
    rate = count / stratum.judged
    if stratum.judged >= stratum.size:
        return rate, rate, rate
    return rate, *clopper_pearson(count, stratum.judged, level=level)


def _ratio(parts: list[tuple[Stratum, float, float, float]], *, accepted: bool) -> Rate:
    """Weight of the accepted (rejected) ones among all of a kind: largest where theirs are most and the others' are
    least."""

    def weight(index: int, side: bool) -> float:  # 0: the share itself, 1 and 2: its bounds
        return sum(stratum.size * shares[index] for stratum, *shares in parts if stratum.accepted is side)

    def share(ours: float, others: float, nothing: float) -> float:
        return ours / (ours + others) if ours + others else nothing

    return Rate(
        share(weight(0, accepted), weight(0, not accepted), 0.0),
        share(weight(1, accepted), weight(2, not accepted), 0.0),
        share(weight(2, accepted), weight(1, not accepted), 1.0),
    )


def clopper_pearson(count: int, n: int, *, level: float) -> tuple[float, float]:
    """
    >>> [round(bound, 4) for bound in clopper_pearson(0, 10, level=0.95)]
    [0.0, 0.3085]
    """
    half = (1 - level) / 2
    low = 0.0 if count == 0 else float(beta.ppf(half, count, n - count + 1))
    high = 1.0 if count == n else float(beta.ppf(1 - half, count + 1, n - count))
    return low, high


def more_needed(strata: list[Stratum], target: float, *, level: float = 0.95) -> int | None:
    """How many more judgements would bring the bound of P(accepted | wrong) to the target, if they came out as those
    before; None if none would."""
    total = sum(stratum.judged for stratum in strata)
    low = 1.0
    high = 2.0
    while rates(_scaled(strata, high), level).accepted_if_wrong.high > target:
        low = high
        high = high * 2
        if all(s.judged * high > s.size for s in strata) or high > 1e6:
            break
    if rates(_scaled(strata, high), level).accepted_if_wrong.high > target:
        return None
    for _ in range(30):
        middle = (low + high) / 2
        reached = rates(_scaled(strata, middle), level).accepted_if_wrong.high <= target
        low, high = (low, middle) if reached else (middle, high)
    return max(1, sum(stratum.judged for stratum in _scaled(strata, high)) - total)


def _scaled(strata: list[Stratum], factor: float) -> list[Stratum]:
    scaled = []
    for s in strata:
        judged = min(s.size, math.ceil(s.judged * factor))
        scaled.append(Stratum(s.name, s.accepted, s.size, judged, min(judged, round(judged * s.wrong / s.judged))))
    return scaled


def effective(rate: Rate, level: float = 0.95, *, most: int = 10**6) -> tuple[int, int]:
    """(errors, judged): the plain sample whose rate is this one's or more and whose upper bound is this one's or more,
    as nearly as counts can.

    The analysis reads counts as of a plain sample; a stratified one says as much as this.

    >>> effective(Rate(0.0, 0.0, 0.3085))
    (0, 10)
    """
    low = 1
    high = most
    while low < high:
        n = (low + high + 1) // 2
        if clopper_pearson(math.ceil(rate.rate * n - 1e-9), n, level=level)[1] >= rate.high - 5e-5:
            low = n
        else:
            high = n - 1
    return min(low, math.ceil(rate.rate * low - 1e-9)), low
