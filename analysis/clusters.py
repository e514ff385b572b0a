"""Clusters of draws: draws of one problem that share something with some of the others only (a seed, a file, a prefix).

What may be shared is called a kind, one of KINDS. A kind says something of a problem only where the problem has several
clusters, and a cluster several draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from analysis.counts import Counts
from analysis.records import Draws

COPY = "repeated row"  # a draw that is there several times
KINDS = (COPY, "cluster", "seed", "file")  # the smaller first


@dataclass(frozen=True)
class Cells:
    """Draws of one side by problem and cluster; C cells, sorted by problem, then label.

    problem: int64 [C].
    label: int64 [C], the same in every problem (seed 3).
    n: int64 [C], draws.
    correct: int64 [C], of these.
    problems: M.
    """

    problem: np.ndarray
    label: np.ndarray
    n: np.ndarray
    correct: np.ndarray
    problems: int

    @property
    def grouping(self) -> bool:
        """Whether some cell holds several draws and some problem several cells."""
        return bool((self.n > 1).any() and len(self.problem) > len(np.unique(self.problem)))

    @property
    def shared(self) -> bool:
        """Whether labels mean the same in several problems."""
        return 2 * len(np.unique(self.label)) <= len(self.label)

    def counts(self, hit: np.ndarray) -> Counts:
        """Clusters a problem and those with a correct draw, (int [M], int [M]). hit: bool [C]."""
        return Counts(
            np.bincount(self.problem, minlength=self.problems),
            np.bincount(self.problem[hit], minlength=self.problems),
        )

    def at(self, index: np.ndarray) -> Cells:
        """The same of the problems at `index` (int [M'])."""
        new = np.full(self.problems, -1, dtype=np.int64)
        new[index] = np.arange(len(index))
        keep = new[self.problem] >= 0
        order = np.argsort(new[self.problem[keep]], kind="stable")
        found = (x[keep][order] for x in (new[self.problem], self.label, self.n, self.correct))
        return Cells(*found, problems=len(index))


def cells_of(draws: Draws, kind: str | None) -> Cells:
    """The clusters of a kind; without it (or None) all draws of a problem are one cluster."""
    code = draws.clusters.get(kind or "")
    return cells_by(draws, np.zeros(len(draws.correct), dtype=np.int64) if code is None else code)


def cells_by(draws: Draws, code: np.ndarray) -> Cells:
    """Draws by problem and `code` (int [N], from 0)."""
    problems = len(draws.start) - 1
    owner = _owner(draws)
    label = code.astype(np.int64)
    size = int(label.max(initial=0)) + 1
    keys, where = np.unique(owner * size + label, return_inverse=True)
    correct = np.bincount(where, weights=draws.correct, minlength=len(keys)).astype(np.int64)
    return Cells(keys // size, keys % size, np.bincount(where, minlength=len(keys)), correct, problems=problems)


def _owner(draws: Draws) -> np.ndarray:
    """The problem of each draw, int64 [N]."""
    return np.repeat(np.arange(len(draws.start) - 1), np.diff(draws.start))


def one_of_each(draws: Draws, code: np.ndarray, kind: str, *, rng: np.random.Generator) -> Draws:
    """One draw, at random, of those that share problem, `code` and cluster of `kind`.

    draws: of one side.
    code: int [N], what a draw says.
    kind: of clusters, a key of draws.clusters.
    rng: what the choice depends on.
    """
    of = draws.clusters[kind].astype(np.int64)
    # numbered anew before the third factor, so that no product outgrows 64 bits
    said = np.unique(_owner(draws) * (int(code.max(initial=0)) + 1) + code, return_inverse=True)[1]
    keys = said * (int(of.max(initial=0)) + 1) + of
    order = rng.permutation(len(keys))
    kept = np.sort(order[np.unique(keys[order], return_index=True)[1]])
    start = np.searchsorted(kept, draws.start)
    return Draws(start, draws.correct[kept], clusters={kind: draws.clusters[kind][kept]})


def joined(draws: Draws, kinds: dict[str, bool]) -> np.ndarray:
    """Codes int64 [N] of what clusters of several kinds connect: draws that share one of them, and so on.

    kinds: kind -> whether its clusters are better or worse throughout; else they share something within a problem only.
    """
    owner = _owner(draws)
    found = np.zeros(len(owner), dtype=np.int64)
    for i, (kind, throughout) in enumerate(kinds.items()):
        code = draws.clusters[kind].astype(np.int64)
        of = code if throughout else owner * (int(code.max(initial=0)) + 1) + code
        of = np.unique(of, return_inverse=True)[1]
        if not i:
            found = of
            continue
        # draws are edges between their clusters of the two kinds
        size = int(found.max(initial=0)) + 1
        nodes = size + int(of.max(initial=0)) + 1
        edges = sparse.coo_array((np.ones(len(of), dtype=np.int8), (found, size + of)), shape=(nodes, nodes))
        found = csgraph.connected_components(edges, directed=False)[1][found].astype(np.int64)
    return found


def grouping_codes(values: dict[str, np.ndarray], start: np.ndarray) -> dict[str, np.ndarray]:
    """kind -> int32 codes [N] of its values [N], of the kinds that group draws: some problem has several clusters, and
    some cluster several draws.

    start: int64 [M + 1], as in Draws. A value of -1 shares with no other draw.
    """
    owner = np.repeat(np.arange(len(start) - 1), np.diff(start))
    found = {}
    for kind, of in values.items():
        code = _codes(of)
        cells = len(np.unique(owner * (int(code.max(initial=0)) + 1) + code))
        if len(np.unique(owner)) < cells < len(owner):
            found[kind] = code
    return found


def _codes(values: np.ndarray) -> np.ndarray:
    code = np.unique(values, return_inverse=True)[1].astype(np.int32)
    alone = np.asarray(values) == -1
    code[alone] = code.max(initial=0) + 1 + np.arange(int(alone.sum()), dtype=np.int32)
    return code


def copies(correct: np.ndarray, start: np.ndarray, times: int) -> np.ndarray:
    """Codes int32 [N] of draws of which each is there `times` times: so many of one problem, alike in being correct."""
    owner = np.repeat(np.arange(len(start) - 1), np.diff(start))
    code = np.empty(len(correct), dtype=np.int32)
    code[np.lexsort((correct, owner))] = np.arange(len(correct)) // times
    return code


DOUBLED_BY_CHANCE = 20  # coins that would all have to fall the same way before rows are called doubled


def multiplicity(problem: np.ndarray, count: np.ndarray) -> int:
    """How often each row was written, 2 where a file was added to itself; 1 where that could be chance.

    problem, count: int [D], how often each distinct row (answer, correct) of a problem occurs. Where all counts of
    problems with several distinct rows share a divisor, every such row but one of a problem has done so by chance or
    because rows were doubled; 20 coins (1e-6) are asked for.
    """
    several = np.bincount(problem) > 1
    free = several[problem]
    if not free.any() or int(free.sum()) - int(several.sum()) < DOUBLED_BY_CHANCE:
        return 1
    return int(np.gcd.reduce(count[free]))
