"""The table of docs/calibration.md by scenario: cells that ask one kind of law, taken together.

A scenario is what is true of the simulated models and what is asked of the analysis. Its cells differ in the shape of
the success probabilities, in the numbers of problems and draws, and in nothing else that a user would name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from calibration_kit import Line
from scipy import stats

from analysis.intervals import clopper_pearson
from analysis.significance import holm

Kwargs = dict[str, Any]  # of the cell that a line is from

FEW_SETS = 2000  # data sets below which a scenario says of itself that it is thin


@dataclass(frozen=True)
class Scenario:
    """The lines of one scenario, whose share has to stay below `target`, or above it where it is at_least.

    sets: data sets of all cells. hits: those that count. thinnest: data sets of the cell with the fewest. worst: share
    of the cell that is farthest on the wrong side.
    """

    name: str
    target: float
    at_least: bool
    cells: int
    sets: int
    hits: int
    thinnest: int
    worst: float

    @property
    def share(self) -> float:
        return self.hits / self.sets

    @property
    def p(self) -> float:
        """Exact binomial p-value of "the target is kept"; cells of different shares make it no smaller, since a sum of
        unlike Bernoulli trials varies less than a binomial of their mean."""
        if self.at_least:
            return float(stats.binom.cdf(self.hits, self.sets, self.target))
        return float(stats.binom.sf(self.hits - 1, self.sets, self.target))

    @property
    def missed(self) -> bool:
        """By more than two standard errors of the simulation, taken at the target."""
        slack = 2 * np.sqrt(self.target * (1 - self.target) / self.sets)
        return self.share < self.target - slack if self.at_least else self.share > self.target + slack


def name_of(table: str, kwargs: Kwargs, *, column: str) -> str:
    """What a line of a cell asks, in words, without shape, numbers of problems and draws."""
    law = kwargs.get("law")
    rates = " / ".join(f"{rate:g}" for rate in kwargs.get("rates", ()))
    match table:
        case "false":
            return "one model drawn twice" if law is None else f"no such change: {law}"
        case "benchmarks":
            return f"one model drawn twice on five benchmarks: {column}"
        case "power":
            return f"the other direction's word: {law}"
        case "few":
            return "the other direction's word: one of few problems gained"
        case "hidden":
            return f"a gain beside losses is found: {law}"
        case "held":
            return "held although more than the margin is lost"
        case "certified":
            return f"wrong members of a certified category: {column}"
        case "faster":
            return f"beyond a speed-up: {kwargs['change']}"
        case "lucky":
            return f"lucky guesses at {rates}, rates given"
        case "graded":
            return f"lucky guesses at {rates}, rates from a graded sample"
        case "clusters":
            return f"draws that are not independent: {_clusters(kwargs)}"
        case "lucky clusters":
            return f"lucky guesses at {rates} in draws that are not independent"
        case "cluster certificates":
            return f"wrong members of a certified category, clustered draws: {column}"
        case "reasoning":
            return f"reasoning judged in part: {column}"
        case "looks":
            drawn = "" if kwargs.get("adaptive", True) else ", all problems drawn further"
            return f"looked at after every batch: {'one model' if law is None else 'the other direction'}{drawn}"
        case "modes":
            n = kwargs["n"]
            return f"one model drawn twice, by mode, {'equal' if n[0] == n[1] else 'unequal'} n"
        case "boards":
            return f"boards of {kwargs.get('methods', 20)} methods, {_runs(kwargs.get('runs', 3))}, {_seeds(kwargs)}"
        case "differences":
            k = "pass@1" if column.startswith("pass@1") and column[6:7] in ("", ",") else "pass@n"
            return f"difference of {k} under one law, {_runs(kwargs['runs'])}, seed sd {kwargs['sds'][0]:g}"
        case "skewed":
            return f"interval of a skewed mean holds it, {column}"
        case "intervals":
            return f"95 % interval holds the truth: {column.partition('@')[0].replace('pass', 'pass@k')}"
        case "tokens":
            return f"95 % interval over a budget of tokens holds the truth: {column.partition(',')[0]}"
    return f"{table}: {column}"


def _runs(runs: int) -> str:
    return f"{runs} run{'s' * (runs > 1)} each"


def _seeds(kwargs: Kwargs) -> str:
    found = f"seed sd {kwargs.get('sd', 0.0):g}"
    return f"{found}, one of them gains" if kwargs.get("law") else found


def _clusters(kwargs: Kwargs) -> str:
    """What is not independent, and how."""
    ties = kwargs.get("correlation", 0.0)
    within, throughout = (bool(np.any(x)) for x in (ties, kwargs.get("throughout", 0.0)))
    how = "within problems" if within else "better and worse throughout" if throughout else "independent after all"
    if within and throughout:
        how = "within problems and throughout"
    if isinstance(ties, (tuple, list)) and len(set(ties)) > 1:
        how += ", to different degrees on the two sides"
    sizes = kwargs.get("sizes")
    if sizes is not None and (sizes[0] != sizes[1] or sizes[0] is None or len(set(sizes[0])) > 1):
        how += ", clusters of unequal sizes or numbers"
    return how


def scenarios(lines: Iterable[tuple[str, Kwargs, Line]]) -> list[Scenario]:
    """Scenarios in order of appearance, from the lines of all cells with the table and the arguments of each cell.
    Lines without a target are left out."""
    found: dict[tuple[str, float, bool], list[Line]] = {}
    for table, kwargs, line in lines:
        target = line.at_least if line.at_most is None else line.at_most
        if target is not None:
            key = (name_of(table, kwargs, column=line.column), target, line.at_most is None)
            found.setdefault(key, []).append(line)
    return [
        Scenario(
            name,
            target,
            at_least,
            cells=len(of),
            sets=sum(line.trials for line in of),
            hits=round(sum(line.share * line.trials for line in of)),
            thinnest=min(line.trials for line in of),
            worst=(min if at_least else max)(line.share for line in of),
        )
        for (name, target, at_least), of in found.items()
    ]


def scenario_table(found: list[Scenario]) -> list[str]:
    """Markdown: one row a scenario, p-values after Holm over all of them."""
    if not found:
        return []
    p = holm(np.array([one.p for one in found])).tolist()
    thin = min(found, key=lambda one: one.thinnest)
    few = [one for one in found if one.sets < FEW_SETS]
    out = [
        "\n## By scenario\n",
        "Cells of one kind of law together, whatever the shape and the numbers of problems and draws. Share: of data "
        "sets with a word (or a member of a category) that is not true where the target is at most so much; of those "
        "in which a planted gain is found, or an interval holds the truth, where it is at least so much. p: exact "
        f'binomial p-value of "the target is kept", after Holm over the {len(found)} scenarios (smallest: '
        f"{min(p):.2g}). Targets missed by more than two standard errors: {sum(one.missed for one in found)}. "
        f"{len(found) - len(few)} scenarios have {FEW_SETS:,} data sets or more"
        + (f", the thinnest of the others {min(one.sets for one in few):,}" if few else "")
        + f"; the thinnest single cell has {thin.thinnest:,} ({thin.name}). Shares of wrong members are means over "
        "data sets, counted as so many wholly false ones.",
        "",
        "| scenario | cells | data sets | thinnest cell | share | 95 % interval | worst cell | target | p |",
        "|---" * 9 + "|",
    ]
    for one, adjusted in zip(found, p, strict=True):
        low, high = (100 * float(x) for x in clopper_pearson(one.hits, one.sets))
        missed = " **missed**" if one.missed else ""
        target = f"at {'least' if one.at_least else 'most'} {one.target:.0%}"
        out.append(
            f"| {one.name} | {one.cells} | {one.sets:,} | {one.thinnest:,} | {one.share:.2%}{missed} | "
            f"{low:.2f} to {high:.2f} | {one.worst:.1%} | {target} | {adjusted:.2g} |"
        )
    return out
