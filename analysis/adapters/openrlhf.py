"""OpenRLHF's samples: lines of input, output and reward, as `openrlhf.cli.batch_inference` writes them.

A reward of 0 or 1 says what is correct; a reward model's score does not, unless --correct-above makes it one.
"""

from __future__ import annotations

import hashlib

from analysis.adapters.asked import Asked, Rows, text_of
from analysis.errors import InputError


def fits(columns: set[str]) -> bool:
    return {"input", "output"} <= columns and bool({"reward", "rewards"} & columns) and "score" not in columns


def convert(rows: Rows, asked: Asked) -> Rows:
    for number, row in rows:
        name = asked.metric or ("reward" if "reward" in row else "rewards")
        prompt = text_of(row.get("input"))
        if prompt is None or row.get(name) is None:
            raise InputError(f"{asked.at(number)}: {'input' if prompt is None else name} is missing")
        label = row.get("label")
        identity = hashlib.sha256(f"{prompt}\x00{label}".encode("utf-8", "replace")).hexdigest()[:16]
        kept = {k: v for k, v in row.items() if k not in ("input", "output", "reward", "rewards")}
        yield (
            number,
            kept
            | {
                "problem_id": identity,
                "correct": asked.verdict(row[name], name, number=number),
                "completion": text_of(row.get("output")),
                "prompt": prompt,
                "openrlhf_reward": row[name],
            },
        )
