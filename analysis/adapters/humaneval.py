"""HumanEval-style result lines: {"task_id": ..., "completion": ..., "passed": true, "result": "passed"}, one line a
completion.

A line whose result is "timed out" is a program that ran too long: for code that is a wrong answer, not a fault of the
grader.
"""

from __future__ import annotations

from analysis.adapters.asked import Asked, Rows
from analysis.errors import InputError


def fits(columns: set[str]) -> bool:
    return {"task_id", "passed"} <= columns


def convert(rows: Rows, asked: Asked) -> Rows:
    for number, row in rows:
        task = row.get("task_id")
        name = asked.metric or "passed"
        if task is None or row.get(name) is None:
            raise InputError(f"{asked.at(number)}: {'task_id' if task is None else name} is missing")
        known = {
            "problem_id": str(task),
            "correct": asked.verdict(row[name], name, number=number),
            "completion": row.get("completion", row.get("solution")),
        }
        if (sample := row.get("completion_id", row.get("sample"))) is not None:
            known["sample"] = sample
        benchmark, slash, _ = str(task).partition("/")
        if slash and "benchmark" not in row:
            known["benchmark"] = benchmark  # "HumanEval/12"
        yield number, {k: v for k, v in row.items() if k not in ("task_id", "passed", "completion_id")} | known
