"""Entries and exits by how often the base succeeds: where on the scale of difficulty is support won and lost?

Strata are defined on one half of the base's draws and read on the other, since a problem chosen for few correct draws
has more of them the next time (regression to the mean). Source: arXiv 2607.20543 (losses sit on prompts with a base
rate below .1), whose strata {0, < .1, .1 to .6, > .6} are used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.counts import Counts
from analysis.estimates import total_of
from analysis.intervals import PSEUDO_DIFFERENCE, PSEUDO_TUNED
from analysis.pair import BenchmarkPair
from analysis.pass_at_k import log_miss, pass_at_k, unique_counts
from analysis.splits import AND, WIDE, log_factorials

STRATA = ("0", "< .1", ".1 to .6", "> .6")
LEAST_DRAWS = 4  # a half to define, and two quarters to read


def by_base_success(base: Counts, tuned: Counts) -> tuple[int, dict[str, np.ndarray]]:
    """Draws k of each reading, and parts of each problem in each stratum, float64 [M, 4]; sums are numbers of problems.

    base, tuned: (n, c), int [M] each, n >= 4. Exact expectations over all ways to split the base's draws into a half
    that defines the stratum and two quarters of k draws, and to take k draws of the tuned model: `problems`; `exits`,
    solved by the base's quarter and not by the tuned model; `entries`, the other way round; `chance`, solved by one
    of the base's quarters and not by the other, which is what exits and entries would be if nothing had changed.
    """
    n, c = (np.asarray(x) for x in base)
    k = int(min(((n - n // 2) // 2).min(), np.asarray(tuned.n).min()))
    n_each, c_each, where = unique_counts(n, c)  # problems of equal counts share all but what the tuned model solves
    # every way to split the draws, but for those that are next to impossible: `correct` ones in the defining half
    kind, correct = _splits(n_each, c_each)
    half = n_each[kind] // 2
    weight = _chance_of_half(correct, n_each[kind], c=c_each[kind], half=half)
    rate = correct / half
    stratum = np.select([rate == 0, rate < 0.1, rate <= 0.6], [0, 1, 2], 3)
    left = n_each[kind] - half
    miss = np.exp(log_miss(left, c_each[kind] - correct, k=k))
    twice = np.exp(log_miss(left, c_each[kind] - correct, k=2 * k))
    # summed over the splits of a problem, stratum by stratum
    cell = kind * len(STRATA) + stratum
    shape = (len(n_each), len(STRATA))
    share, missed, chance = (
        np.bincount(cell, weights=weight * value, minlength=shape[0] * shape[1]).reshape(shape)[where]
        for value in (np.ones(len(cell)), miss, miss - twice)
    )
    solved = pass_at_k(*tuned, k=k)[:, None]
    return k, {
        "problems": share,
        "exits": (share - missed) * (1 - solved),
        "entries": missed * solved,
        "chance": chance,
    }


def _splits(n: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(which of the counts, correct draws in the defining half) of every split that is not next to impossible: those
    within WIDE standard deviations, and AND more, of the expected one. n, c: int [U]."""
    half = n // 2
    middle = c * half / n
    spread = np.sqrt(c * (n - c) / (4.0 * np.maximum(n - 1, 1)))
    reach = WIDE * spread + AND
    low = np.maximum(np.maximum(0, c - (n - half)), np.floor(middle - reach)).astype(np.int64)
    high = np.minimum(np.minimum(half, c), np.ceil(middle + reach)).astype(np.int64)
    sizes = high - low + 1
    kind = np.repeat(np.arange(len(n)), sizes)
    rank = np.arange(len(kind)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return kind, low[kind] + rank


def _chance_of_half(a: np.ndarray, n: np.ndarray, *, c: np.ndarray, half: np.ndarray) -> np.ndarray:
    """P(a of the c correct draws are among `half` of all n), hypergeometric. From a table: scipy's own is slow."""
    of = log_factorials(1 << int(n.max()).bit_length())

    def log_choose(total: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return of[total] - of[chosen] - of[total - chosen]

    return np.exp(log_choose(c, a) + log_choose(n - c, half - a) - log_choose(n, half))


def strata(pair: BenchmarkPair) -> dict[str, Any] | None:
    """The table of strata with intervals over problems; None with fewer than four draws of the base."""
    if pair.base.n.min() < LEAST_DRAWS:
        return None
    k, found = by_base_success(pair.b, pair.t)
    rows = []
    for i, name in enumerate(STRATA):
        row: dict[str, Any] = {"stratum": name, "problems": found["problems"][:, i].sum()}
        for key in ("exits", "entries", "chance"):
            row[key] = total_of(pair, found[key][:, i], pseudo=PSEUDO_TUNED)
        net = found["entries"][:, i] - found["exits"][:, i]
        rows.append(row | {"net": total_of(pair, net, pseudo=PSEUDO_DIFFERENCE)})
    return {"k": k, "rows": rows}
