"""Calibrations of what looks at draws one by one: clusters, modes, and means of skewed quantities."""

from __future__ import annotations

import numpy as np
from calibration_kit import SHAPES, Line

from analysis.counts import Counts
from analysis.dependence import look
from analysis.intervals import Bootstrap
from analysis.pair import AuditSettings, Pair
from analysis.readings import group_nulls
from analysis.records import AnswerCounts, Draws, ModelSamples
from analysis.support import answer_support
from analysis.units import judge_units, units
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


# --- modes ------------------------------------------------------------------------------------------------------------

WAYS = 8  # modes a problem can be solved in
MODE_DRAWS = ((64, 64), (128, 128), (1024, 64), (64, 1024))  # of base and tuned


def modes_of(p: np.ndarray, share: np.ndarray, *, n: int, rng: np.random.Generator) -> ModelSamples:
    """n draws a problem; a correct one (chance p [M]) is of mode j with chance share [M, J]."""
    problems, ways = share.shape
    chances = np.column_stack([share * p[:, None], 1 - p])
    drawn = rng.multinomial(n, chances / chances.sum(axis=1, keepdims=True))  # the last column is wrong
    problem, mode = np.nonzero(drawn)
    names = np.array([f"m{j}" for j in mode], dtype=object)
    answers = AnswerCounts(problem, names, names, drawn[problem, mode], mode < ways)
    ids = [str(i) for i in range(problems)]
    counts = np.full(problems, n)
    return ModelSamples("m", ids, ["b"] * problems, counts, n - drawn[:, -1], 0 * counts, answers=answers)


def mode_verdicts(
    shape: str,
    problems: int,
    audits: int,
    rng: np.random.Generator,
    n: tuple[int, int] = (128, 128),
    lost: float = 0.0,
) -> list[Line]:
    """How often two draws of one model are called changed by mode; and SRR and NDR of modes as seen and at a common k.

    lost: share of (problem, mode) that the tuned model no longer has, which should be found (no target then).
    """
    wrong = 0
    rates = np.zeros(4)
    for _ in range(audits):
        p = SHAPES[shape](rng, problems)
        share = rng.dirichlet(np.full(WAYS, 0.5), problems)
        kept = share * (rng.random(share.shape) >= lost)
        kept = np.where(kept.sum(axis=1, keepdims=True) > 0, kept, share)
        sides = (
            modes_of(p, share, n=n[0], rng=rng),
            modes_of(p, kept / kept.sum(axis=1, keepdims=True), n=n[1], rng=rng),
        )
        pair = Pair(*sides, settings=AuditSettings(k=(min(n),), replicates=100))
        block = units(pair, "mode", eps=None)
        judge_units({"all": block}, rules=Rules(), pooled="all")
        wrong += block["verdict"] in CHANGED
        seen = answer_support(sides[0].answers, sides[1].answers, by="mode", problems=problems)[0]
        rates += [seen.srr, seen.ndr, block["srr"], block["ndr"]]
    row = f"{shape}; {problems} problems; n = {n[0]:,} against {n[1]:,}"
    called = Line(row, "called changed", wrong / audits, audits, at_most=0.05)
    if lost:
        return [Line(f"{row}; {lost:.0%} of modes lost", "called shrank or traded", wrong / audits, audits)]
    names = ("SRR of modes seen", "NDR of modes seen", "SRR at common k", "NDR at common k")
    return [called, *(Line(row, name, x / audits, audits) for name, x in zip(names, rates.tolist(), strict=True))]


# --- means of skewed quantities ---------------------------------------------------------------------------------------

SKEWED = {  # of a problem: what is drawn, and its mean
    "entropy: log-normal, sd 1": (lambda rng, size: rng.lognormal(-1, 1, size), float(np.exp(-0.5))),
    "entropy: half zero, else exponential": (
        lambda rng, size: rng.exponential(1, size) * (rng.random(size) < 0.5),
        0.5,
    ),
    "length: log-normal, sd .7": (lambda rng, size: 500 * rng.lognormal(0, 0.7, size), float(500 * np.exp(0.245))),
    "perplexity: 1 + gamma(.5)": (lambda rng, size: 1 + rng.gamma(0.5, 0.4, size), 1.2),
    "difference of two log-normals": (lambda rng, size: rng.lognormal(0, 1, size) - rng.lognormal(0, 1, size), 0.0),
}


def skewed_coverage(name: str, problems: int, simulations: int, rng: np.random.Generator) -> list[Line]:
    """How often the 95 % interval of a mean over problems holds the truth: bootstrap-t, and percentile as before."""
    draw, truth = SKEWED[name]
    hits = np.zeros(2)
    for i in range(simulations):
        if i % 5 == 0:
            bootstrap = Bootstrap.draw(problems, 1000, rng=rng)
        values = draw(rng, problems)
        limits = (bootstrap.studentised(values), bootstrap.interval(bootstrap.means(values)))
        hits += [low <= truth <= high for low, high in limits]
    return [
        Line(name, f"{problems} problems", hits[0] / simulations, simulations, at_least=0.9 if problems < 30 else 0.92),
        Line(name, f"percentile, {problems}", hits[1] / simulations, simulations),
    ]
