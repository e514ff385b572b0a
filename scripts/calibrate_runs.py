"""Boards of methods with several runs, for scripts/calibrate_analysis.py: simulated methods that share one law, and
what `analysis` says of them.

A run's success probabilities are those of its law, shaken on the logit by one number a run (its seed).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from analysis.counts import Counts
from analysis.differences import BenchmarkRuns
from analysis.intervals import Bootstrap
from analysis.method_verdict import judge_methods
from analysis.null import exact_null
from analysis.pair import AuditSettings
from analysis.verdict import Rules

Shape = Callable[[np.random.Generator, int], np.ndarray]
CHANGED = ("expanded", "shrank", "traded")


def shaken(p: np.ndarray, sd: float, *, rng: np.random.Generator) -> np.ndarray:
    """The success probabilities [M] of one run: the log-odds of all problems moved by one draw of N(0, sd^2)."""
    return special.expit(special.logit(p) + rng.normal(0, sd)) if sd else p


def excluded_zeros(
    shape: Shape,
    boards: int,
    *,
    rng: np.random.Generator,
    runs: int,
    sds: Sequence[float],
    problems: int = 200,
    n: int = 64,
) -> dict[str, float]:
    """How often the interval of the difference of the last method to the first, both with one law, excludes 0.

    sds: seed sd of each method. Returns shares of `boards`: at k = 1 and n, with the runs as
    a sample ("pass@1"), and with the problems alone ("pass@1, runs held fixed").
    """
    settings = AuditSettings(k=(1, n), replicates=500)
    draws = np.full(problems, n)
    found: dict[str, int] = {}
    for i in range(boards):
        if i % 20 == 0:  # the resampling noise is renewed now and then; the data every time
            bootstrap = Bootstrap.draw(problems, settings.replicates, rng=rng)
        p = shape(rng, problems)
        board = {
            str(name): [Counts(draws, rng.binomial(n, shaken(p, sd, rng=rng))) for _ in range(runs)]
            for name, sd in enumerate(sds)
        }
        base = Counts(draws, rng.binomial(n, p))
        rows = BenchmarkRuns(base, board, settings, bootstrap=bootstrap).between("0", str(len(sds) - 1))
        for k, row in rows.items():
            for label, (low, high) in (("", (row["low"], row["high"])), (", runs held fixed", row["over_problems"])):
                key = f"pass@{k}{label}"
                found[key] = found.get(key, 0) + (low > 0 or high < 0)
    return {key: count / boards for key, count in found.items()}


def false_boards(
    shape: Shape,
    boards: int,
    *,
    rng: np.random.Generator,
    methods: int,
    runs: int,
    sd: float,
    problems: int = 500,
    n: int = 128,
    change: Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]] | None = None,
) -> dict[str, float]:
    """Boards of methods that are the base itself (seeds shaken by sd): the share with any false word.

    change: p -> (base, first method); the first method then is not counted as false, and how often it is called
    expanded or traded is returned beside.
    """
    draws = np.full(problems, n)
    rules = Rules()
    found = {"words of methods": 0, "words of single runs": 0} | ({"found": 0} if change else {})
    for _ in range(boards):
        p = shape(rng, problems)
        base, first = change(p, rng) if change else (p, p)
        b = Counts(draws, rng.binomial(n, base))
        blocks = {}
        alone = False
        for i in range(methods):
            law = base if i else first
            nulls = [exact_null(b, Counts(draws, rng.binomial(n, shaken(law, sd, rng=rng)))) for _ in range(runs)]
            alone |= (i > 0 or change is None) and any(
                min(null.expanded.p, null.shrunk.p) <= rules.level for null in nulls
            )
            bounds = {"upper_gain": 1.0, "upper_loss": 1.0}  # held is not asked here
            blocks[str(i)] = [{"null": null.document(), "verdict_detail": bounds} for null in nulls]
        words = {
            name: by["all"]["verdict"] for name, by in judge_methods({"all": blocks}, pooled="all", rules=rules).items()
        }
        found["words of methods"] += any(word in CHANGED for name, word in words.items() if name != "0" or not change)
        found["words of single runs"] += alone
        if change:
            found["found"] += words["0"] in ("expanded", "traded")
    return {key: count / boards for key, count in found.items()}
