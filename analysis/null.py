"""What one model drawn twice would show: the exact null of the support table, without a fit.

If both sides were the same model, the n_b + n_t draws of a problem are exchangeable, and which of them are called
"base" is a matter of relabelling. Given c correct draws in total, the chance that all of them carry the same label is
hypergeometric. The null also covers the one-sided hypothesis: if the tuned model is nowhere worse, S is
stochastically no larger than the null says, so gains elsewhere can never be read as a loss (and likewise for E).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.pass_at_k import log_miss


@dataclass(frozen=True)
class Null:
    """Counts of problems solved by one side only, against their exact null. Probabilities are one-sided, P(count >=
    observed)."""

    expected_shrunk: float
    expected_expanded: float
    observed_shrunk: int
    observed_expanded: int
    p_shrunk: float
    p_expanded: float


def relabelling_probabilities(
    n_base: np.ndarray, n_tuned: np.ndarray, correct: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """P(S_i), P(E_i) of each problem: with `correct` in all, C(n_b, c) / C(n_b + n_t, c) that all are the base's, and
    likewise n_t.

    All int [M]; returns two float64 [M], 0 where nothing was correct.
    """
    both = np.asarray(n_base) + np.asarray(n_tuned)
    solved = np.asarray(correct) > 0
    # all correct ones on the base's side = none of the n_t tuned draws is correct
    shrunk = np.where(solved, np.exp(log_miss(both, correct, n_tuned)), 0.0)
    expanded = np.where(solved, np.exp(log_miss(both, correct, n_base)), 0.0)
    return shrunk, expanded


def sum_of_bernoullis(p: np.ndarray) -> np.ndarray:
    """Distribution of the number of successes of independent trials with probabilities p [M], by convolution: float64
    [M' + 1].

    Only terms added, none subtracted, so small tails keep their relative accuracy. M' counts the trials with p > 0.
    """
    p = p[p > 0]
    pmf = np.zeros(len(p) + 1)
    pmf[0] = 1.0
    for i, chance in enumerate(p):
        pmf[1 : i + 2] = pmf[1 : i + 2] * (1 - chance) + pmf[: i + 1] * chance
        pmf[0] *= 1 - chance
    return pmf


def upper_tail(p: np.ndarray, observed: int) -> float:
    """P(number of successes >= observed) of independent trials with probabilities p [M]."""
    if observed <= 0:
        return 1.0
    pmf = sum_of_bernoullis(p)
    return float(
        min(1.0, pmf[observed:][::-1].sum())
    )  # smallest terms first; an observed count the null cannot reach has p = 0


def exact_null(n_base: np.ndarray, c_base: np.ndarray, n_tuned: np.ndarray, c_tuned: np.ndarray) -> Null:
    """Expected and observed S (solved by the base only) and E (by the tuned model only) over all n draws, with exact
    one-sided p.

    All int [M]; sides may differ in n.
    """
    c_base = np.asarray(c_base)
    c_tuned = np.asarray(c_tuned)
    shrunk, expanded = relabelling_probabilities(n_base, n_tuned, c_base + c_tuned)
    s = int(((c_base > 0) & (c_tuned == 0)).sum())
    e = int(((c_base == 0) & (c_tuned > 0)).sum())
    return Null(float(shrunk.sum()), float(expanded.sum()), s, e, upper_tail(shrunk, s), upper_tail(expanded, e))
