"""TRL's logged completions (`log_completions`; completions/completions_00010.parquet): one row a completion.

    step, prompt, completion, one column a reward function, advantage

Prompts and completions are texts or lists of messages. A reward function says what is correct where its rewards are 0
and 1; with several of them choose with --metric. Each step is another model: a side is one step.
"""

from __future__ import annotations

import hashlib
import json

from analysis.adapters.asked import RIGHT, WRONG, Asked, Rows, text_of
from analysis.errors import InputError

FIGURES = ("0", "1", "0.0", "1.0")  # written as text
PLAIN = ("mode", "step", "prompt", "completion", "advantage", "advantages", "image", "images")


def fits(columns: set[str]) -> bool:
    return {"step", "prompt", "completion", "advantage"} <= columns and "problem_id" not in columns


def convert(rows: Rows, asked: Asked) -> Rows:
    rewards: dict[str, None] = {}  # of all rows so far: a function may leave completions to others
    for number, row in rows:
        # a null is a reward that was not given where the column's name says so, or there is no other
        found = {k for k, v in row.items() if _is_reward(v) or k == asked.metric or (v is None and "reward" in k)}
        found = found - {*PLAIN} or {k for k, v in row.items() if v is None and not rewards} - {*PLAIN}
        rewards |= {k: None for k in row if k in found}
        if not rewards:
            raise InputError(f"{asked.at(number)}: no reward beside {', '.join(row)}")
        name = asked.choose(rewards, number, what="rewards")
        if row.get("prompt") is None:
            raise InputError(f"{asked.at(number)}: prompt is missing")
        if row.get(name) is None:
            raise InputError(
                f"{asked.at(number)}: {name} is null, as of a reward function that did not judge this completion; "
                "leave such rows out, or choose another with --metric"
            )
        prompt = text_of(row["prompt"])
        prompt = json.dumps(row["prompt"]) if prompt is None else prompt
        yield (
            number,
            {k: v for k, v in row.items() if k not in ("prompt", "completion", "step")}
            | {
                "problem_id": hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest()[:16],
                "correct": asked.verdict(row[name], name, number=number),
                "completion": text_of(row.get("completion")),
                "prompt": prompt,
                "model": f"step {row['step']}",
                "metric": name,
            },
        )


def _is_reward(value: object) -> bool:
    """Whether a cell looks like what a reward function gives."""
    return isinstance(value, int | float) or str(value).strip().lower() in (*RIGHT, *WRONG, *FIGURES)
