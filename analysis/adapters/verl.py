"""verl's rollout and validation dumps (trainer.rollout_data_dir, trainer.validation_data_dir): one file a step, one
line a completion.

    {"input": prompt, "output": completion, "gts": reference, "score": 1.0, "step": 20, "acc": ...}

Correct is `acc` where the reward function reported it; else the score, if it is one of 0, 1 and -1 (a shaped reward is
refused: it does not say what is correct). The problem is known by its prompt and reference. Each step is another model:
a side is one step. Where `uid` is SAMPLE_SESSION_OUTPUT, the lines of a session are turns of one draw, each with the
session's score: its first one is read.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from analysis.adapters.asked import Asked, Rows, text_of
from analysis.errors import InputError

TURN = re.compile(r"^(.+_\d+)_\d+$")


def fits(columns: set[str]) -> bool:
    return {"input", "output", "score"} <= columns


def convert(rows: Rows, asked: Asked) -> Rows:
    begun: dict[str, dict[str, Any]] = {}  # session -> its first line
    for number, row in rows:
        if _goes_on(row, begun):
            asked.note("rows of further turns (uid SAMPLE_SESSION_OUTPUT) are no draws of their own, and left out")
            continue
        score = row.get("score")
        name = asked.metric or ("acc" if row.get("acc") is not None else "score")
        if row.get("input") is None or row.get(name) is None:
            raise InputError(f"{asked.at(number)}: {'input' if row.get('input') is None else name} is missing")
        prompt = text_of(row["input"]) or str(row["input"])
        identity = f"{row['input']}\x00{row.get('gts')}".encode("utf-8", "replace")
        known = {
            "problem_id": hashlib.sha256(identity).hexdigest()[:16],
            "correct": asked.verdict(row[name], name, number=number, wrong_too=(-1,)),
            "completion": row.get("output"),
            "prompt": prompt,
            "metric": name,
        }
        if row.get("pred") is not None:
            known["answer"] = str(row["pred"])
        if row.get("data_source") is not None:
            known["benchmark"] = str(row["data_source"])
        if row.get("step") is not None:
            known["model"] = f"step {row['step']}"
        dropped = ("input", "output", "acc", "pred", "score", "uid")
        yield number, {k: v for k, v in row.items() if k not in dropped} | {"verl_score": score} | known


def _goes_on(row: dict[str, Any], begun: dict[str, dict[str, Any]]) -> bool:
    """Whether a line is a further turn of a session that another line has begun: its prompt holds that one's, for the
    same reference, with the same score. An id of the user's own that only looks like one goes on with nothing."""
    session = TURN.match(str(row.get("uid", "")))
    if session is None:
        return False
    first = begun.setdefault(session[1], row)
    if first is row or first.get("uid") == row.get("uid"):
        return False
    prompts = sorted((str(first.get("input")), str(row.get("input"))), key=len)
    same = all(first.get(key) == row.get(key) for key in ("gts", "score", "step"))
    return same and prompts[1].startswith(prompts[0])
