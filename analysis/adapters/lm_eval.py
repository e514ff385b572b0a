"""lm-evaluation-harness `--log_samples` files (samples_TASK_DATE.jsonl): one line a document and filter.

    {"doc_id": 0, "doc": {...}, "target": ..., "resps": [[text]], "filtered_resps": [answer], "filter": "strict-match",
     "metrics": ["exact_match"], "exact_match": 1.0}

One file is one draw of every document; several files of a task, made with different seeds, are several draws. Where a
task has more than one filter, choose with FILE::FILTER, and where it has more than one metric, with --metric. Versions
before 0.4.5 do not name the filter, and write all documents once a filter: FILE::1 is the first. A document with
several responses (`repeats`) has one metric for all of them, which says nothing about each, unless the metric itself is
a list.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from analysis.adapters.asked import Asked, Rows
from analysis.errors import InputError

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


def convert(rows: Rows, asked: Asked) -> Rows:
    times: Counter[str] = Counter()  # how often a document came without the name of a filter
    for number, row in rows:
        if row.get("doc_id") is None:
            raise InputError(f"{asked.at(number)}: doc_id is missing")
        if "filter" in row:
            if asked.select not in (None, row["filter"]):
                continue
        else:
            times[str(row["doc_id"])] += 1
            if asked.select not in (None, str(times[str(row["doc_id"])])):
                continue
            if asked.select is None and times[str(row["doc_id"])] > 1:
                raise InputError(
                    f"{asked.at(number)}: document {row['doc_id']} is there again and no line names its filter "
                    "(lm-evaluation-harness before 0.4.5 writes all documents once a filter): "
                    f"take one, as in {asked.path}::1 for the first"
                )
        yield from ((number, draw) for draw in _draws(row, asked, number=number))


def _draws(row: dict[str, Any], asked: Asked, *, number: int) -> list[dict[str, Any]]:
    at = asked.at(number)
    metrics = row.get("metrics") or [name for name in row if name not in PLAIN]
    there = [name for name in metrics if row.get(name) is not None]
    if not there:
        raise InputError(f"{at}: no metric; the row has {', '.join(row)}")
    metric = asked.choose(there, number, what="metrics")
    texts = (row.get("resps") or [[]])[0]
    texts = texts if isinstance(texts, list) else [texts]
    drawn = [text for text in texts if isinstance(text, str)]  # else log-likelihoods of choices: no draws
    values = row[metric] if isinstance(row[metric], list) else [row[metric]]
    if len(values) == 1 and len(drawn) > 1:
        raise InputError(
            f"{at}: {len(drawn)} responses but one value of {metric}: it does not say which are correct; grade them "
            f"with `explore-rl verify {asked.path} --problems FILE --out graded.parquet`, or log one response a "
            "document and run with several seeds"
        )
    if drawn and len(drawn) != len(values):
        raise InputError(f"{at}: {len(drawn)} responses but {len(values)} values of {metric}")
    answers = row.get("filtered_resps") or []
    answers = answers[0] if len(answers) == 1 and isinstance(answers[0], list) else answers
    common = {k: v for k, v in row.items() if k not in (*PLAIN, *metrics)}
    common |= {
        "problem_id": str(row["doc_id"]),
        "benchmark": _task(asked.path),
        "metric": metric,
        "lm_eval_filter": row.get("filter", asked.select or "none"),
    }
    if not drawn:
        asked.note("answers were chosen by log-likelihood: one that never varies, so chance says nothing about it")
    elif _is_greedy(row.get("arguments")):
        common["temperature"] = 0.0
    out = []
    for index, value in enumerate(values):
        own = {"correct": asked.verdict(value, metric, number=number), "sample": index}
        if drawn:
            own["completion"] = drawn[index]
        if len(answers) == len(values) and isinstance(answers[index], str) and drawn:
            own["answer"] = None if answers[index] == "[invalid]" else answers[index]
        out.append(common | own)
    return out


def _is_greedy(arguments: Any) -> bool:
    """Whether the generation arguments that were logged with a document say that nothing was drawn."""
    parts = list(arguments.values()) if isinstance(arguments, dict) else arguments
    settings = [v for part in parts or [] for v in (part.values() if isinstance(part, dict) else part)]
    return any(isinstance(s, dict) and (s.get("do_sample") is False or s.get("temperature") == 0) for s in settings)


def _task(path: Path) -> str:
    found = re.match(r"samples_(.+?)_\d{4}-\d{2}-\d{2}T", path.name)
    return found[1] if found else path.name.split(".")[0].removeprefix("samples_")
