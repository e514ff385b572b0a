"""Calibrations of what looks at draws one by one: clusters, modes, and means of skewed quantities."""

from __future__ import annotations

import numpy as np
from calibration_kit import SHAPES, Line

from analysis.counts import Counts
from analysis.dependence import look
from analysis.readings import group_nulls
from analysis.records import Draws, ModelSamples
from analysis.verdict import Rules, judge, judge_counts

CHANGED = ("expanded", "shrank", "traded")
SIZE = 8  # draws a cluster
CLUSTERED = (  # correlation within problems, standard deviation of a seed's shift throughout, seeds a side
    (0.0, 0.0, 16),
    (0.02, 0.0, 16),
    (0.1, 0.0, 16),
    (0.3, 0.0, 16),
    (0.3, 0.0, 4),
    (0.6, 0.0, 16),
    (0.0, 0.7, 16),
    (0.0, 0.7, 4),
)


def samples_of(correct: np.ndarray) -> ModelSamples:
    """correct: int [M, G] of SIZE draws each, in clusters of the same G seeds."""
    problems, clusters = correct.shape
    n = np.full(problems, clusters * SIZE)
    hit = np.arange(SIZE) < correct[:, :, None]
    seed = np.tile(np.repeat(np.arange(clusters), SIZE), problems).astype(np.int32)
    draws = Draws(np.arange(problems + 1) * clusters * SIZE, hit.ravel().astype(np.uint8), clusters={"seed": seed})
    ids = [str(i) for i in range(problems)]
    return ModelSamples("m", ids, ["b"] * problems, n, correct.sum(axis=1), 0 * n, draws=draws)


def clustered(p: np.ndarray, *, clusters: int, correlation: float, throughout: float, rng: np.random.Generator):
    """Correct draws of each cluster, int [M, G]: beta with the correlation within problems, or shifted throughout by a
    normal of that standard deviation on the logit."""
    p = np.repeat(p[:, None], clusters, axis=1)
    if throughout:
        with np.errstate(divide="ignore"):
            odds = p / np.maximum(1 - p, 1e-12) * np.exp(rng.normal(0, throughout, clusters))
        p = odds / (1 + odds)
    elif correlation:
        inside = (p > 1e-12) & (p < 1 - 1e-12)
        size = (1 - correlation) / correlation
        drawn = rng.beta(np.where(inside, p * size, 1), np.where(inside, (1 - p) * size, 1))
        p = np.where(inside, drawn, p)
    return rng.binomial(SIZE, p)


def cluster_verdicts(
    shape: str,
    problems: int,
    audits: int,
    rng: np.random.Generator,
    correlation: float = 0.0,
    throughout: float = 0.0,
    clusters: int = 16,
    gained: float = 0.0,
) -> list[Line]:
    """How often two sets of clustered draws of one model are called changed, as the audit relabels them, and draw by
    draw. gained: share of problems from 0 to .5, which should be found (no target)."""
    wrong = 0
    blind = 0
    noticed = 0
    rules = Rules()
    for _ in range(audits):
        p = SHAPES[shape](rng, problems)
        up = rng.random(problems) < gained
        base, tuned = (
            samples_of(clustered(q, clusters=clusters, correlation=correlation, throughout=throughout, rng=rng))
            for q in (np.where(up, 0.0, p), np.where(up, 0.5, p))
        )
        dependence = look(base, tuned)
        b = Counts(base.n, base.correct)
        t = Counts(tuned.n, tuned.correct)
        groups = {"all": np.arange(problems)}
        null = group_nulls(b, t, groups=groups, dependence=dependence, rates=(0.0, 0.0), rules=rules)["all"]
        wrong += judge(null, problems, rules=rules).verdict in CHANGED
        blind += judge_counts(b, t).verdict in CHANGED
        noticed += dependence.cells is not None
    name = f"correlation {correlation:g}" if not throughout else f"seeds shifted by sd {throughout:g}"
    row = f"{shape}; {problems} problems; {clusters} seeds, {name}"
    if gained:
        return [Line(row, "called expanded or traded", wrong / audits, audits)]
    return [
        Line(row, "called changed", wrong / audits, audits, at_most=0.05),
        Line(row, "draw by draw", blind / audits, audits),
        Line(row, "noticed", noticed / audits, audits),
    ]
