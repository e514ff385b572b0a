"""Worked solutions: reading them from a file of their own, and finding out which are right before anything is learnt
from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from analysis.errors import InputError
from explore_rl.problems.fields import trace_from
from explore_rl.problems.rows import read_rows
from explore_rl.types import Problem, Status, Trace, Verdict


def load_traces(path: str | Path) -> dict[str, list[Trace]]:
    """Traces by problem id from rows {problem_id, text, source, logprob?, region?} (JSON lines, Parquet, CSV). Raises
    InputError."""
    traces: dict[str, list[Trace]] = {}
    for row in read_rows(path):
        problem = row.values.get("problem_id")
        if not isinstance(problem, (str, int)) or isinstance(problem, bool) or problem == "":
            raise row.error("problem_id", "expected the id of the problem that the trace solves")
        if isinstance(row.values.get("logprob"), str):  # CSV knows texts only
            row = replace(row, values=row.values | {"logprob": _number(row.values["logprob"])})
        traces.setdefault(str(problem), []).append(trace_from(row, "trace", entry=row.values, i=0))
    if not traces:
        raise InputError(f"{path}: holds no trace")
    return traces


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def attach_traces(
    problems: Iterable[Problem], traces: dict[str, list[Trace]], *, path: str = "traces", some_problems: bool = False
) -> Iterator[Problem]:
    """Problems with these traces behind their own, doubles left out.

    Raises InputError at the end if some belong to no problem, unless these are only some_problems of those that the
    traces are for.

    problems: streamed.
    traces: problem id -> its traces.
    path: where they are from, for the error.
    some_problems: whether the traces may be for more problems than these.
    """
    unused = set(traces)
    for problem in problems:
        unused.discard(problem.id)
        known = {trace.text for trace in problem.traces}
        new = []
        for trace in traces.get(problem.id, ()):
            if trace.text not in known:
                known.add(trace.text)
                new.append(trace)
        yield replace(problem, traces=(*problem.traces, *new)) if new else problem
    if unused and not some_problems:
        shown = ", ".join(sorted(unused)[:5])
        raise InputError(f"{path}: key 'problem_id': {len(unused)} ids belong to no problem, for example {shown}")


@dataclass(frozen=True)
class BadTrace:
    """A trace that is not known to be right.

    problem: the id of its problem.
    source: who wrote it.
    status: wrong and no_answer are the trace's fault, timeout and error the verifier's.
    reason: the verifier's, in words.
    """

    problem: str
    index: int  # among the problem's traces
    source: str
    status: str
    reason: str


@dataclass
class TraceReport:
    """What a check of the traces found.

    checked, correct: numbers of traces.
    bad: those that are not correct, left out or not.
    bare: ids of problems left without any.
    """

    checked: int = 0
    correct: int = 0
    bad: list[BadTrace] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)

    def lines(self, show: int = 5) -> list[str]:
        counts = Counter(trace.status for trace in self.bad)
        kinds = "".join(f", {count} {status}" for status, count in sorted(counts.items()))
        bare = f"{len(self.bare)} problems are left without a trace"
        first = f"{self.correct} of {self.checked} traces correct{kinds}; {bare}"
        rows = [
            f"  {bad.status}: problem {bad.problem}, trace {bad.index} ({bad.source}): {bad.reason}"
            for bad in self.bad[:show]
        ]
        return [first, *rows, *([f"  ... and {len(self.bad) - show} more"] if len(self.bad) > show else [])]


def verify_traces(
    problems: Iterable[Problem], verify: Callable[[Iterable], Iterable[Verdict]], *, keep_wrong: bool = False
) -> tuple[list[Problem], TraceReport]:
    """Every trace through its problem's verifier. Returns all problems with their correct traces (keep_wrong: with
    all), and the report.

    verify: items to verdicts, in order: `VerifierPool(...).verify`.
    """
    from explore_rl.verifiers import Item

    problems = list(problems)
    verdicts = iter(verify([Item(problem, trace.text) for problem in problems for trace in problem.traces]))
    report = TraceReport()
    kept = []
    for problem in problems:
        right = []
        for index, trace in enumerate(problem.traces):
            verdict = next(verdicts)
            report.checked += 1
            if verdict.status is Status.CORRECT:
                report.correct += 1
                right.append(trace)
            else:
                report.bad.append(BadTrace(problem.id, index, trace.source, verdict.status.value, verdict.reason))
        if problem.traces and not right:
            report.bare.append(problem.id)
        kept.append(
            problem if keep_wrong or len(right) == len(problem.traces) else replace(problem, traces=tuple(right))
        )
    return kept, report
