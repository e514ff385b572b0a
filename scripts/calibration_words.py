"""Calibrations of the verdict's word by its light path: counts of both sides, the exact null, the word, and nothing
else, some milliseconds a data set."""

from __future__ import annotations

import numpy as np
from calibration_kit import SHAPES, Line
from calibration_laws import LAWS, SPEED_UPS

from analysis.certified import certify, default_eps
from analysis.counts import Counts
from analysis.lucky import FalsePositives, null_above
from analysis.null import exact_null
from analysis.verdict import FOLDS, Rules, judge, judge_counts

CHANGED = ("expanded", "shrank", "traded")
GAINED = ("expanded", "traded")
LOST = ("shrank", "traded")
RAGGED = "16 to 128"  # each problem's draws of each side are a number of their own
Draws = tuple[int, int] | str  # a problem: of base and tuned, or RAGGED


def said_of(n: Draws) -> str:
    if isinstance(n, str):
        return f"n = {n}, each its own"
    return f"n = {n[0]}" if n[0] == n[1] else f"n = {n[0]} / {n[1]}"


def draw_sides(
    p: tuple[np.ndarray, np.ndarray], rng: np.random.Generator, *, n: Draws = (128, 128)
) -> tuple[Counts, Counts]:
    """Counts of base and tuned from their success probabilities, [M] each."""
    sides = []
    for i in range(2):
        draws = rng.integers(16, 129, len(p[i])) if isinstance(n, str) else np.full(len(p[i]), n[i])
        sides.append(Counts(draws, rng.binomial(draws, p[i])))
    return sides[0], sides[1]


def words_of(trials: int, rng: np.random.Generator, *, shape: str, problems: int, n: Draws, law: str) -> dict[str, int]:
    """How often each word is said where `law` changes `problems` problems of a shape."""
    found: dict[str, int] = {}
    for _ in range(trials):
        sides = draw_sides(LAWS[law].change(SHAPES[shape](rng, problems), rng), rng, n=n)
        verdict = judge_counts(*sides).verdict
        found[verdict] = found.get(verdict, 0) + 1
    return found


def count(words: dict[str, int], *named: tuple[str, ...]) -> int:
    """Data sets whose word is in all of `named`."""
    return sum(times for word, times in words.items() if all(word in some for some in named))


def false_words(
    trials: int, rng: np.random.Generator, *, shape: str, problems: int, n: Draws, law: str = "nothing changed"
) -> list[Line]:
    """How often a word is said that is not true; a gain and a loss have half of the error each."""
    words = words_of(trials, rng, shape=shape, problems=problems, n=n, law=law)
    of = LAWS[law]
    false = GAINED if of.losses else LOST if of.gains else CHANGED
    # most of these tables vary one thing: the others name the row
    row = shape if law == "nothing changed" else f"{shape}; {law}"
    column = f"{problems} problems" if law == "nothing changed" else f"{problems} problems, {said_of(n)}"
    row += f"; {said_of(n)}" if law == "nothing changed" else ""
    return [Line(row, column, count(words, false) / trials, trials, at_most=0.05)]


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
    words = words_of(trials, rng, shape=shape, problems=problems, n=n, law=law)
    of = LAWS[law]
    asked = {"gain": GAINED, "loss": LOST, "both": ("traded",)}[of.found]
    row = f"{shape}; {law}; {problems} problems, {said_of(n)}"
    lines = [Line(row, "found", count(words, asked) / trials, trials, at_least=at_least, interval=True)]
    if not (of.gains and of.losses):
        false = LOST if of.gains else GAINED
        lines.append(Line(row, "false words", count(words, false) / trials, trials, at_most=0.05))
    held = words.get("held", 0)
    return [*lines, Line(row, "held", held / trials, trials)]


def held_in_vain(
    trials: int, rng: np.random.Generator, *, shape: str, problems: int, n: Draws, share: float, at: float
) -> list[Line]:
    """How often "held" is said of a change above the margin: `share` of problems from `at` to 0, all of which the base
    solves in n draws."""
    law = f"{share:.0%} from {at:g} to 0"
    held = 0
    for _ in range(trials):
        p = SHAPES[shape](rng, problems)
        down = rng.permutation(problems)[: round(share * problems)]
        base = p.copy()
        base[down] = at
        tuned = p.copy()
        tuned[down] = 0.0
        held += judge_counts(*draw_sides((base, tuned), rng, n=n)).verdict == "held"
    return [Line(f"{shape}; {law}", f"{problems} problems, {said_of(n)}", held / trials, trials, at_most=0.05)]


def verdict_shares(
    trials: int, rng: np.random.Generator, *, shape: str, law: str, problems: int = 500, n: Draws = (1024, 1024)
) -> list[Line]:
    """Share of each verdict."""
    words = words_of(trials, rng, shape=shape, problems=problems, n=n, law=law)
    names = (*CHANGED, "held", "inconclusive")
    return [Line(f"{shape}; {law}", name, words.get(name, 0) / trials, trials) for name in names]


def refuted_folds(
    trials: int, rng: np.random.Generator, *, shape: str, change: str, problems: int = 500, n: Draws = (128, 128)
) -> list[Line]:
    """How often a speed-up alone is said to be beyond itself (target), and how often it is called changed at all."""
    law, fold = SPEED_UPS[change]
    folds = tuple(f for f in FOLDS if f <= fold)
    rules = Rules(fold=fold)
    wrong = 0
    called = 0
    for _ in range(trials):
        sides = draw_sides(law(SHAPES[shape](rng, problems), rng), rng, n=n)
        judged = judge(exact_null(*sides, folds=folds), problems, rules=rules)
        wrong += max(judged.gain_fold or 0, judged.loss_fold or 0) >= fold
        called += judged.verdict in CHANGED
    row = f"{shape}; {problems} problems, {said_of(n)}"
    return [
        Line(row, change, wrong / trials, trials, at_most=0.05),
        Line(row, f"{change}: called changed", called / trials, trials),
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
    found = 0
    folds = tuple(f for f in FOLDS if f <= 4)
    for _ in range(trials):
        p = SHAPES[shape](rng, problems)
        up = rng.permutation(problems)[: round(share * problems)]
        base = p.copy()
        base[up] = 0.0
        tuned = p.copy()
        tuned[up] = at
        judged = judge(exact_null(*draw_sides((base, tuned), rng, n=n), folds=folds), problems)
        found += (judged.gain_fold or 0) >= 4
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
    wrong = 0
    blind = 0
    for _ in range(trials):
        p = SHAPES[shape](rng, problems)
        base, tuned = draw_sides((p + (1 - p) * rates[0], p + (1 - p) * rates[1]), rng, n=n)
        given = rates
        if graded:
            sides = ((base, rates[0]), (tuned, rates[1]))
            given = tuple(_graded(p, rate, rng, sample=graded).of(side) for side, rate in sides)
        wrong += judge(null_above(base, tuned, rates=(given[0], given[1]), rules=Rules()), problems).verdict in CHANGED
        blind += judge_counts(base, tuned).verdict in CHANGED
    row = f"{shape}; {problems} problems, {said_of(n)}" + (f"; {graded} graded a side" if graded else "")
    column = f"{rates[0]:g} / {rates[1]:g}"
    return [
        Line(row, f"{column}, given", wrong / trials, trials, at_most=0.05),
        Line(row, f"{column}, not given", blind / trials, trials),
    ]


def _graded(p: np.ndarray, rate: float, rng: np.random.Generator, *, sample: int) -> FalsePositives:
    """What grading `sample` accepted draws shows: how many of them are wrong."""
    right = float(p.mean())
    wrong = float(((1 - p) * rate).mean())
    accepts = rng.binomial(sample, wrong / max(right + wrong, 1e-12))
    return FalsePositives(None, judged_correct=sample, false_accepts=int(accepts), judged_wrong=sample)


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
