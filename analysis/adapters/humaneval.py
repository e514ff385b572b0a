"""HumanEval-style result lines: {"task_id": ..., "completion": ..., "passed": true, "result": "passed"}, one line a
completion.

A line whose result is "timed out" is a program that ran too long: for code that is a wrong answer, not a fault of the
grader.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.errors import InputError


def fits(columns: set[str]) -> bool:
    return {"task_id", "passed"} <= columns


def convert(row: dict[str, Any], path: Path, select: str | None, at: str) -> Iterator[dict[str, Any]]:
    task = row.get("task_id")
    passed = row.get("passed")
    if task is None or passed is None:
        raise InputError(f"{at}: {'task_id' if task is None else 'passed'} is missing")
    known = {"problem_id": str(task), "correct": passed, "completion": row.get("completion", row.get("solution"))}
    if (sample := row.get("completion_id", row.get("sample"))) is not None:
        known["sample"] = sample
    benchmark, slash, _ = str(task).partition("/")
    if slash and "benchmark" not in row:
        known["benchmark"] = benchmark  # "HumanEval/12"
    yield {k: v for k, v in row.items() if k not in ("task_id", "passed", "completion_id")} | known
