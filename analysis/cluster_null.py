"""The exact null of whole clusters: what one model drawn twice would show where draws of a cluster agree.

A cluster counts by one bit, whether it holds a correct draw, and clusters are exchangeable where both sides' are alike:
as many draws each, that agree to the same degree, accepted by verifiers that are wrong as often. Where they are not,
they are made so, by chance:

- Sizes: larger clusters keep so many draws as the smaller ones have.
- Agreement: eight draws that agree solve a problem less often than eight that do not. Where one side's draws agree more
  than the other's (or nothing is known of one), each cluster counts by one draw of it: what a draw is worth alone does
  not depend on its neighbours.
- False positives: rejected draws of the side whose verifier is stricter are accepted at random, so that both are wrong
  equally often; then a problem counts as solved with more clusters than that explains.

Certificates of single problems under clusters (analysis.certified) take one draw a cluster too.
"""

from __future__ import annotations

from itertools import combinations, islice
from math import comb

import numpy as np

from analysis.clusters import Cells
from analysis.counts import Counts
from analysis.lucky import null_above
from analysis.null import CLEAR, SUREST, Direction, Null, Tier, one_side_only, sum_of_bernoullis, surest_of, tails
from analysis.pass_at_k import log_miss
from analysis.significance import least_beyond
from analysis.verdict import Rules

RELABELLINGS = 2000  # all of them where there are no more, else so many at random
UNEQUAL = 1.5  # ratio of the sides' cluster sizes above which the larger clusters are thinned
UNLIKE = 1.25  # ratio of the sides' design effects above which each cluster counts by one draw


def design_effect(draws: float, correlation: float) -> float:
    """How many times the variance of a mean grows where draws agree in clusters of so many (Kish 1965, sec. 5.4).

    >>> design_effect(8, 0.1)
    1.7000000000000002
    """
    return 1 + max(draws - 1, 0) * max(correlation, 0.0)


def kept_draws(cells: tuple[Cells, Cells], *, single: bool) -> tuple[np.ndarray, np.ndarray]:
    """Draws that each cluster of base and tuned keeps, int64 [C] each. single: one of each cluster."""
    if single:
        most = 1
    else:
        medians = [float(np.median(side.n)) for side in cells]
        unequal = max(medians) > UNEQUAL * min(medians)
        most = int(min(medians)) if unequal else int(max(side.n.max() for side in cells))
    base, tuned = (np.minimum(side.n, max(most, 1)) for side in cells)
    return base, tuned


def hits(
    cells: tuple[Cells, Cells], *, single: bool = False, rates: tuple[float, float] = (0.0, 0.0), seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Which clusters of base and tuned hold a correct draw among those that they keep, bool [C] each.

    cells: clusters of base and tuned.
    single: whether each cluster counts by one draw.
    rates: false positives of base and tuned; both sides have the larger one afterwards.
    seed: of what is left to chance.
    """
    rng = np.random.default_rng(seed)
    found = []
    for side, kept, rate in zip(cells, kept_draws(cells, single=single), rates, strict=True):
        chance = -np.expm1(log_miss(side.n, side.correct, k=kept))
        hit = rng.random(len(chance)) < chance  # 0 or 1 where all draws are kept
        if more := (max(rates) - rate) / (1 - rate):
            hit |= rng.random(len(hit)) < -np.expm1(kept * np.log1p(-more))
        found.append(hit)
    return found[0], found[1]


def single_draws(cells: tuple[Cells, Cells], *, seed: int = 0) -> tuple[Counts, Counts]:
    """One draw of each cluster of base and tuned, drawn at random: they are independent where clusters are."""
    return cluster_counts(cells, single=True, seed=seed)


def cluster_counts(
    cells: tuple[Cells, Cells], *, single: bool = False, rates: tuple[float, float] = (0.0, 0.0), seed: int = 0
) -> tuple[Counts, Counts]:
    """Clusters a problem and those with a correct draw, of base and tuned.

    cells, single, rates, seed: as in `hits`.
    """
    found = hits(cells, single=single, rates=rates, seed=seed)
    base, tuned = (side.counts(of) for side, of in zip(cells, found, strict=True))
    return base, tuned


def within_problems(
    cells: tuple[Cells, Cells], *, rules: Rules, single: bool, rates: tuple[float, float], seed: int = 0
) -> Null:
    """The null in which clusters are relabelled in each problem on its own: analysis.null with clusters for draws.

    cells, single, rates, seed: as in `hits`.
    rules: the verdict's.
    """
    counts = cluster_counts(cells, single=single, rates=rates, seed=seed)
    lucky = lucky_cluster(cells, single=single, rate=max(rates))
    return null_above(*counts, rates=(lucky, lucky), rules=rules)


def lucky_cluster(cells: tuple[Cells, Cells], *, single: bool, rate: float) -> float:
    """Chance that a cluster without any right draw holds an accepted one; of a cluster of mean size, of the side where
    that is larger."""
    size = max(float(kept.mean()) for kept in kept_draws(cells, single=single))
    return float(-np.expm1(size * np.log1p(-rate)))


def over_all_problems(
    cells: tuple[Cells, Cells], *, rules: Rules, single: bool, rates: tuple[float, float], seed: int = 0
) -> Null:
    """The null in which a cluster's label moves in all problems together.

    A direction's statistic is the smallest of its p-values within problems (all, clear, surest); its p-value
    is the share of relabellings with one as small. Of G_b + G_t labels all C(G_b + G_t, G_b) ways are tried, or
    2,000 at random.

    cells, single, rates, seed: as in `hits`.
    rules: the verdict's.
    """
    hit = hits(cells, single=single, rates=rates, seed=seed)
    solved = [_by_label(side, of) for side, of in zip(cells, hit, strict=True)]
    both = np.concatenate(solved, axis=1)
    weights = _relabellings(both.shape[1], solved[0].shape[1], rng=np.random.default_rng(seed))
    counts = [side.counts(of) for side, of in zip(cells, hit, strict=True)]
    q = counts[0].correct + counts[1].correct
    # clusters that a side needs before it has solved a problem: more than lucky ones explain
    lucky = lucky_cluster(cells, single=single, rate=max(rates))
    share = rules.level / len(q)
    least = [least_beyond(np.maximum(side.n, 1), lucky, share=share) for side in counts]
    as_base = both @ weights.T >= least[0][:, None]
    as_tuned = both @ (1 - weights).T >= least[1][:, None]
    n = [side.n for side in counts]
    loss = one_side_only(n[0], n[1], correct=q, least_one=least[0], least_other=least[1])
    gain = one_side_only(n[1], n[0], correct=q, least_one=least[1], least_other=least[0])
    return Null(_direction(as_base & ~as_tuned, chance=loss), _direction(as_tuned & ~as_base, chance=gain))


def _by_label(side: Cells, hit: np.ndarray) -> np.ndarray:
    """Problems that each label solves: float64 [M, G]."""
    names, where = np.unique(side.label, return_inverse=True)
    table = np.zeros((side.problems, len(names)))
    table[side.problem[hit], where[hit]] = 1.0
    return table


def _relabellings(total: int, first: int, *, rng: np.random.Generator) -> np.ndarray:
    """Which labels are the base's: float64 [R, total], the observed one (the first `first`) on top."""
    if comb(total, first) <= RELABELLINGS:
        rows = [list(chosen) for chosen in islice(combinations(range(total), first), RELABELLINGS)]
    else:
        rows = [list(range(first)), *(rng.permutation(total)[:first] for _ in range(RELABELLINGS - 1))]
    weights = np.zeros((len(rows), total))
    for i, chosen in enumerate(rows):
        weights[i, chosen] = 1.0
    return weights


def _direction(happened: np.ndarray, *, chance: np.ndarray) -> Direction:
    """happened: bool [M, R], solved by this side only under each relabelling, the observed one first."""
    clear = chance <= CLEAR
    few = sum_of_bernoullis(chance[clear])
    counts = (happened.sum(axis=0), happened[clear].sum(axis=0))
    all_tails = (tails(np.convolve(few, sum_of_bernoullis(chance[~clear]))), tails(few))
    p = [tail[np.minimum(count, len(tail) - 1)] for tail, count in zip(all_tails, counts, strict=True)]
    surest = np.where(happened, surest_of(chance)[:, None], 1.0).min(axis=0, initial=1.0)
    tiers = [
        Tier(int(count[0]), float(count.mean()), _share_as_small(values))
        for count, values in zip(counts, p, strict=True)
    ]
    smallest = np.minimum(np.minimum(p[0], p[1]), SUREST * surest)
    return Direction(tiers[0], tiers[1], _share_as_small(smallest), _share_as_small(surest))


def _share_as_small(p: np.ndarray) -> float:
    """Share of p [R] that are at most the first."""
    return float((p <= p[0] * (1 + 1e-9)).mean())
