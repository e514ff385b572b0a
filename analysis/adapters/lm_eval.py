"""lm-evaluation-harness `--log_samples` files (samples_TASK_DATE.jsonl): one line a document and filter.

    {"doc_id": 0, "doc": {...}, "target": ..., "resps": [[text]], "filtered_resps": [answer], "filter": "strict-match",
     "metrics": ["exact_match"], "exact_match": 1.0}

One file is one draw of every document; several files of a task, made with different seeds, are several draws. Where a
task has more than one filter, choose with FILE::FILTER. A document with several responses (`repeats`) has one metric
for all of them, which says nothing about each, unless the metric itself is a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.errors import InputError

METRICS = (
    "exact_match",
    "acc",
    "pass@1",
    "pass_at_1",
    "is_correct",
    "correct",
    "math_verify",
    "em",
)  # the first that is there
PLAIN = (
    "doc_id",
    "doc",
    "target",
    "arguments",
    "resps",
    "filtered_resps",
    "filter",
    "metrics",
    "doc_hash",
    "prompt_hash",
    "target_hash",
)


def fits(columns: set[str]) -> bool:
    return {"doc_id", "resps"} <= columns or {"doc_id", "filtered_resps"} <= columns


def convert(row: dict[str, Any], path: Path, select: str | None, at: str) -> Iterator[dict[str, Any]]:
    if row.get("doc_id") is None:
        raise InputError(f"{at}: doc_id is missing")
    if select and row.get("filter", select) != select:
        return
    metrics = row.get("metrics") or [name for name in row if name not in PLAIN]
    metric = next((name for name in (*METRICS, *metrics) if name in metrics and row.get(name) is not None), None)
    if metric is None:
        raise InputError(f"{at}: no metric; the row has {', '.join(row)}")
    texts = (row.get("resps") or [[]])[0]
    texts = texts if isinstance(texts, list) else [texts]
    drawn = [text for text in texts if isinstance(text, str)]  # else log-likelihoods of choices: no draws
    values = row[metric] if isinstance(row[metric], list) else [row[metric]]
    if len(values) == 1 and len(drawn) > 1:
        raise InputError(
            f"{at}: {len(drawn)} responses but one value of {metric}: it does not say which are correct;"
            " log one response a document and run with several seeds"
        )
    if drawn and len(drawn) != len(values):
        raise InputError(f"{at}: {len(drawn)} responses but {len(values)} values of {metric}")
    answers = row.get("filtered_resps") or []
    answers = answers[0] if len(answers) == 1 and isinstance(answers[0], list) else answers
    common = {k: v for k, v in row.items() if k not in (*PLAIN, *metrics)}
    common |= {
        "problem_id": str(row["doc_id"]),
        "benchmark": _task(path),
        "metric": metric,
        "lm_eval_filter": row.get("filter", "none"),
    }
    for index, value in enumerate(values):
        if value not in (0, 1):
            raise InputError(
                f"{at}: {metric} is {value!r}; 0 or 1 is wanted (a graded metric does not say what is correct)"
            )
        own = {"correct": value == 1, "sample": index}
        if drawn:
            own["completion"] = drawn[index]
        if len(answers) == len(values) and isinstance(answers[index], str) and drawn:
            own["answer"] = None if answers[index] == "[invalid]" else answers[index]
        yield common | own


def _task(path: Path) -> str:
    found = re.match(r"samples_(.+?)_\d{4}-\d{2}-\d{2}T", path.name)
    return found[1] if found else path.name.split(".")[0].removeprefix("samples_")
