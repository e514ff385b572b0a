"""Verdicts of several benchmarks together, and under other readings of the same draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.cluster_null import over_all_problems, within_problems
from analysis.counts import Counts
from analysis.dependence import Dependence, look
from analysis.judged import judged_counts
from analysis.lucky import null_above
from analysis.null import Null
from analysis.pair import AuditSettings
from analysis.records import ModelSamples
from analysis.support import suspicious_flips
from analysis.verdict import Judgement, Rules, judge, judge_all

POOLED = "all"  # the name of all problems together

AS_IF_INDEPENDENT = "with single draws relabelled, as if they were independent"

Benchmarks = dict[str, np.ndarray]  # benchmark -> indices of its problems; the pooled problems are the last one


def groups_of(benchmarks: Sequence[str]) -> Benchmarks:
    """The problems of each benchmark, by name, and the pooled problems last. benchmarks: of each problem."""
    labels = np.array(benchmarks)
    each = {name: np.flatnonzero(labels == name) for name in sorted(set(benchmarks))}
    return each | {POOLED: np.arange(len(labels))}


@dataclass(frozen=True)
class Verdicts:
    """What is said of all benchmarks together, since Holm's correction needs them all.

    groups: benchmark -> its problems.
    dependence: of the draws.
    rates: false positives of base and tuned.
    nulls: benchmark -> exact null.
    judged: benchmark -> verdict.
    others: label -> benchmark -> verdict under another reading.
    """

    groups: Benchmarks
    dependence: Dependence
    rates: tuple[float, float]
    nulls: dict[str, Null]
    judged: dict[str, Judgement]
    others: dict[str, dict[str, str]]

    def readings(self, name: str) -> dict[str, str]:
        """Label -> verdict of one benchmark."""
        return {label: by[name] for label, by in self.others.items()}


def find_verdicts(base: ModelSamples, tuned: ModelSamples, *, groups: Benchmarks, settings: AuditSettings) -> Verdicts:
    """Verdicts of all benchmarks and of the pooled problems, and under other readings of the same draws.

    base, tuned: aligned samples.
    groups: the benchmarks.
    settings: the audit's.
    """
    rules = settings.rules
    b = Counts(base.n, base.correct)
    t = Counts(tuned.n, tuned.correct)
    rates = (settings.false_positives[0].of(b), settings.false_positives[1].of(t))
    dependence = look(base, tuned, choice=settings.clusters, seed=settings.seed)
    nulls = group_nulls(b, t, groups=groups, dependence=dependence, rates=rates, rules=rules, seed=settings.seed)
    if dependence.cells is None:
        others = other_readings(base, tuned, groups=groups, rates=rates, rules=rules)
    else:  # the others relabel single draws too
        others = {AS_IF_INDEPENDENT: by_single_draws(nulls, groups, rules=rules)}
    return Verdicts(groups, dependence, rates, nulls, judge_groups(nulls, groups, rules=rules), others)


def group_nulls(
    b: Counts,
    t: Counts,
    *,
    groups: Benchmarks,
    dependence: Dependence,
    rates: tuple[float, float],
    rules: Rules,
    seed: int = 0,
) -> dict[str, Null]:
    """The exact null of each benchmark, of single draws or, where these depend on each other, of whole clusters.

    b, t: draws of base and tuned.
    groups: the benchmarks.
    dependence: what `look` found of the draws.
    rates: false positives of base and tuned.
    rules: the verdict's.
    seed: of what is left to chance where clusters are relabelled.
    """
    nulls = {
        name: null_above(b.at(i), t.at(i), rates=rates, rules=rules, folds=rules.folds) for name, i in groups.items()
    }
    if dependence.cells is None:
        return nulls
    found = {}
    for name, index in groups.items():
        here = dependence.at(index)
        cells = here.cells
        if cells is None:
            continue
        throughout = here.unit == "clusters over all problems"
        null_of = over_all_problems if throughout else within_problems
        null = null_of(cells, rules=rules, single=here.single, rates=rates, seed=seed)
        found[name] = replace(null, by_draw=nulls[name])
    return found


def judge_groups(nulls: dict[str, Null], groups: Benchmarks, *, rules: Rules) -> dict[str, Judgement]:
    """Verdict of each benchmark, with Holm over them, and of the pooled problems, which are a question of their own."""
    names = [name for name in groups if name != POOLED]
    each = judge_all([nulls[name] for name in names], [len(groups[name]) for name in names], rules=rules)
    pooled = judge(nulls[POOLED], len(groups[POOLED]), rules=rules)
    return dict(zip(names, each, strict=True)) | {POOLED: pooled}


def by_single_draws(nulls: dict[str, Null], groups: Benchmarks, *, rules: Rules) -> dict[str, str]:
    """benchmark -> verdict that single draws would give, where whole clusters were relabelled."""
    single = {name: null.by_draw or null for name, null in nulls.items()}
    return {name: judgement.verdict for name, judgement in judge_groups(single, groups, rules=rules).items()}


def other_readings(
    base: ModelSamples,
    tuned: ModelSamples,
    *,
    groups: Benchmarks,
    rates: tuple[float, float] = (0.0, 0.0),
    rules: Rules,
) -> dict[str, dict[str, str]]:
    """Verdicts under another reading of the same draws: label -> benchmark -> verdict. Only readings that differ in
    their data are there.

    base, tuned: aligned samples.
    groups: the benchmarks.
    rates: false positives of base and tuned.
    rules: the verdict's.
    """

    def verdicts(b: Counts, t: Counts, *, keep: np.ndarray, lucky: tuple[float, float] = rates) -> dict[str, str]:
        left = {name: index[keep[index]] for name, index in groups.items()}
        nulls = {name: null_above(b.at(i), t.at(i), rates=lucky, rules=rules) for name, i in left.items()}
        return {name: judgement.verdict for name, judgement in judge_groups(nulls, left, rules=rules).items()}

    b = Counts(base.n, base.correct)
    t = Counts(tuned.n, tuned.correct)
    readings = {}

    flips = suspicious_flips(b, t)
    if flips.any() and all((~flips[index]).any() for index in groups.values()):
        several = "s" * bool(flips.sum() > 1)
        label = f"without the {flips.sum()} suspicious flip{several} (0 of n to nearly all, or back)"
        readings[label] = verdicts(b, t, keep=~flips)

    if (excluded := int(base.excluded.sum() + tuned.excluded.sum())) > 0:
        label = f"with the {excluded} draws that the verifier could not judge counted as wrong"
        everything = np.ones(len(base), dtype=bool)
        more_b = Counts(base.n + base.excluded, base.correct)
        more_t = Counts(tuned.n + tuned.excluded, tuned.correct)
        readings[label] = verdicts(more_b, more_t, keep=everything)
        # neither reading is a bound: the worst case for each direction is
        best_b = Counts(more_b.n, base.correct + base.excluded)
        best_t = Counts(more_t.n, tuned.correct + tuned.excluded)
        readings["with those of the base as correct and those of the tuned model as wrong"] = verdicts(
            best_b, more_t, keep=everything
        )
        readings["with those of the base as wrong and those of the tuned model as correct"] = verdicts(
            more_b, best_t, keep=everything
        )
    for label, (judged_b, judged_t) in judged_counts(base, tuned).items():
        keep = (judged_b.n > 0) & (judged_t.n > 0)
        if all(keep[index].any() for index in groups.values()):
            # what a judge of the reasoning found right is no lucky guess of the verifier
            readings[label] = verdicts(judged_b, judged_t, keep=keep, lucky=(0.0, 0.0))
    return readings
