"""Result files of LeapLabTHU/limit-of-RLVR (and the SimpleRL and Qwen evaluations it comes from): one line a problem,
lists over samples.

    {"idx": 0, "question": ..., "gt": ..., "code": [texts], "pred": [answers], "finish_reason": [...], "score": [true,
    false, ...]}

The benchmark is the folder (.../aime24/test_qwen-boxed_-1_seed1_t0.6_s0_e-1.jsonl); template, seed and temperature
stand in the file's name.
"""

from __future__ import annotations

import re

from analysis.adapters.asked import Asked, Rows
from analysis.errors import InputError

LISTS = {"code": "completion", "pred": "answer", "finish_reason": "finish_reason"}
NAME = re.compile(r"^[a-z]+_(?P<template>.+)_-?\d+_seed(?P<seed>\d+)_t(?P<temperature>[\d.]+?)_s-?\d+_e-?\d+")


def fits(columns: set[str]) -> bool:
    return "score" in columns and ("idx" in columns or "pred" in columns) and not {"input", "output"} <= columns


def convert(rows: Rows, asked: Asked) -> Rows:
    name = asked.metric or "score"
    for number, row in rows:
        at = asked.at(number)
        scores = row.get(name)
        if not isinstance(scores, list) or not scores:
            raise InputError(f"{at}: {name} should be a list with one entry a sample, this is {scores!r}")
        if row.get("idx") is None:
            raise InputError(f"{at}: idx is missing")
        for theirs in LISTS:
            if isinstance(row.get(theirs), list) and len(row[theirs]) != len(scores):
                raise InputError(f"{at}: {theirs} has {len(row[theirs])} entries, {name} has {len(scores)}")
        common = {k: v for k, v in row.items() if k != "score" and k not in LISTS and not isinstance(v, list)}
        common |= {"problem_id": str(row["idx"])}
        if found := NAME.match(asked.path.name):
            common |= {
                "template": found["template"],
                "seed": int(found["seed"]),
                "temperature": float(found["temperature"]),
                "benchmark": asked.path.parent.name,
            }
        for sample, score in enumerate(scores):
            lists = {ours: row[theirs][sample] for theirs, ours in LISTS.items() if isinstance(row.get(theirs), list)}
            if "answer" in lists:
                # An empty string is what their extraction leaves where it finds nothing.
                lists["answer"] = lists["answer"] or None
            yield number, common | lists | {"sample": sample, "correct": asked.verdict(score, name, number=number)}
