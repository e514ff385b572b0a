"""Entries and exits by how often the base succeeds: where on the scale of difficulty is support won and lost?

Strata are defined on one half of the base's draws and read on the other, since a problem chosen for few correct draws
has more of them the next time (regression to the mean). Source: arXiv 2607.20543 (losses sit on prompts with a base
rate below .1), whose strata {0, < .1, .1 to .6, > .6} are used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from analysis.counts import Counts
from analysis.estimates import total_of
from analysis.intervals import PSEUDO_DIFFERENCE, PSEUDO_TUNED
from analysis.pair import Pair
from analysis.pass_at_k import log_miss, pass_at_k, unique_counts

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
    half = n // 2
    k = int(min(((n - half) // 2).min(), np.asarray(tuned.n).min()))
    solved = pass_at_k(*tuned, k)
    found = {name: np.zeros((len(n), len(STRATA))) for name in ("problems", "exits", "entries", "chance")}
    # problems of equal counts share everything but what the tuned model solves
    n_each, c_each, where = unique_counts(n, c)
    half_each = n_each // 2
    tries = np.arange(int(half.max()) + 1)[:, None]  # correct draws in the defining half
    a, kind = np.nonzero((tries <= half_each) & (tries <= c_each) & (c_each - tries <= n_each - half_each))
    rate = a / half_each[kind]
    left = n_each[kind] - half_each[kind]
    each = (
        _chance_of_half(a, n_each[kind], c=c_each[kind], half=half_each[kind]),
        np.select([rate == 0, rate < 0.1, rate <= 0.6], [0, 1, 2], 3),
        np.exp(log_miss(left, c_each[kind] - a, k)),
        np.exp(log_miss(left, c_each[kind] - a, 2 * k)),
    )
    order = np.argsort(where, kind="stable")
    start = np.searchsorted(where[order], np.arange(len(n_each) + 1))
    sizes = np.diff(start)
    ends = np.searchsorted(a, tries[:, 0], side="right").tolist()
    for first, last in zip([0, *ends], ends, strict=False):
        if first == last:
            continue
        kinds = kind[first:last]
        rows = np.concatenate([order[start[i] : start[i + 1]] for i in kinds])
        weight, stratum, miss, twice = (np.repeat(x[first:last], sizes[kinds]) for x in each)
        values = {
            "problems": np.ones(len(rows)),
            "exits": (1 - miss) * (1 - solved[rows]),
            "entries": miss * solved[rows],
            "chance": miss - twice,
        }
        for name, value in values.items():
            found[name][rows, stratum] += weight * value
    return k, found


def _chance_of_half(a: np.ndarray, n: np.ndarray, *, c: np.ndarray, half: np.ndarray) -> np.ndarray:
    """P(a of the c correct draws are among `half` of all n), hypergeometric. From a table: scipy's own is slow."""
    of = special.gammaln(np.arange(int(n.max()) + 1) + 1.0)  # log factorials

    def log_choose(total: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return of[total] - of[chosen] - of[total - chosen]

    return np.exp(log_choose(c, a) + log_choose(n - c, half - a) - log_choose(n, half))


def strata(pair: Pair) -> dict[str, Any] | None:
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
