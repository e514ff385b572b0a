"""Are the draws of a problem as good as independent? If not, whole clusters are relabelled instead of draws.

The exact null (analysis.null) takes the draws of a problem as exchangeable. Draws of several checkpoints or seeds that
were pooled, rollouts that share a prefix, or prompt variants are not: draws of one cluster agree more than draws of
different ones, and with a correlation of .1 in clusters of 8 two draws of one model are called changed in 19 to 35 % of
audits. So the clusters are looked at (Homogeneity: a permutation test within problems), and where they differ
they are relabelled as wholes:

- within each problem, where clusters differ from problem to problem: of G_b + G_t clusters, q hold a correct draw, and
  which clusters are the base's is a matter of relabelling. That is the same exact null, with clusters for draws.
- over all problems at once, where a cluster does better or worse throughout (a checkpoint): its label moves in
  all problems together, and p-values are shares of relabellings.

Source: cluster permutation tests (Pesarin and Salmaso 2010, ch. 5; Gail et al. 1996 for group-randomised trials).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from analysis.cluster_null import UNLIKE, design_effect
from analysis.clusters import COPY, KINDS, Cells, cells_by, cells_of, joined, one_of_each
from analysis.errors import InputError
from analysis.records import Draws, ModelSamples

CHOICES = ("auto", *(kind for kind in KINDS if kind != COPY), "none")
PRETEST = 0.05  # of homogeneity, shared over the tests of a kind: below it clusters are relabelled as wholes
PERMUTATIONS = 199
ENOUGH = 10  # permutations at least as extreme after which a test stops (Besag and Clifford 1991)


@dataclass(frozen=True)
class Homogeneity:
    """Do clusters of one side differ by more than chance?

    clusters, draws: clusters a problem and draws a cluster, medians.
    p: of "within every problem all clusters are alike" (sum of chi-squares, permuted within problems).
    p_shared: of "no cluster is better or worse throughout"; None where labels are not shared over problems.
    correlation: of two draws of one cluster; None where nothing can be said.
    """

    clusters: float
    draws: float
    p: float
    p_shared: float | None
    correlation: float | None


@dataclass(frozen=True)
class Dependence:
    """What was found of both sides, and what is relabelled because of it.

    kind: of the clusters that were looked at; "group" where clusters of several kinds overlap, and what they connect is
    relabelled; None where neither side has any.
    base, tuned: their homogeneity; None where a side has no clusters of that kind.
    unit: "draws", "clusters in each problem" or "clusters over all problems".
    cells: of base and tuned, where clusters are relabelled.
    failed: kind -> homogeneity of base and tuned, for each kind that is relabelled, alone or joined to others.
    single: whether a cluster counts by one draw of it, since the sides' draws agree to different degrees or nothing is
    known of one side.
    """

    kind: str | None
    base: Homogeneity | None
    tuned: Homogeneity | None
    unit: str
    cells: tuple[Cells, Cells] | None = None
    single: bool = False
    failed: dict[str, tuple[Homogeneity | None, ...]] = field(default_factory=dict)

    def at(self, index: np.ndarray) -> Dependence:
        """The same decision for the problems at `index` (int [M'])."""
        cells = self.cells
        return self if cells is None else replace(self, cells=(cells[0].at(index), cells[1].at(index)))

    def document(self) -> dict[str, Any]:
        """As the audit document has it."""
        sides = {"base": self.base, "tuned": self.tuned}
        return {
            **{name: getattr(self, name) for name in ("kind", "unit", "single")},
            **{name: _figures(side) for name, side in sides.items()},
            "failed": [
                {"kind": kind} | {name: _figures(side) for name, side in zip(sides, found, strict=True)}
                for kind, found in self.failed.items()
            ],
        }

    @property
    def warnings(self) -> list[str]:
        """Lines for the user; none where draws are relabelled one by one."""
        if self.unit == "draws":
            return []
        has_none = [not any(sides) for sides in zip(*self.failed.values(), strict=True)]
        found = [line for kind, sides in self.failed.items() for line in _said_of(kind, sides, has_none=has_none)]
        where = "in each problem" if self.unit == "clusters in each problem" else "over all problems at once"
        return [
            f"draws are not independent: {'; '.join(found) or 'so it was asked for'}. The verdict relabels whole "
            f"{self.kind}s{self._joined}, {where}{self._how}. Certificates, odds ratios and intervals of single "
            f"problems rest on one draw "
            f"of each {self.kind}, and their further draws are further {self.kind}s; intervals of pass@k over "
            "these problems alone still take draws for independent"
        ]

    @property
    def _joined(self) -> str:
        """What makes up wholes of several kinds."""
        return f" (what {' and '.join(f'{kind}s' for kind in self.failed)} connect)" if self.kind == "group" else ""

    @property
    def _how(self) -> str:
        if not self.single:
            return ""
        unknown = self.base is None or self.tuned is None
        why = "one side's draws cannot be told apart" if unknown else "the sides' draws agree to different degrees"
        why = "the other side's are there once" if unknown and self.kind == COPY else why
        return f", each by one draw of it, since {why}"

    @property
    def sentence(self) -> str:
        """For the evidence; empty where draws are relabelled one by one."""
        if self.unit == "draws":
            return ""
        return (
            f" Chance relabels whole {self.kind}s here, not single draws; readings that recount draws (flips, "
            "timeouts, reasoning) are left out, since they would relabel single ones."
        )


def _figures(side: Homogeneity | None) -> dict[str, Any] | None:
    return None if side is None else asdict(side)


def _said_of(kind: str, sides: tuple[Homogeneity | None, ...], *, has_none: list[bool]) -> list[str]:
    """What was found of one kind of clusters, a part of a sentence for each side of which there is something to say.

    has_none: whether a side has none of the kinds that failed: all of its draws are one cluster then.
    """
    found = []
    for name, side, alone in zip(("base", "tuned"), sides, has_none, strict=True):
        if side is None:
            if kind != COPY and alone:
                found.append(f"the {name}'s draws have no {kind}s to tell apart, so they count as one cluster")
        elif side.correlation is not None and (p := min(side.p, side.p_shared or 1.0)) <= PRETEST:
            found.append(
                f"draws of one {kind} of the {name} agree more than chance allows "
                f"(p = {p:.2g}, correlation {side.correlation:.2f})"
            )
    return found


def look(base: ModelSamples, tuned: ModelSamples, *, choice: str = "auto", seed: int = 0) -> Dependence:
    """Tests both sides' clusters and decides what is relabelled.

    base, tuned: aligned samples.
    choice: "auto" tests each kind that groups draws and relabels what those that fail connect (a seed whose
        draws share prefixes besides); a kind of KINDS is relabelled whatever the test says; "none" looks at nothing.
        Rows that are there several times are one draw whatever is asked for.
    seed: of the tests' relabellings.
    Raises InputError where a kind is asked for that neither side has.
    """
    sides = (base.draws, tuned.draws)
    kinds = [kind for kind in KINDS if any(d is not None and kind in d.clusters for d in sides)]
    if choice not in ("auto", "none") and choice not in kinds:
        raise InputError(f"--clusters {choice}: neither side has problems with several {choice}s of several draws")
    asked = [] if choice == "none" else kinds if choice == "auto" else [choice]
    if COPY in kinds and COPY not in asked:  # rows that are there twice are one draw, whatever else is asked for
        asked = [COPY, *asked]
    seen: dict[str, tuple[Homogeneity | None, ...]] = {}
    failed: dict[str, bool] = {}  # kind -> whether its clusters are better or worse throughout
    rng = np.random.default_rng(seed)
    for kind in asked:
        seen[kind] = tuple(_tested(d, kind, within=failed, rng=rng) for d in sides)
        within = [side.p for side in seen[kind] if side is not None]
        shared = [side.p_shared for side in seen[kind] if side is not None and side.p_shared is not None]
        # Bonferroni over the tests of this kind, so that independent draws are seldom taken for clusters
        level = PRETEST / max(len(within) + len(shared), 1)
        throughout = min(shared, default=1.0) <= level
        if kind == COPY or choice != "auto" or throughout or min(within, default=1.0) <= level:
            failed[kind] = throughout
    if not failed:
        first = next(iter(seen), None)
        return Dependence(first, *seen.get(first or "", (None, None)), unit="draws")
    # a cluster that is better everywhere keeps its label over the problems, which are then no separate trials
    unit = "clusters over all problems" if any(failed.values()) else "clusters in each problem"
    cells = tuple(_wholes(samples, failed) for samples in (base, tuned))
    widest = list(failed)[-1]
    kind = widest if all(_is_kind(c, d, widest) for c, d in zip(cells, sides, strict=True)) else "group"
    found = seen[widest]
    both = (cells[0], cells[1])
    return Dependence(
        kind, found[0], found[1], unit, both, _unlike(found[0], found[1]), {one: seen[one] for one in failed}
    )


def _tested(draws: Draws | None, kind: str, *, within: dict[str, bool], rng: np.random.Generator) -> Homogeneity | None:
    """Homogeneity of the clusters of a kind; None where a side has none. Draws that are tied by another kind already
    (`within`) count by one of them where all clusters are asked to be alike, so that two kinds are told apart."""
    if draws is None or not (cells := cells_of(draws, kind)).grouping:
        return None
    tied = {other: shared for other, shared in within.items() if other in draws.clusters}
    single = one_of_each(draws, joined(draws, tied), kind, rng=rng) if tied else None
    return homogeneity(cells, single=None if single is None else cells_of(single, kind), rng=rng)


def _wholes(samples: ModelSamples, failed: dict[str, bool]) -> Cells:
    """What is relabelled of one side: the draws that clusters of these kinds connect. All draws of a problem are one
    where nothing tells them apart."""
    draws = samples.draws
    if draws is None:
        count = len(samples)
        return Cells(np.arange(count), np.zeros(count, dtype=np.int64), samples.n, samples.correct, problems=count)
    here = {kind: of for kind, of in failed.items() if kind in draws.clusters}
    if not here and list(failed) == [COPY]:  # no row of this side is there twice
        return cells_by(draws, np.arange(len(draws.correct)))
    return cells_by(draws, joined(draws, here))


def _is_kind(cells: Cells, draws: Draws | None, kind: str) -> bool:
    """Whether these wholes are just the clusters of one kind."""
    return draws is None or kind not in draws.clusters or len(cells.n) == len(cells_of(draws, kind).n)


def _unlike(base: Homogeneity | None, tuned: Homogeneity | None) -> bool:
    """Whether draws agree to different degrees on the two sides, or nothing is known of one."""
    if base is None or tuned is None:
        return True
    draws = min(base.draws, tuned.draws)  # of the larger clusters so many are kept
    effects = [design_effect(draws, side.correlation or 0.0) for side in (base, tuned)]
    return max(effects) > UNLIKE * min(effects)


def homogeneity(cells: Cells, *, rng: np.random.Generator, single: Cells | None = None) -> Homogeneity:
    """Two permutation tests of one side; p = c / n of a problem, "beyond" is c_g - n_g p of one of its clusters.

    All alike: the sum over problems and clusters of beyond^2 / (n_g p (1 - p)), with the correct draws of each problem
    shuffled over its clusters.
    single: the clusters with one draw of each that other clusters tie, for the first test.
    None better throughout: the sum over labels of (their sum of beyond)^2, with the clusters of each problem
    shuffled as wholes (so that a correlation within problems is not taken for it).
    """
    known = _known(cells)
    alike = known if single is None else _known(single)
    sizes = np.bincount(cells.problem, minlength=cells.problems)
    shape = (float(np.median(sizes[sizes > 0])), float(np.median(cells.n)))
    if not known:
        return Homogeneity(*shape, p=1.0, p_shared=None, correlation=None)

    def unlike(step: int) -> np.ndarray:
        total = np.zeros(step or 1)
        for _, n, c in alike:
            drawn = rng.multivariate_hypergeometric(n, c.sum(), size=step, method="marginals") if step else c[None, :]
            p = c.sum() / n.sum()
            total += ((drawn - n * p) ** 2 / n).sum(axis=1) / (p * (1 - p))
        return total

    def throughout(step: int) -> np.ndarray:
        total = np.zeros((step or 1, int(cells.label.max()) + 1))
        for label, n, c in known:
            beyond = np.tile(c - n * (c.sum() / n.sum()), (step or 1, 1))
            total[:, label] += rng.permuted(beyond, axis=1) if step else beyond
        return (total * total).sum(axis=1)

    # how much they agree, beside whether they do
    correlation = _correlation([n for _, n, _ in known], [c for *_, c in known])
    p_shared = _permutation_p(throughout) if cells.shared else None
    p = _permutation_p(unlike) if alike else 1.0
    return Homogeneity(*shape, p=p, p_shared=p_shared, correlation=correlation)


def _known(cells: Cells) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Label, n and c of the clusters of each problem that says something: several clusters, right and wrong draws."""
    start = np.searchsorted(cells.problem, np.arange(cells.problems + 1))
    found = []
    for low, high in zip(start[:-1], start[1:], strict=True):
        n = cells.n[low:high]
        c = cells.correct[low:high]
        if len(n) > 1 and n.max() > 1 and 0 < c.sum() < n.sum():
            found.append((cells.label[low:high], n, c))
    return found


def _permutation_p(statistic: Callable[[int], np.ndarray]) -> float:
    """p-value of statistic(0) among statistic(R), R permutations; stops early where it is not small."""
    observed = float(statistic(0)[0]) * (1 - 1e-9)
    extreme = 0
    done = 0
    while done < PERMUTATIONS and extreme < ENOUGH:
        step = min(25 if not done else 87, PERMUTATIONS - done)
        extreme += int((statistic(step) >= observed).sum())
        done += step
    return (1 + extreme) / (1 + done)


def _correlation(n: list[np.ndarray], c: list[np.ndarray]) -> float:
    """Of two draws of one cluster: pairs that are both correct, beyond what any two draws of the problem are, over the
    p (1 - p) of these pairs. n, c: of the clusters, a problem an entry."""
    beyond = 0.0
    most = 0.0
    for draws, correct in zip(n, c, strict=True):
        size = draws.sum()
        all_correct = correct.sum()
        pairs = (draws * (draws - 1)).sum()
        beyond += (correct * (correct - 1)).sum() - pairs * all_correct * (all_correct - 1) / (size * (size - 1))
        most += pairs * all_correct * (size - all_correct) / size**2
    return float(beyond / most) if most else 0.0
