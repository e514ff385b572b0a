"""verl's `main_generation` Parquet: the rows of the data set with a list `responses`. It says nothing of what is
correct, so it is refused with the way to grade it, unless a list of verdicts stands beside it."""

from __future__ import annotations

import hashlib
import json

from analysis.adapters.asked import Asked, Rows, text_of
from analysis.errors import InputError


def fits(columns: set[str]) -> bool:
    return {"responses", "reward_model"} <= columns and "problem_id" not in columns


def convert(rows: Rows, asked: Asked) -> Rows:
    for number, row in rows:
        texts = row.get("responses")
        if not isinstance(texts, list) or not texts:
            raise InputError(f"{asked.at(number)}: responses should be a list of texts, this is {texts!r}")
        verdicts = [k for k, v in row.items() if k != "responses" and isinstance(v, list) and len(v) == len(texts)]
        verdicts = [k for k in verdicts if all(isinstance(v, int | float | bool) for v in row[k])]
        if not verdicts:
            raise InputError(
                f"{asked.path}: verl's generations hold no verdicts; grade them first: explore-rl verify {asked.path} "
                "--problems DATA.parquet --out graded.parquet"
            )
        name = asked.choose(verdicts, number)
        prompt = text_of(row.get("prompt")) or json.dumps(row.get("prompt"))
        truth = (row.get("reward_model") or {}).get("ground_truth")
        identity = hashlib.sha256(f"{prompt}\x00{truth}".encode("utf-8", "replace")).hexdigest()[:16]
        known = {"problem_id": identity, "prompt": prompt, "metric": name}
        if row.get("data_source") is not None:
            known["benchmark"] = str(row["data_source"])
        for draw, text in enumerate(texts):
            correct = asked.verdict(row[name][draw], name, number=number)
            yield number, known | {"completion": text, "sample": draw, "correct": correct}
