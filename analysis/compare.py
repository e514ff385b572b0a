"""Many methods, each with one or more runs (seeds), against one base: the same audit for each run, and methods against
each other.

A verdict is about a checkpoint, so every run has its own. Over the runs of a method the document gives each value and
the range; a p-value over runs only where both methods have at least five. Between methods, the difference of mean
pass@k has a bootstrap interval over problems, the runs at hand held fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from analysis.audit import audit, plain
from analysis.counts import Counts
from analysis.errors import InputError
from analysis.intervals import PSEUDO_DIFFERENCE, Bootstrap
from analysis.pair import DEFAULTS, AuditSettings, ks_up_to
from analysis.pass_at_k import pass_at_k
from analysis.readings import POOLED, Groups
from analysis.records import ModelSamples, Scores
from analysis.verdict import judge_counts

ENOUGH_RUNS = 5  # a side, before a test over runs is worth printing


def compare(
    base: ModelSamples,
    methods: dict[str, list[ModelSamples]],
    *,
    settings: AuditSettings = DEFAULTS,
    warnings: Sequence[str] = (),
    progress: Callable[[str], None] = lambda line: None,
    redraw: ModelSamples | None = None,
    scores: Scores | None = None,
) -> dict[str, Any]:
    """The comparison document: {"methods": {NAME: {"runs": [...], "range": {...}}}, "pairs": [...], "audits": {NAME:
    [audit documents]}}.

    base, redraw and every run: aligned (same problems, same order). redraw, scores: as for `audit`, and given to the
    audit of every run. progress is told which run is being audited. Raises InputError as `audit`.
    """
    if not methods or not all(methods.values()):
        raise InputError("compare needs at least one method, each with at least one run")
    audits: dict[str, list[dict]] = {}
    for name, runs in methods.items():
        audits[name] = []
        for i, run in enumerate(runs):
            progress(f"{name} run {i}")
            audits[name].append(audit(base, run, redraw=redraw, scores=scores, settings=settings))
    groups = _groups(base)
    documents = [one for runs in audits.values() for one in runs]
    found = dict.fromkeys([*warnings, *(line for one in documents for line in one["warnings"])])
    document = {
        "benchmarks": list(groups),
        "methods": {name: _method(methods[name], documents, names=list(groups)) for name, documents in audits.items()},
        "pairs": [
            _between(groups, first=(a, methods[a]), second=(b, methods[b]), settings=settings)
            for a, b in combinations(methods, 2)
        ],
        "base": {"name": base.name, "files": base.files},
        "redraw": None if redraw is None else {"name": redraw.name, "files": redraw.files},
        "scores": None if scores is None else {"files": scores.files},
        "settings": documents[0]["settings"],
        "versions": documents[0]["versions"],
        "warnings": list(found),
        "audits": audits,
    }
    return plain(document)


def _counts(run: ModelSamples, index: np.ndarray) -> Counts:
    return Counts(run.n[index], run.correct[index])


def _groups(base: ModelSamples) -> Groups:
    labels = np.array(base.benchmarks)
    return {name: np.flatnonzero(labels == name) for name in sorted(set(base.benchmarks))} | {
        POOLED: np.arange(len(labels))
    }


def _run_row(section: dict[str, Any]) -> dict[str, Any]:
    """The numbers of one run that the board shows."""
    curve = section["pass_at_k"]["tuned"]
    largest = str(section["support"]["k"])
    return {
        "verdict": section["verdict"],
        "shrunk": section["null"]["observed_shrunk"],
        "expanded": section["null"]["observed_expanded"],
        "srr": section["support"]["srr"],
        "ndr": section["support"]["ndr"],
        "nscr": section["support"]["nscr"],
        "avg_at_n": section["metrics"]["avg_at_n"]["tuned"]["value"],
        f"pass_at_{largest}": curve[largest]["value"],
        "crossing_k": None if section["crossing_k"] is None else section["crossing_k"]["value"],
    }


def _method(runs: list[ModelSamples], documents: list[dict], *, names: list[str]) -> dict[str, Any]:
    rows = {name: [_run_row(d["benchmarks"][name]) for d in documents] for name in names}
    ranges = {}
    for name in names:
        numbers = {key: [row.get(key) for row in rows[name]] for key in rows[name][0] if key != "verdict"}
        known = {key: [x for x in values if x is not None] for key, values in numbers.items()}
        ranges[name] = {
            key: {"mean": float(np.mean(values)), "low": min(values), "high": max(values), "runs": len(values)}
            if values
            else None
            for key, values in known.items()
        }
    return {"runs": [{"name": run.name, "files": run.files} for run in runs], "per_run": rows, "range": ranges}


def _between(
    groups: Groups,
    *,
    first: tuple[str, list[ModelSamples]],
    second: tuple[str, list[ModelSamples]],
    settings: AuditSettings,
) -> dict[str, Any]:
    """Second method minus first: pass@k of the means over runs, run-level values and their test, and verdicts run
    against run."""
    name_a, runs_a = first
    name_b, runs_b = second
    result: dict[str, Any] = {"first": name_a, "second": name_b, "benchmarks": {}}
    for name, index in groups.items():
        largest = int(min(run.n[index].min() for run in runs_a + runs_b))
        k = ks_up_to(largest) if settings.k is None else np.unique(settings.k)
        if k[-1] > largest:
            raise InputError(f"k = {k[-1]} is above n = {largest} in a run of {name_a} or {name_b}")
        curves = [
            np.stack([pass_at_k(run.n[index], run.correct[index], k) for run in runs]) for runs in (runs_a, runs_b)
        ]  # [runs, M, K] each
        difference = curves[1].mean(axis=0) - curves[0].mean(axis=0)
        bootstrap = Bootstrap.draw(
            len(index), settings.replicates, rng=np.random.default_rng(settings.seed), confidence=settings.confidence
        )
        low, high = bootstrap.interval(bootstrap.means(difference, PSEUDO_DIFFERENCE))
        by_run = [curve.mean(axis=1) for curve in curves]  # [runs, K]
        tested = min(len(runs_a), len(runs_b)) >= ENOUGH_RUNS
        welch: Any = stats.ttest_ind(by_run[1], by_run[0], equal_var=False, axis=0) if tested else None
        p = [None] * len(k) if welch is None else welch.pvalue
        rows = {}
        for i, step in enumerate(k):
            a = by_run[0][:, i]
            b = by_run[1][:, i]
            rows[str(step)] = {
                "value": difference[:, i].mean(),
                "low": low[i],
                "high": high[i],
                "first_runs": a,
                "second_runs": b,
                "range": [b.min() - a.max(), b.max() - a.min()],
                "p_over_runs": p[i],
            }
        verdicts = [
            [judge_counts(_counts(a, index), _counts(b, index), rules=settings.rules).verdict for b in runs_b]
            for a in runs_a
        ]
        result["benchmarks"][name] = {"pass_at_k_difference": rows, "verdicts_run_by_run": verdicts}
    return result
