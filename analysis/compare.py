"""Many methods, each with one or more runs (seeds), against one base: the same audit for each run, methods against each
other, and a word for each method.

A run's verdict is about a checkpoint. A method's word is made of all its runs, with Holm over the methods
(analysis.method_verdict). Differences of mean pass@k have intervals over problems and runs (analysis.differences).
Where no method has two runs, both are about the checkpoints at hand, and a warning says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from analysis.audit import audit
from analysis.counts import Counts
from analysis.differences import BenchmarkRuns
from analysis.differing import differing
from analysis.errors import InputError
from analysis.json_files import plain
from analysis.method_verdict import Blocks, judge_methods
from analysis.null import exact_null
from analysis.pair import DEFAULTS, AuditSettings
from analysis.readings import POOLED, groups_of
from analysis.records import ModelSamples, Scores
from analysis.significance import holm
from analysis.verdict import Rules, judge


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
    """The comparison document (docs/analysis.md describes every key): {"methods": {NAME: {"verdict", "runs", "range",
    "against_base", ...}}, "pairs": [...], "between_runs": {...}, "audits": {NAME: [audit documents]}}.

    Raises InputError as `audit`.

    base: aligned with every run (same problems, same order).
    methods: name -> its runs, one at least.
    settings: of every audit.
    warnings: of reading, which the document repeats.
    progress: is told which run is being audited.
    redraw, scores: as for `audit`, and given to the audit of every run.
    """
    if not methods or not all(methods.values()):
        raise InputError("compare needs at least one method, each with at least one run")
    audits: dict[str, list[dict]] = {}
    shared: dict[Any, Any] = {}
    for name, runs in methods.items():
        audits[name] = []
        for i, run in enumerate(runs):
            progress(f"{name} run {i}")
            audits[name].append(audit(base, run, redraw=redraw, scores=scores, settings=settings, shared=shared))
    # words of methods, from the blocks of their runs
    groups = groups_of(base.benchmarks)
    documents = [one for runs in audits.values() for one in runs]
    lines = [*warnings, *few_runs(methods), *repeated_runs(methods)]
    found = dict.fromkeys([*lines, *(line for one in documents for line in one["warnings"])])
    blocks: dict[str, Blocks] = {}
    for name in groups:
        blocks[name] = {method: [one["benchmarks"][name] for one in runs] for method, runs in audits.items()}
    words = judge_methods(blocks, pooled=POOLED, rules=settings.rules)
    # differences, with runs and problems as two samples
    boards = {name: _board(base, methods, index=index, settings=settings) for name, index in groups.items()}
    pairs = [_between(boards, first=a, second=b) for a, b in combinations(methods, 2)]
    _judge_run_by_run(pairs, boards, rules=settings.rules)
    document = {
        "benchmarks": list(groups),
        "methods": {
            name: _method(methods[name], documents, names=list(groups))
            | {
                "verdict": words[name],
                "against_base": {benchmark: board.against_base(name) for benchmark, board in boards.items()},
            }
            for name, documents in audits.items()
        },
        "pairs": pairs,
        "between_runs": {name: board.spreads() for name, board in boards.items()},
        "base": {"name": base.name, "files": base.files},
        "redraw": None if redraw is None else {"name": redraw.name, "files": redraw.files},
        "scores": None if scores is None else {"files": scores.files},
        "differing": differing({name: [run.settings for run in runs] for name, runs in methods.items()}),
        "settings": documents[0]["settings"],
        "versions": documents[0]["versions"],
        "warnings": list(found),
        "audits": audits,
    }
    return plain(document)


def few_runs(methods: dict[str, list[ModelSamples]]) -> list[str]:
    """A line where methods have fewer than two runs, in plain words."""
    alone = [name for name, runs in methods.items() if len(runs) < 2]
    if not alone:
        return []
    named = ", ".join(alone[:6]) + (f" and {len(alone) - 6} more" if len(alone) > 6 else "")
    have = "has" if len(alone) == 1 else "have"
    if len(alone) == len(methods):
        return [
            f"{named} {have} one run: no method has two, so intervals and words are about these checkpoints; "
            "another seed may say otherwise"
        ]
    return [
        f"{named} {have} one run: how much runs would differ is taken from the methods with two or more; "
        "whether that fits cannot be seen"
    ]


def repeated_runs(methods: dict[str, list[ModelSamples]]) -> list[str]:
    """A line for each method of which two runs have the same counts on every problem: one run given twice has no spread
    and makes everything look surer than it is."""
    lines = []
    for name, runs in methods.items():
        for (i, a), (j, b) in combinations(enumerate(runs), 2):
            varied = len(a) > 1 and (a.correct > 0).any() and (a.correct < a.n).any()
            if varied and np.array_equal(a.n, b.n) and np.array_equal(a.correct, b.correct):
                lines.append(f"{name}: runs {i} and {j} have the same counts on every problem; is it one run twice?")
    return lines


def _counts(run: ModelSamples, index: np.ndarray) -> Counts:
    return Counts(run.n[index], run.correct[index])


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


def _board(
    base: ModelSamples, methods: dict[str, list[ModelSamples]], *, index: np.ndarray, settings: AuditSettings
) -> BenchmarkRuns:
    runs = {name: [_counts(run, index) for run in runs] for name, runs in methods.items()}
    return BenchmarkRuns(_counts(base, index), runs, settings=settings)


def _between(boards: dict[str, BenchmarkRuns], *, first: str, second: str) -> dict[str, Any]:
    """Second method minus first, without the words of run against run."""
    found = {name: {"pass_at_k_difference": board.between(first, second)} for name, board in boards.items()}
    return {"first": first, "second": second, "benchmarks": found}


def _judge_run_by_run(pairs: list[dict[str, Any]], boards: dict[str, BenchmarkRuns], *, rules: Rules) -> None:
    """Adds "verdicts_run_by_run" [runs of first][runs of second] to every pair: every run of one method against every
    run of the other, with Holm over all of them on a benchmark."""
    for name, board in boards.items():
        problems = len(board.base.n)
        nulls = [
            exact_null(a, b)
            for pair in pairs
            for a in board.methods[pair["first"]]
            for b in board.methods[pair["second"]]
        ]
        gains = holm(np.array([null.expanded.p for null in nulls])).tolist()
        losses = holm(np.array([null.shrunk.p for null in nulls])).tolist()
        words = iter(
            judge(null, problems, rules=rules, p_gain=gain, p_loss=loss).verdict
            for null, gain, loss in zip(nulls, gains, losses, strict=True)
        )
        for pair in pairs:
            rows = len(board.methods[pair["first"]])
            columns = len(board.methods[pair["second"]])
            found = pair["benchmarks"][name]
            found["verdicts_run_by_run"] = [[next(words) for _ in range(columns)] for _ in range(rows)]
            found["comparisons"] = len(nulls)
