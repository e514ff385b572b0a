"""verl's rollout and validation dumps (trainer.rollout_data_dir, trainer.validation_data_dir): one file a step, one
line a completion.

    {"input": prompt, "output": completion, "gts": reference, "score": 1.0, "step": 20, "acc": ...}

Correct is `acc` where the reward function reported it; else the score, if it is one of 0, 1 and -1 (a shaped reward is
refused: it does not say what is correct). The problem is known by its prompt and reference. Each step is another model:
a side is one step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.errors import InputError


def fits(columns: set[str]) -> bool:
    return {"input", "output", "score"} <= columns


def convert(row: dict[str, Any], path: Path, select: str | None, at: str) -> Iterator[dict[str, Any]]:
    score = row.get("score")
    accuracy = row.get("acc")
    if row.get("input") is None or (score is None and accuracy is None):
        raise InputError(f"{at}: {'input' if row.get('input') is None else 'score'} is missing")
    correct = accuracy if accuracy is not None else score
    if correct not in (0, 1, -1):
        raise InputError(
            f"{at}: {'acc' if accuracy is not None else 'score'} is {correct!r}, neither 0, 1 nor -1, "
            "so it does not say"
            " whether the completion is correct; let the reward function report acc"
        )
    identity = hashlib.sha256(f"{row['input']}\x00{row.get('gts')}".encode()).hexdigest()[:16]
    known = {"problem_id": identity, "correct": correct == 1, "completion": row.get("output"), "prompt": row["input"]}
    if row.get("pred") is not None:
        known["answer"] = str(row["pred"])
    if row.get("data_source") is not None:
        known["benchmark"] = str(row["data_source"])
    if row.get("step") is not None:
        known["model"] = f"step {row['step']}"
    yield (
        {k: v for k, v in row.items() if k not in ("input", "output", "acc", "pred", "score")}
        | {"verl_score": score}
        | known
    )
