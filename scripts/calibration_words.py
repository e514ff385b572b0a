"""Calibrations of the verdict's word by its light path: counts of both sides, the exact null, the word, and nothing
else, some milliseconds a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from calibration_kit import SHAPES, Line
from calibration_laws import LAWS, SPEED_UPS
from calibration_light import CHECKED, Words, words

from analysis.certified import certify, default_eps
from analysis.counts import Counts
from analysis.lucky import FalsePositives, null_above, thresholds_and_odds
from analysis.null import exact_null, one_side_only
from analysis.readings import POOLED, judge_groups
from analysis.verdict import FOLDS, Rules, judge

CHANGED = ("expanded", "shrank", "traded")
GAINED = ("expanded", "traded")
LOST = ("shrank", "traded")
RULES = Rules()
BATCH = 250  # data sets that are judged at once
RAGGED = "16 to 128"  # each problem's draws of each side are a number of their own
Draws = tuple[int, int] | str  # a problem: of base and tuned, or RAGGED


def said_of(n: Draws) -> str:
    if isinstance(n, str):
        return f"n = {n}, each its own"
    return f"n = {n[0]}" if n[0] == n[1] else f"n = {n[0]} / {n[1]}"


Laws = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def draw_sides(
    p: tuple[np.ndarray, np.ndarray], rng: np.random.Generator, *, n: Draws = (128, 128)
) -> tuple[Counts, Counts]:
    """Counts of base and tuned from their success probabilities, of any shape."""
    sides = []
    for i in range(2):
        draws = rng.integers(16, 129, p[i].shape) if isinstance(n, str) else np.full(p[i].shape, n[i])
        sides.append(Counts(draws, rng.binomial(draws, p[i])))
    return sides[0], sides[1]


def data_sets(
    trials: int, rng: np.random.Generator, *, shape: str, problems: int, change: Laws, n: Draws
) -> Iterator[tuple[Counts, Counts]]:
    """`trials` data sets in batches: counts of base and tuned, int [D, M] each."""
    batch = max(min(BATCH, trials), 1)
    for start in range(0, trials, batch):
        both = [change(SHAPES[shape](rng, problems), rng) for _ in range(min(batch, trials - start))]
        yield draw_sides((np.stack([p for p, _ in both]), np.stack([q for _, q in both])), rng, n=n)


def words_of(trials: int, rng: np.random.Generator, *, shape: str, problems: int, n: Draws, law: str) -> dict[str, int]:
    """How often each word is said where `law` changes `problems` problems of a shape."""
    found: dict[str, int] = {}
    for sides in data_sets(trials, rng, shape=shape, problems=problems, change=LAWS[law].change, n=n):
        for word in words(*sides).names:
            found[word] = found.get(word, 0) + 1
    return found


def count(found: dict[str, int], named: tuple[str, ...]) -> int:
    """Data sets whose word is one of `named`."""
    return sum(times for word, times in found.items() if word in named)


def false_words(
    trials: int, rng: np.random.Generator, *, shape: str, problems: int, n: Draws, law: str = "nothing changed"
) -> list[Line]:
    """How often a word is said that is not true; a gain and a loss have half of the error each."""
    found = words_of(trials, rng, shape=shape, problems=problems, n=n, law=law)
    of = LAWS[law]
    false = GAINED if of.losses else LOST if of.gains else CHANGED
    # most of these tables vary one thing: the others name the row
    row = shape if law == "nothing changed" else f"{shape}; {law}"
    column = f"{problems} problems" if law == "nothing changed" else f"{problems} problems, {said_of(n)}"
    row += f"; {said_of(n)}" if law == "nothing changed" else ""
    return [Line(row, column, count(found, false) / trials, trials, at_most=0.05)]


def false_benchmarks(
    trials: int, rng: np.random.Generator, *, shape: str, sizes: tuple[int, ...], n: Draws = (128, 128)
) -> list[Line]:
    """How often any of several benchmarks, of so many problems each, has a false word after Holm over them; and the
    pooled problems."""
    wrong = 0
    pooled = 0
    ends = np.cumsum((0, *sizes))
    groups = {str(i): np.arange(low, high) for i, (low, high) in enumerate(pairwise(ends.tolist()))}
    groups[POOLED] = np.arange(ends[-1])
    for _ in range(trials):
        p = SHAPES[shape](rng, int(ends[-1]))
        base, tuned = draw_sides((p, p), rng, n=n)
        nulls = {name: exact_null(base.at(index), tuned.at(index)) for name, index in groups.items()}
        judged = judge_groups(nulls, groups, rules=RULES)
        pooled += judged.pop(POOLED).verdict in CHANGED
        wrong += any(of.verdict in CHANGED for of in judged.values())
    row = f"{shape}; benchmarks of {', '.join(map(str, sizes))} problems, {said_of(n)}"
    return [
        Line(row, "of any benchmark", wrong / trials, trials, at_most=0.05),
        Line(row, "of the pooled problems", pooled / trials, trials, at_most=0.05),
    ]


def power(
    trials: int,
    rng: np.random.Generator,
    *,
    shape: str,
    problems: int,
    n: Draws,
    law: str,
    at_least: float | None = None,
) -> list[Line]:
    """How often a true change is found, and how often a word is said that is not true."""
    found = words_of(trials, rng, shape=shape, problems=problems, n=n, law=law)
    of = LAWS[law]
    asked = {"gain": GAINED, "loss": LOST, "both": ("traded",)}[of.found]
    row = f"{shape}; {law}; {problems} problems, {said_of(n)}"
    lines = [Line(row, "found", count(found, asked) / trials, trials, at_least=at_least, interval=True)]
    if not (of.gains and of.losses):
        false = LOST if of.gains else GAINED
        lines.append(Line(row, "false words", count(found, false) / trials, trials, at_most=0.05))
    held = found.get("held", 0)
    return [*lines, Line(row, "held", held / trials, trials)]


def held_in_vain(
    trials: int, rng: np.random.Generator, *, shape: str, problems: int, n: Draws, share: float, at: float
) -> list[Line]:
    """How often "held" is said of a change above the margin: `share` of problems from `at` to 0, all of which the base
    solves in n draws."""

    def lose(p: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        down = rng.permutation(problems)[: round(share * problems)]
        base = p.copy()
        base[down] = at
        tuned = p.copy()
        tuned[down] = 0.0
        return base, tuned

    law = f"{share:.0%} from {at:g} to 0"
    held = 0
    for sides in data_sets(trials, rng, shape=shape, problems=problems, change=lose, n=n):
        held += int(words(*sides).held.sum())
    return [Line(f"{shape}; {law}", f"{problems} problems, {said_of(n)}", held / trials, trials, at_most=0.05)]


def verdict_shares(
    trials: int, rng: np.random.Generator, *, shape: str, law: str, problems: int = 500, n: Draws = (1024, 1024)
) -> list[Line]:
    """Share of each verdict."""
    found = words_of(trials, rng, shape=shape, problems=problems, n=n, law=law)
    names = (*CHANGED, "held", "inconclusive")
    return [Line(f"{shape}; {law}", name, found.get(name, 0) / trials, trials) for name in names]


def refuted_folds(
    trials: int, rng: np.random.Generator, *, shape: str, change: str, problems: int = 500, n: Draws = (128, 128)
) -> list[Line]:
    """How often a speed-up alone is said to be beyond itself (target), and how often it is called changed at all."""
    law, fold = SPEED_UPS[change]
    folds = tuple(f for f in FOLDS if f <= fold)
    wrong = 0
    called = 0
    for sides in data_sets(trials, rng, shape=shape, problems=problems, change=law, n=n):
        wrong += int(words(*sides, folds=folds).changed.sum())
        called += int(words(*sides).changed.sum())
    row = f"{shape}; {change}; {problems} problems, {said_of(n)}"
    return [
        Line(row, "beyond it", wrong / trials, trials, at_most=0.05),
        Line(row, "called changed", called / trials, trials),
    ]


def fold_power(
    trials: int,
    rng: np.random.Generator,
    *,
    shape: str,
    at: float,
    share: float = 0.05,
    problems: int = 500,
    n: Draws = (128, 128),
) -> list[Line]:
    """How often a share of problems from 0 to `at` is said to be beyond a speed-up of 4."""

    def win(p: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        up = rng.permutation(problems)[: round(share * problems)]
        base = p.copy()
        base[up] = 0.0
        tuned = p.copy()
        tuned[up] = at
        return base, tuned

    found = 0
    for sides in data_sets(trials, rng, shape=shape, problems=problems, change=win, n=n):
        found += int(words(*sides, folds=(1.0, 2.0, 4.0)).gain.sum())
    row = f"{shape}; {problems} problems, {said_of(n)}"
    return [Line(row, f"{share:.0%} from 0 to {at:g}", found / trials, trials, interval=True)]


def lucky_verdicts(
    trials: int,
    rng: np.random.Generator,
    *,
    shape: str,
    rates: tuple[float, float],
    problems: int = 500,
    n: Draws = (128, 128),
    graded: int = 0,
) -> list[Line]:
    """How often equal models under such verifiers are called changed, with the rates given and without.

    rates: false positives of base and tuned. graded: so many accepted draws of each side are graded by hand, and as
    many rejected ones, and the rates are taken from that; 0 gives the rates themselves.
    """

    def accepted(p: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return p + (1 - p) * rates[0], p + (1 - p) * rates[1]

    wrong = 0
    blind = 0
    for base, tuned in data_sets(trials, rng, shape=shape, problems=problems, change=accepted, n=n):
        blind += int(words(base, tuned).changed.sum())
        if graded:
            for i in range(len(base.n)):
                sides = (Counts(base.n[i], base.correct[i]), Counts(tuned.n[i], tuned.correct[i]))
                given = [
                    _graded(side, rate, rng, sample=graded).of(side) for side, rate in zip(sides, rates, strict=True)
                ]
                null = null_above(*sides, rates=(given[0], given[1]), rules=RULES)
                wrong += judge(null, problems, rules=RULES).verdict in CHANGED
        else:
            wrong += int(_above(base, tuned, rates=rates).changed.sum())
    row = f"{shape}; {problems} problems, {said_of(n)}" + (f"; {graded} graded a side" if graded else "")
    column = f"{rates[0]:g} / {rates[1]:g}"
    return [
        Line(row, f"{column}, given", wrong / trials, trials, at_most=0.05),
        Line(row, f"{column}, not given", blind / trials, trials),
    ]


def _graded(side: Counts, rate: float, rng: np.random.Generator, *, sample: int) -> FalsePositives:
    """What grading `sample` accepted draws of one side shows: how many of them are wrong.

    Of the draws of a problem with true rate p the share (1 - p) rate of all, and so 1 - p = (1 - accepted) / (1 - rate)
    of them, is wrong and accepted.
    """
    accepted = side.correct.sum() / side.n.sum()
    wrong = rate * (1 - accepted) / (1 - rate)
    accepts = rng.binomial(sample, min(wrong / max(accepted, 1e-12), 1.0))
    return FalsePositives(None, judged_correct=sample, false_accepts=int(accepts), judged_wrong=sample)


def _above(base: Counts, tuned: Counts, *, rates: tuple[float, float]) -> Words:
    """analysis.lucky.null_above over data sets at once; its chances depend on the number of correct draws alone."""
    n = (int(base.n.flat[0]), int(tuned.n.flat[0]))
    c = np.arange(sum(n) + 1)
    problems = base.n.shape[1]
    least, odds = thresholds_and_odds(
        Counts(np.full(len(c), n[0]), c),
        Counts(np.full(len(c), n[1]), 0 * c),
        rates=rates,
        rules=RULES,
        problems=problems,
    )
    tables = (
        one_side_only(n[0], n[1], correct=c, odds=odds[0], least_one=least[0], least_other=least[1]),
        one_side_only(n[1], n[0], correct=c, odds=odds[1], least_one=least[1], least_other=least[0]),
    )
    found = words(base, tuned, tables=tables, least=(int(least[0][0]), int(least[1][0])))
    for i in range(min(CHECKED, len(base.n))):
        sides = (Counts(base.n[i], base.correct[i]), Counts(tuned.n[i], tuned.correct[i]))
        slow = judge(null_above(*sides, rates=rates, rules=RULES), problems, rules=RULES)
        if (slow.p_gain <= RULES.level, slow.p_loss <= RULES.level) != (found.gain[i], found.loss[i]):
            raise AssertionError(f"the light path says {found.names[i]}, the verdict {slow.verdict}: {sides}")
    return found


def certified_errors(
    trials: int, rng: np.random.Generator, *, shape: str, law: str, problems: int = 500, n: int = 1024
) -> list[Line]:
    """Mean share of wrong members in each certified category (the false discovery rate), at the default eps."""
    eps = default_eps(n, problems) or 0.5
    wrong = np.zeros(4)
    for _ in range(trials):
        base, tuned = LAWS[law].change(SHAPES[shape](rng, problems), rng)
        certificate = certify(*draw_sides((base, tuned), rng, n=(n, n)), eps=eps)
        above_b = base > eps
        above_t = tuned > eps
        truth = np.select([above_b & above_t, above_b, above_t], [0, 1, 2], 3)
        for category in range(4):
            claimed = certificate.category == category
            wrong[category] += (truth[claimed] != category).mean() if claimed.any() else 0.0
    names = ("preserved", "shrunk", "expanded", "out")
    return [
        Line(f"{shape}; {law}", name, share, trials, at_most=0.05)
        for name, share in zip(names, (wrong / trials).tolist(), strict=True)
    ]
