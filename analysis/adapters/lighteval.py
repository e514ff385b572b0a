"""lighteval's details (details_TASK_DATE.parquet): one row a document, with the columns doc, model_response and metric.

    doc {"query": ..., "id": "0", "task_name": ...}, model_response {"text": [texts]}, metric {"extractive_match": 1.0}

A metric of 0 and 1 is the verdict of the one text. Over several texts (AIME's avg@n, pass@1 of n) only the share of
correct ones is logged: it is read as so many correct and so many wrong draws, without their texts.
"""

from __future__ import annotations

from typing import Any

from analysis.adapters.asked import Asked, Rows
from analysis.errors import InputError


def fits(columns: set[str]) -> bool:
    return {"doc", "model_response", "metric"} <= columns


def convert(rows: Rows, asked: Asked) -> Rows:
    for number, row in rows:
        doc = row.get("doc") or {}
        response = row.get("model_response") or {}
        scores = {name: value for name, value in (row.get("metric") or {}).items() if value is not None}
        if not scores:
            raise InputError(f"{asked.at(number)}: metric is empty")
        name = asked.choose(scores, number, what="metrics")
        texts = response.get("text") or response.get("final_text") or []
        texts = [texts] if isinstance(texts, str) else list(texts)
        common: dict[str, Any] = {"problem_id": str(doc.get("id", number - 1)), "metric": name}
        if doc.get("task_name"):
            common["benchmark"] = str(doc["task_name"]).split("|")[1 if "|" in str(doc["task_name"]) else 0]
        if len(texts) <= 1:
            own = {"correct": asked.verdict(scores[name], name, number=number)}
            yield number, common | own | ({"completion": texts[0]} if texts else {})
            continue
        correct = _how_many(scores[name], len(texts), what=f"{asked.at(number)}: {name}")
        asked.note(
            f"{name} is a share over several texts: counted as correct and wrong draws, in no order and without texts"
        )
        for draw in range(len(texts)):
            yield number, common | {"correct": draw < correct, "sample": draw}


def _how_many(share: Any, n: int, *, what: str) -> int:
    """Of n draws, how many the share says are correct. Raises InputError for a share that is none of k/n."""
    try:
        count = round(float(share) * n)
    except (TypeError, ValueError, OverflowError):
        count = -1
    if not 0 <= count <= n or abs(float(share) * n - count) > 1e-3:
        raise InputError(
            f"{what} is {share!r}, which is no share of its {n} texts; choose one that is (avg@{n}, pass@1 of {n}), "
            "with --metric"
        )
    return count
