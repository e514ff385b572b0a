"""Calibrations of the verdict that is looked at after every batch of draws (analysis.sequential)."""

from __future__ import annotations

import numpy as np
from calibration_kit import SHAPES, Line
from calibration_laws import LAWS
from calibration_words import CHANGED, GAINED, LOST

from analysis.counts import Counts
from analysis.sequential import look_at
from analysis.verdict import judge_counts

LOOKS = tuple(range(16, 129, 8))  # rounds of draws after which one looks


def looked_at(
    base: np.ndarray, tuned: np.ndarray, *, adaptive: bool, looks: tuple[int, ...] = LOOKS
) -> tuple[str, str, int]:
    """The word at the end of all looks, the word of the exact test when it is looked at as often, and the draws used.

    base, tuned: bool [M, n], the draws that would come. adaptive: only problems that not both sides have solved are
    drawn further, and twice as fast where one side has.
    """
    rounds = np.full(len(base), looks[0])
    said = (False, False)
    fixed = [False, False]
    word = "inconclusive"
    for goal in looks:
        there = np.arange(base.shape[1]) < rounds[:, None]
        solved = [(side & there).any(axis=1) for side in (base, tuned)]
        fresh = np.full(len(base), goal)
        if adaptive:
            fresh = np.where(solved[0] & solved[1], rounds, np.where(solved[0] | solved[1], 2 * goal, goal))
        rounds = np.maximum(rounds, np.minimum(fresh, base.shape[1]))
        found = look_at(base, tuned, rounds=rounds, said_before=said)
        said = (said[0] or found.verdict in GAINED, said[1] or found.verdict in LOST)
        word = found.verdict if word != "held" else word
        n = np.full(len(base), goal)
        now = judge_counts(Counts(n, base[:, :goal].sum(axis=1)), Counts(n, tuned[:, :goal].sum(axis=1))).verdict
        fixed = [fixed[0] or now in GAINED, fixed[1] or now in LOST]
    peeked = "traded" if all(fixed) else "expanded" if fixed[0] else "shrank" if fixed[1] else "inconclusive"
    return word, peeked, int(rounds.sum())


def looks(
    trials: int,
    rng: np.random.Generator,
    *,
    shape: str,
    problems: int,
    law: str = "nothing changed",
    adaptive: bool = True,
) -> list[Line]:
    """How often a false word is ever said at 15 looks, and how often the exact test says one that is looked at as
    often; for laws that change something, how often that is found, and with how many draws."""
    of = LAWS[law]
    false = GAINED if of.losses else LOST if of.gains else CHANGED
    wrong = 0
    peeked = 0
    found = 0
    used = 0
    for _ in range(trials):
        rates = of.change(SHAPES[shape](rng, problems), rng)
        base, tuned = (rng.random((problems, LOOKS[-1] * (2 if adaptive else 1))) < p[:, None] for p in rates)
        word, other, draws = looked_at(base, tuned, adaptive=adaptive)
        wrong += word in false and not (of.gains and of.losses)
        peeked += other in false and not (of.gains and of.losses)
        found += word in {"gain": GAINED, "loss": LOST, "both": ("traded",)}.get(of.found, ())
        used += draws
    row = f"{shape}; {problems} problems; {law}; {'open problems only' if adaptive else 'all problems'}"
    lines = [
        Line(row, "false words", wrong / trials, trials, at_most=0.05),
        Line(row, "exact test, looked at as often", peeked / trials, trials),
        Line(row, "share of the draws", used / trials / (problems * LOOKS[-1]), trials),
    ]
    return [*lines, Line(row, "found", found / trials, trials, interval=True)] if of.found else lines
