"""Preservation, shrinkage, expansion and out-of-support, and the metrics made of their counts.

Source: arXiv 2507.14843, sec. 3 (published unit: the problem).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.counts import Counts
from analysis.errors import InputError
from analysis.pass_at_k import check_counts, log_miss, pass_at_k
from analysis.records import AnswerCounts

CATEGORIES = ("preserved", "shrunk", "expanded", "out")


@dataclass(frozen=True)
class SupportCounts:
    """P, S, E, O: whole numbers at k = n, else expected ones.

    preserved: P, solved by both.
    shrunk: S, by the base only.
    expanded: E, by the tuned model only.
    out: O, by neither.
    """

    preserved: float
    shrunk: float
    expanded: float
    out: float

    @property
    def srr(self) -> float | None:
        """Support retention rate P / (P + S); None where the base solved nothing."""
        return self.preserved / (self.preserved + self.shrunk) if self.preserved + self.shrunk else None

    @property
    def ndr(self) -> float | None:
        """Net discovery rate E / (P + E); None where the tuned model solved nothing."""
        return self.expanded / (self.preserved + self.expanded) if self.preserved + self.expanded else None

    @property
    def sds(self) -> float | None:
        """Support dynamic score 2 SRR NDR / (SRR + NDR), the harmonic mean; 0 where both are 0 (as the tables print),
        None where one is None.
        """
        if self.srr is None or self.ndr is None:
            return None
        return 2 * self.srr * self.ndr / (self.srr + self.ndr) if self.srr + self.ndr else 0.0

    @property
    def nscr(self) -> float | None:
        """Net support change rate (E - S) / (P + E + S), in [-1, 1]; None where nothing was solved."""
        found = self.preserved + self.expanded + self.shrunk
        return (self.expanded - self.shrunk) / found if found else None


def memberships(base: Counts, tuned: Counts, *, k: int) -> np.ndarray:
    """Chance of each problem to be P, S, E, O when k draws are taken from each side: float64 [M, 4], rows sum to 1.

    base, tuned: (n, c), int [M] each. At k = n it is 0 or 1: "at least one of the k draws was correct", the published
    rule. At k < n it is the expectation over which k of the n draws are taken (the two sides are independent).
    """
    b = pass_at_k(*base, k=k)
    t = pass_at_k(*tuned, k=k)
    return np.stack([b * t, b * (1 - t), (1 - b) * t, (1 - b) * (1 - t)], axis=1)


def support_counts(base: Counts, tuned: Counts, *, k: int) -> SupportCounts:
    """P, S, E, O over all problems at k draws a side; arguments as `memberships`."""
    preserved, shrunk, expanded, out = memberships(base, tuned, k=k).sum(axis=0).tolist()
    return SupportCounts(preserved, shrunk, expanded, out)


def from_sets(base: set, tuned: set, *, total: int) -> SupportCounts:
    """P, S, E, O from the sets of solved things of either side, of `total` in all."""
    out = total - len(base | tuned)
    if out < 0:
        raise InputError(f"{len(base | tuned)} different things are solved but only {total} exist")
    return SupportCounts(len(base & tuned), len(base - tuned), len(tuned - base), out)


def categories(c_base: np.ndarray, c_tuned: np.ndarray) -> np.ndarray:
    """Category of each problem over all its draws, as an index into CATEGORIES: int [M]. "Solved" is at least one
    correct draw."""
    b = np.asarray(c_base) > 0
    t = np.asarray(c_tuned) > 0
    return np.select([b & t, b & ~t, ~b & t], [0, 1, 2], 3)


def answer_support(
    base_answers: AnswerCounts, tuned_answers: AnswerCounts, *, by: str, problems: int
) -> tuple[SupportCounts, list[tuple[int, str, int, int]], np.ndarray]:
    """P, S, E per distinct correct answer (by="answer") or solution mode (by="mode") rather than per problem; O cannot
    be counted and is NaN.

    Returns the counts, rows (problem index, answer, draws of base, draws of tuned), sorted, and P, S, E of each of the
    problems: float64 [M, 3]. Answers that no one could extract are left out.

    base_answers, tuned_answers: of the same problems.
    by: "answer" or "mode".
    problems: how many there are, M.
    """
    rows: dict[tuple[int, str], list[int]] = {}
    for side, answers in enumerate((base_answers, tuned_answers)):
        names = answers.answer if by == "answer" else answers.mode
        for i in np.flatnonzero(answers.correct):
            if names[i] is not None:
                rows.setdefault((int(answers.problem[i]), str(names[i])), [0, 0])[side] += int(answers.count[i])
    table = sorted((problem, name, b, t) for (problem, name), (b, t) in rows.items())
    each = np.zeros((problems, 3))
    for problem, _, b, t in table:
        each[problem, 0 if b and t else 1 if b else 2] += 1
    preserved, shrunk, expanded = (int(x) for x in each.sum(axis=0))
    return SupportCounts(preserved, shrunk, expanded, float("nan")), table, each


def split_halves(base: Counts, tuned: Counts) -> dict[str, np.ndarray]:
    """Define on one half of the draws, estimate on the other: what selection ("the base solved 0 of h, so ...") is
    worth.

    Exact expectation over all ways to split each side's n draws into halves A (h = n // 2) and B (taken at h too), by
    hypergeometric chances. base, tuned: (n, c), int [M] each, n >= 2. Returns the part of each problem, [M], whose sums
    are numbers of problems: base_unsolved: unsolved by the base in A; tuned_then_solves, base_then_solves: how many of
    them the tuned model, and the base itself, solve in B. The naive gain takes the second for 0: that is the selection
    effect; `corrected_gain` is what remains. tuned_unsolved and the rest: the same with the sides swapped.
    expanded_again: of the tuned_then_solves problems of A, those that are E again on B; shrunk_again likewise for S.
    """
    n_b, c_b = (np.asarray(x) for x in base)
    n_t, c_t = (np.asarray(x) for x in tuned)
    h_b = n_b // 2
    h_t = n_t // 2
    check_counts(n_b, c_b, k=h_b)
    check_counts(n_t, c_t, k=h_t)
    solve_b = -np.expm1(log_miss(n_b, c_b, k=h_b))
    solve_t = -np.expm1(log_miss(n_t, c_t, k=h_t))
    never_b = np.exp(log_miss(n_b, c_b, k=2 * h_b))
    never_t = np.exp(log_miss(n_t, c_t, k=2 * h_t))
    # of two disjoint halves: P(miss A, solve B) = P(miss A) - P(miss both); P(solve both) = 1 - 2 P(miss A) + P(miss
    # both)
    turn_b = 1 - solve_b - never_b
    turn_t = 1 - solve_t - never_t
    twice_b = 2 * solve_b - 1 + never_b
    twice_t = 2 * solve_t - 1 + never_t
    tuned_then = (1 - solve_b) * solve_t
    lost_base_then = (1 - solve_t) * solve_b
    return {
        "base_unsolved": 1 - solve_b,
        "tuned_then_solves": tuned_then,
        "base_then_solves": turn_b,
        "corrected_gain": tuned_then - turn_b,
        "expanded_again": never_b * twice_t,
        "tuned_unsolved": 1 - solve_t,
        "base_then_solves_lost": lost_base_then,
        "tuned_then_solves_lost": turn_t,
        "corrected_loss": lost_base_then - turn_t,
        "shrunk_again": twice_b * never_t,
    }


FLIP_DRAWS = 16  # with fewer draws a side, 0 to nearly all is no rarity
FLIP_SHARE = 0.9  # "nearly all"


def suspicious_flips(base: Counts, tuned: Counts) -> np.ndarray:
    """Problems that go from 0 of n to at least 90 % of n, or back: bool [M]; more often a matter of answer format or
    grader than of ability.

    base, tuned: (n, c), int [M] each. Sides with fewer than 16 draws are not judged.
    """
    n_b, c_b = base
    n_t, c_t = tuned
    enough = (n_b >= FLIP_DRAWS) & (n_t >= FLIP_DRAWS)
    return enough & (((c_b == 0) & (c_t >= FLIP_SHARE * n_t)) | ((c_t == 0) & (c_b >= FLIP_SHARE * n_b)))
