"""Certified support: what can be said of each problem (or answer) with stated confidence, given a threshold eps on its
success probability.

"Solved in k draws" confuses p = 0 with bad luck. Here a side is *in* the support where p <= eps is refuted, *out* of it
where p >= eps is, each by an exact one-sided binomial test. A category needs both sides, so its p-value is the larger
of its two (a union-intersection test, valid without a correction). Within each category Benjamini-Hochberg over the
problems keeps the expected share of wrong members at 1 - confidence. What no category certifies is undetermined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from analysis.counts import Counts
from analysis.significance import benjamini_hochberg, binomial_at_least, binomial_at_most

CERTIFIED = ("preserved", "shrunk", "expanded", "out", "undetermined")
MORE = (2, 4, 10)  # times the draws there are, for which a plan says how many problems they would settle
DEEPEST = 0.15  # of the ladder: what a side does more often than that is no matter of support
FAR = 10**9  # a plan of more draws than this says only that they are too many


class Bounds(NamedTuple):
    """Lower bounds of success probabilities that scored texts give, [M] a side; None where they say nothing of it."""

    base: np.ndarray | None = None
    tuned: np.ndarray | None = None

    def at(self, index: np.ndarray) -> Bounds:
        """The same of the problems at `index`."""
        return Bounds(*(None if bound is None else bound[index] for bound in self))


UNSCORED = Bounds()


def default_eps(draws: int, problems: int, *, confidence: float = 0.95) -> float | None:
    """The smallest round eps that n draws of M problems can certify: ln(M / (1 - confidence)) / n, which is ln(20 M) /
    n at 95 %.

    At it a problem never seen in n draws is out of the support even after Bonferroni. None where n is too small for any
    eps below 1.
    """
    eps = float(np.log(problems / (1 - confidence)) / draws)
    return eps if eps < 1 else None


def side_p_values(
    n: np.ndarray, c: np.ndarray, *, eps: float, lower_bound: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """One-sided exact p-values of one side, [M] each: of "p <= eps" (small: in the support) and of "p >= eps" (small:
    out of it).

    n, c: draws and correct ones, int [M].
    eps: the probability from which on an answer is in the support.
    lower_bound: [M], probabilities known from scored token sequences (0 where unknown); above eps they settle the
        question without a draw. None: nothing is known.
    """
    p_in = binomial_at_least(c, n, p=eps)
    p_out = binomial_at_most(c, n, p=eps)
    if lower_bound is not None:
        known = lower_bound > eps
        p_in = np.where(known, 0.0, p_in)
        p_out = np.where(known, 1.0, p_out)
    return p_in, p_out


@dataclass
class Certificate:
    """Certified categories at one eps.

    eps: the success probability that separates in from out.
    confidence: 1 - confidence is the expected share of wrong members of a category.
    category: int [M], index into CERTIFIED.
    p: float64 [M, 4], p-values of preserved, shrunk, expanded, out.
    """

    eps: float
    confidence: float
    category: np.ndarray
    p: np.ndarray

    def counts(self) -> dict[str, int]:
        """Number of problems in each of CERTIFIED."""
        return {name: int(x) for name, x in zip(CERTIFIED, np.bincount(self.category, minlength=5), strict=True)}


def certify(
    base: Counts,
    tuned: Counts,
    *,
    eps: float,
    confidence: float = 0.95,
    bounds: Bounds = UNSCORED,
    hypotheses: int | None = None,
) -> Certificate:
    """Certified categories of M problems or answers at `eps`.

    base, tuned: draws and correct ones of each side.
    eps: the success probability that separates in from out.
    confidence: 1 - confidence is the expected share of wrong members of a category.
    bounds: lower bounds of base and tuned probabilities from scores.
    hypotheses: number of hypotheses, unseen ones included. At most 1 / eps answers of a problem can have probability
    above eps.
    """
    in_b, out_b = side_p_values(*base, eps=eps, lower_bound=bounds.base)
    in_t, out_t = side_p_values(*tuned, eps=eps, lower_bound=bounds.tuned)
    # a category needs both of its sides, so its p-value is the larger one: columns as in CERTIFIED
    p = np.stack(
        [np.maximum(in_b, in_t), np.maximum(in_b, out_t), np.maximum(out_b, in_t), np.maximum(out_b, out_t)], axis=1
    )
    # at most one category can be certified, since each side is in or out and never both; the rest is undetermined
    category = np.full(len(p), 4)
    for column in range(4):
        category[benjamini_hochberg(p[:, column], 1 - confidence, hypotheses=hypotheses)] = column
    return Certificate(eps, confidence, category, p)


def ladder(
    base: Counts, tuned: Counts, *, start: float, confidence: float = 0.95, bounds: Bounds = UNSCORED
) -> list[dict[str, Any]]:
    """Certified counts at eps = start x 1/4, 1/2, 1, 2, 4, ... up to DEEPEST (or start): the leash at every depth.

    base, tuned: independent draws.
    start: the eps from which the others are made.
    confidence: of each step on its own.
    bounds: of base and tuned, as `certify` takes them.
    Returns [{"eps", categories...}].
    """
    steps = [start * 2.0**power for power in range(-2, 12) if start * 2.0**power <= max(start, DEEPEST)]
    return [
        {"eps": eps, **certify(base, tuned, eps=eps, confidence=confidence, bounds=bounds).counts()} for eps in steps
    ]


def further_draws(n: np.ndarray, c: np.ndarray, *, eps: float, confidence: float, problems: int) -> np.ndarray:
    """Draws of one side still missing until it is certified in or out of the support: float64 [M], 0 where it is, inf
    where more than 10^9.

    If the success rate stays at c / n, the test's p-value falls like exp(-n KL(c/n, eps)) (Chernoff), and has to fall
    below (1 - confidence) / M, which passes Benjamini-Hochberg however the other problems turn out.

    n, c: draws and correct ones of the side, int [M].
    eps: as in `side_p_values`.
    confidence: of the certificates.
    problems: M, among which the error is shared.
    """
    level = (1 - confidence) / problems
    rate = np.asarray(c) / np.asarray(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = np.where(rate > 0, rate * np.log(rate / eps), 0) + np.where(
            rate < 1, (1 - rate) * np.log((1 - rate) / (1 - eps)), 0
        )
        needed = np.ceil(-np.log(level) / np.maximum(divergence, 1e-300))
    needed = np.where(needed > FAR, np.inf, np.maximum(needed - n, 1))
    return np.where(np.minimum(*side_p_values(n, c, eps=eps)) <= level, 0.0, needed)


def sampling_plan(base: Counts, tuned: Counts, *, certificate: Certificate) -> dict[str, Any]:
    """Further draws that would settle the undetermined problems: per problem float64 [M] for "base" and "tuned" (0 for
    settled ones), totals, and how many would be settled by 2, 4 and 10 times the draws ("settled_by").

    "beyond" counts problems whose success rate is too near eps to be settled in 10^9 draws; they are not in the totals.
    """
    undecided = certificate.category == 4
    sides = [
        np.where(
            undecided, further_draws(n, c, eps=certificate.eps, confidence=certificate.confidence, problems=len(n)), 0.0
        )
        for n, c in (base, tuned)
    ]
    beyond = ~np.isfinite(sides[0]) | ~np.isfinite(sides[1])
    # what people decide is how many times to draw again, so a plan is said in such multiples
    settled_by = []
    for times in MORE:
        enough = [side <= (times - 1) * np.asarray(of.n) for side, of in zip(sides, (base, tuned), strict=True)]
        settled_by.append({"times": times, "problems": int((undecided & enough[0] & enough[1]).sum())})
    totals = [int(side[~beyond].sum()) for side in sides]
    return {
        "base": sides[0],
        "tuned": sides[1],
        "total_base": totals[0],
        "total_tuned": totals[1],
        "beyond": int(beyond.sum()),
        "settled_by": settled_by,
    }
