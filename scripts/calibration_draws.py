"""Calibrations of what looks at draws one by one: clusters and modes."""

from __future__ import annotations

import numpy as np
from calibration_kit import SHAPES, Line

from analysis.certified import certify, default_eps
from analysis.cluster_null import single_draws
from analysis.clusters import cells_of
from analysis.counts import Counts
from analysis.dependence import look
from analysis.judged import judged_counts
from analysis.pair import AuditSettings, BenchmarkPair
from analysis.readings import group_nulls
from analysis.records import AnswerCounts, Draws, ModelSamples
from analysis.support import CATEGORIES, answer_support
from analysis.units import judge_units, units
from analysis.verdict import Rules, judge, judge_counts

CHANGED = ("expanded", "shrank", "traded")
EIGHT = (8,) * 16  # draws of each seed
FEW = (8,) * 4
UNEQUAL = (2, 2, 4, 4, 4, 8, 8, 8, 8, 16, 16, 32)


def samples_of(correct: np.ndarray, sizes: tuple[int, ...] | None = EIGHT) -> ModelSamples:
    """correct: int [M, G], of the draws of the same G seeds in each problem. sizes: draws of each seed; None: draws
    that share nothing, of one seed each."""
    problems, seeds = correct.shape
    of = np.ones(seeds, dtype=np.int64) if sizes is None else np.array(sizes[:seeds])
    n = int(of.sum())
    rank = np.concatenate([np.arange(size) for size in of])  # of a draw within its seed
    owner = np.repeat(np.arange(seeds), of)
    hit = rank < correct[:, owner]
    seed = np.tile(owner, problems).astype(np.int32)
    clusters = {} if sizes is None else {"seed": seed}
    draws = Draws(np.arange(problems + 1) * n, hit.ravel().astype(np.uint8), clusters=clusters)
    ids = [str(i) for i in range(problems)]
    counts = np.full(problems, n)
    return ModelSamples("m", ids, ["b"] * problems, counts, correct.sum(axis=1), 0 * counts, draws=draws)


def clustered(
    p: np.ndarray,
    rng: np.random.Generator,
    *,
    sizes: tuple[int, ...] = EIGHT,
    correlation: float = 0.0,
    throughout: float = 0.0,
) -> np.ndarray:
    """Correct draws of each cluster, int [M, G]: beta with the correlation within problems, or shifted throughout by a
    normal of that standard deviation on the logit."""
    clusters = len(sizes)
    p = np.repeat(p[:, None], clusters, axis=1)
    if throughout:
        with np.errstate(divide="ignore"):
            odds = p / np.maximum(1 - p, 1e-12) * np.exp(rng.normal(0, throughout, clusters))
        p = np.where(p < 1, odds / (1 + odds), 1.0)
    if correlation:
        inside = (p > 1e-12) & (p < 1 - 1e-12)
        size = (1 - correlation) / correlation
        drawn = rng.beta(np.where(inside, p * size, 1), np.where(inside, (1 - p) * size, 1))
        p = np.where(inside, drawn, p)
    return rng.binomial(sizes, p)


def cluster_verdicts(
    trials: int,
    rng: np.random.Generator,
    *,
    shape: str,
    problems: int,
    correlation: float | tuple[float, float] = 0.0,
    throughout: float = 0.0,
    sizes: tuple[tuple[int, ...] | None, tuple[int, ...] | None] = (EIGHT, EIGHT),
    rates: tuple[float, float] = (0.0, 0.0),
    gained: float = 0.0,
) -> list[Line]:
    """How often two sets of clustered draws of one model are called changed, as the audit relabels them, and draw by
    draw.

    sizes: draws of each seed of base and tuned; None for 128 independent draws. rates: false positives, which the
    audit is told. gained: share of problems from 0 to .5, which should be found (no target).
    """
    wrong = 0
    blind = 0
    noticed = 0
    rules = Rules()
    ties = correlation if isinstance(correlation, tuple) else (correlation, correlation)
    for _ in range(trials):
        p = SHAPES[shape](rng, problems)
        up = rng.random(problems) < gained
        sides = []
        for q, rate, size, tie in zip((np.where(up, 0.0, p), np.where(up, 0.5, p)), rates, sizes, ties, strict=True):
            of = (1,) * 128 if size is None else size
            tied = {} if size is None else {"correlation": tie, "throughout": throughout}
            sides.append(samples_of(clustered(q + (1 - q) * rate, rng, sizes=of, **tied), size))
        base, tuned = sides
        dependence = look(base, tuned)
        b = Counts(base.n, base.correct)
        t = Counts(tuned.n, tuned.correct)
        groups = {"all": np.arange(problems)}
        null = group_nulls(b, t, groups=groups, dependence=dependence, rates=rates, rules=rules)["all"]
        wrong += judge(null, problems, rules=rules).verdict in CHANGED
        blind += judge_counts(b, t).verdict in CHANGED
        noticed += dependence.cells is not None
    how = []
    if any(ties) or not throughout:
        how.append(f"correlation {' / '.join(f'{tie:g}' for tie in dict.fromkeys(ties))}")
    how += [f"seeds shifted by sd {throughout:g}"] if throughout else []
    row = f"{shape}; {problems} problems; {_seeds(sizes)}, {', '.join(how)}"
    if any(rates):
        row += f"; {rates[0]:g} / {rates[1]:g} accepted"
    if gained:
        return [Line(row, "called expanded or traded", wrong / trials, trials, interval=True)]
    return [
        Line(row, "called changed", wrong / trials, trials, at_most=0.05),
        Line(row, "draw by draw", blind / trials, trials),
        Line(row, "noticed", noticed / trials, trials),
    ]


def cluster_certificates(
    trials: int, rng: np.random.Generator, *, shape: str, problems: int = 200, correlation: float = 0.3, seeds: int = 32
) -> list[Line]:
    """Mean share of wrong members of each certified category where draws agree in clusters of 8: certified by one draw
    of each cluster, as the audit does, and draw by draw; at the default eps of the former."""
    eps = default_eps(seeds, problems) or 0.5
    wrong = np.zeros((2, 4))
    for _ in range(trials):
        truth = [SHAPES[shape](rng, problems) for _ in range(2)]
        sides = [
            samples_of(clustered(p, rng, sizes=(8,) * seeds, correlation=correlation), (8,) * seeds) for p in truth
        ]
        above = [p > eps for p in truth]
        right = np.select([above[0] & above[1], above[0], above[1]], [0, 1, 2], 3)
        cells = tuple(cells_of(side.draws, "seed") for side in sides if side.draws is not None)
        counts = (single_draws((cells[0], cells[1])), tuple(Counts(side.n, side.correct) for side in sides))
        for row, (b, t) in enumerate(counts):
            category = certify(b, t, eps=eps).category
            for i in range(4):
                claimed = category == i
                wrong[row, i] += (right[claimed] != i).mean() if claimed.any() else 0.0
    lines = []
    for i, name in enumerate(CATEGORIES):
        row = f"{shape}; {problems} problems; {seeds} seeds of 8, correlation {correlation:g}"
        lines.append(Line(row, name, wrong[0, i] / trials, trials, at_most=0.05))
        lines.append(Line(row, f"{name}, draw by draw", wrong[1, i] / trials, trials))
    return lines


def _seeds(sizes: tuple[tuple[int, ...] | None, tuple[int, ...] | None]) -> str:
    def words(of: tuple[int, ...] | None) -> str:
        if of is None:
            return "128 independent draws"
        span = f"{min(of)}" if min(of) == max(of) else f"{min(of)} to {max(of)}"
        return f"{len(of)} seeds of {span}"

    return words(sizes[0]) if sizes[0] == sizes[1] else f"{words(sizes[0])} / {words(sizes[1])}"


# --- reasoning that was judged in part --------------------------------------------------------------------------------

Judged = float | int  # a share of the correct draws, or the first so many of each problem


def judged_side(p: np.ndarray, rng: np.random.Generator, *, judged: Judged, right: float, n: int) -> ModelSamples:
    """n draws a problem, of whose correct ones a share `right` has right reasoning, some of them judged."""
    c = rng.binomial(n, p)
    looked = rng.binomial(c, judged) if isinstance(judged, float) else np.minimum(c, judged)
    draws = np.full(len(p), n)
    side = ModelSamples("m", [str(i) for i in range(len(p))], ["b"] * len(p), draws, c, 0 * draws)
    side.cot_correct = rng.binomial(looked, right)
    side.cot_unjudged = c - looked
    return side


def reasoning_verdicts(
    trials: int,
    rng: np.random.Generator,
    *,
    shape: str,
    problems: int,
    judged: tuple[Judged, Judged],
    right: float = 0.5,
    n: int = 128,
) -> list[Line]:
    """How often equal models, judged in part, are called changed by reasoning: unjudged draws taken for as good as the
    judged ones, and both bounds agreeing on a word that is not true."""
    wrong = 0
    bounded = 0
    for _ in range(trials):
        p = SHAPES[shape](rng, problems)
        sides = [judged_side(p, rng, judged=of, right=right, n=n) for of in judged]
        *bounds, last = judged_counts(*sides).values()
        if len(bounds) < 2:  # whole problems seem to be left out, and no reading takes the unjudged for as good
            bounds.append(last)
        else:
            b, t = last
            keep = (b.n > 0) & (t.n > 0)
            if keep.any():  # else an audit has no such reading
                wrong += judge_counts(b.at(keep), t.at(keep)).verdict in CHANGED
        words = {judge_counts(*of).verdict for of in bounds}
        bounded += len(words) == 1 and words <= set(CHANGED)
    names = ", ".join(f"{of:.0%}" if isinstance(of, float) else f"first {of}" for of in judged)
    row = f"{shape}; {problems} problems; judged {names}"
    return [
        Line(row, "as good as the judged", wrong / trials, trials, at_most=0.05),
        Line(row, "a false word of both bounds", bounded / trials, trials, at_most=0.05),
    ]


# --- modes ------------------------------------------------------------------------------------------------------------

WAYS = 8  # modes a problem can be solved in


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
    trials: int,
    rng: np.random.Generator,
    *,
    shape: str,
    problems: int,
    n: tuple[int, int] = (128, 128),
    lost: float = 0.0,
    ways: int = WAYS,
    evenness: float = 0.5,
) -> list[Line]:
    """How often two draws of one model are called changed by mode; and SRR and NDR of modes as seen and at a common k.

    lost: share of (problem, mode) that the tuned model no longer has, which should be found (no target then).
    ways, evenness: modes a problem, and the parameter of the Dirichlet from which their shares are drawn.
    """
    wrong = 0
    rates = np.zeros(4)
    known = np.zeros(4)
    for _ in range(trials):
        p = SHAPES[shape](rng, problems)
        share = rng.dirichlet(np.full(ways, evenness), problems)
        kept = share * (rng.random(share.shape) >= lost)
        kept = np.where(kept.sum(axis=1, keepdims=True) > 0, kept, share)
        sides = (
            modes_of(p, share, n=n[0], rng=rng),
            modes_of(p, kept / kept.sum(axis=1, keepdims=True), n=n[1], rng=rng),
        )
        pair = BenchmarkPair(*sides, settings=AuditSettings(k=(min(n),), replicates=100))
        block = units(pair, "mode", eps=None)
        first, second = (side.answers for side in sides)
        assert block is not None and first is not None and second is not None  # `modes_of` gives modes
        judge_units({"all": block}, rules=Rules(), pooled="all")
        wrong += block["verdict"] in CHANGED
        seen = answer_support(first, second, by="mode", problems=problems)[0]
        shares = np.array([seen.srr, seen.ndr, block["srr"], block["ndr"]], dtype=float)
        known += ~np.isnan(shares)  # nothing may have been solved
        rates += np.nan_to_num(shares)
    row = f"{shape}; {problems} problems; n = {n[0]:,} / {n[1]:,}"
    if (ways, evenness) != (WAYS, 0.5):
        row += f"; {ways} modes, Dirichlet {evenness:g}"
    called = Line(row, "called changed", wrong / trials, trials, at_most=0.05)
    if lost:
        return [
            Line(f"{row}; {lost:.0%} of modes lost", "called shrank or traded", wrong / trials, trials, interval=True)
        ]
    names = ("SRR of modes seen", "NDR of modes seen", "SRR at common k", "NDR at common k")
    return [
        called,
        *(Line(row, name, x, trials) for name, x in zip(names, (rates / np.maximum(known, 1)).tolist(), strict=True)),
    ]
