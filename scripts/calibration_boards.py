"""Calibrations of boards of methods with several runs: simulated methods that share one law, and what `analysis` says
of them.

A run's success probabilities are those of its law, shaken on the logit by one number a run (its seed).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from calibration_kit import SHAPES, Line
from calibration_laws import LAWS
from calibration_light import Words, words
from scipy import special

from analysis.counts import Counts
from analysis.differences import BenchmarkRuns
from analysis.intervals import Bootstrap
from analysis.method_verdict import judge_methods
from analysis.pair import AuditSettings
from analysis.verdict import Rules

CHANGED = ("expanded", "shrank", "traded")


def shaken(p: np.ndarray, sd: float, *, rng: np.random.Generator) -> np.ndarray:
    """The success probabilities [M] of one run: the log-odds of all problems moved by one draw of N(0, sd^2)."""
    return special.expit(special.logit(p) + rng.normal(0, sd)) if sd else p


def run_differences(
    trials: int,
    rng: np.random.Generator,
    *,
    shape: str,
    runs: int,
    sds: Sequence[float] = (0.0, 0.0),
    problems: int = 200,
    n: int = 64,
    target: bool = True,
) -> list[Line]:
    """Methods of one law with `runs` runs each: how often the interval of the difference of the last one to the first
    excludes 0, at k = 1 and n, with the runs as a sample ("pass@1"), and with the problems alone ("runs held fixed").

    sds: seed sd of each method. target: whether 5 % is asked for.
    """
    settings = AuditSettings(k=(1, n), replicates=500)
    draws = np.full(problems, n)
    found: dict[str, int] = {}
    for i in range(trials):
        if i % 20 == 0:  # the resampling noise is renewed now and then; the data every time
            bootstrap = Bootstrap.draw(problems, settings.replicates, rng=rng)
        p = SHAPES[shape](rng, problems)
        board = {
            str(name): [Counts(draws, rng.binomial(n, shaken(p, sd, rng=rng))) for _ in range(runs)]
            for name, sd in enumerate(sds)
        }
        base = Counts(draws, rng.binomial(n, p))
        rows = BenchmarkRuns(base, board, settings=settings, bootstrap=bootstrap).between("0", str(len(sds) - 1))
        for k, row in rows.items():
            for label, (low, high) in (("", (row["low"], row["high"])), (", runs held fixed", row["over_problems"])):
                key = f"pass@{k}{label}"
                found[key] = found.get(key, 0) + (low > 0 or high < 0)
    spread = f"seed sd {sds[0]:g}" if len(set(sds)) == 1 else f"seed sd {sds[0]:g}, one of {sds[-1]:g}"
    row = f"{shape}; {problems} problems; {len(sds)} methods, {runs} runs, {spread}"
    asked = {key: None if not target or "fixed" in key else 0.05 for key in found}
    return [Line(row, key, times / trials, trials, at_most=asked[key]) for key, times in found.items()]


def _document(said: Words, run: int) -> dict[str, float]:
    """Of the null of one run, what the word of its method needs."""
    return {
        f"{what}_{name}": float(getattr(side, what)[run])
        for name, side in zip(("shrunk", "expanded"), said.sides, strict=True)
        for what in ("p", "observed", "expected")
    }


def method_boards(
    trials: int,
    rng: np.random.Generator,
    *,
    shape: str,
    problems: int = 500,
    methods: int = 20,
    runs: int = 3,
    sd: float = 0.0,
    n: int = 128,
    law: str | None = None,
) -> list[Line]:
    """Boards of methods that are the base itself (seeds shaken by sd): the share with any false word.

    law: of the first method, which is then not counted as false; how often it is called expanded or traded stands
    beside.
    """
    rules = Rules()
    found = {"words of methods": 0, "words of single runs": 0} | ({"found": 0} if law else {})
    for _ in range(trials):
        p = SHAPES[shape](rng, problems)
        base, first = LAWS[law].change(p, rng) if law else (p, p)
        laws = [first if i < runs else base for i in range(methods * runs)]  # run by run, the first method's first
        drawn = rng.binomial(n, np.stack([shaken(own, sd, rng=rng) for own in laws]))
        shared = np.broadcast_to(rng.binomial(n, base), drawn.shape)
        draws = np.full(drawn.shape, n)
        said = words(Counts(draws, shared), Counts(draws, drawn), rules=rules)
        nulls = [_document(said, i) for i in range(len(drawn))]
        bounds = {"upper_gain": 1.0, "upper_loss": 1.0}  # held is not asked here
        blocks = {
            str(i): [{"null": null, "verdict_detail": bounds} for null in nulls[i * runs : (i + 1) * runs]]
            for i in range(methods)
        }
        judged = judge_methods({"all": blocks}, pooled="all", rules=rules)
        names = {name: by["all"]["verdict"] for name, by in judged.items()}
        found["words of methods"] += any(word in CHANGED for name, word in names.items() if name != "0" or not law)
        found["words of single runs"] += bool(said.changed[runs if law else 0 :].any())
        if law:
            found["found"] += names["0"] in ("expanded", "traded")
    beside = f"; the first: {law}" if law else ""
    row = f"{shape}; {problems} problems; {methods} methods, {runs} runs, seed sd {sd:g}{beside}"
    return [
        Line(
            row,
            key,
            times / trials,
            trials,
            at_most=0.05 if key == "words of methods" else None,
            interval=key == "found",
        )
        for key, times in found.items()
    ]
