"""LiveCodeBench's `*_eval_all.json`: an array with an object a problem, lists over samples.

{"question_id": "1873_A", "platform": "codeforces", "output_list": [texts], "code_list": [programs],
 "graded_list": [true, false], "pass@1": 0.5}
"""

from __future__ import annotations

from analysis.adapters.asked import Asked, Rows
from analysis.errors import InputError

LISTS = ("output_list", "code_list", "pred_list", "graded_list", "metadata")


def fits(columns: set[str]) -> bool:
    return {"question_id", "graded_list"} <= columns


def convert(rows: Rows, asked: Asked) -> Rows:
    for number, row in rows:
        graded = row.get("graded_list")
        if row.get("question_id") is None or not isinstance(graded, list) or not graded:
            wanted = "question_id and graded_list, a list with one entry a sample, are wanted"
            raise InputError(f"{asked.at(number)}: {wanted}")
        texts = row.get("output_list") or []
        if texts and len(texts) != len(graded):
            raise InputError(f"{asked.at(number)}: output_list has {len(texts)} entries, graded_list has {len(graded)}")
        common = {k: v for k, v in row.items() if k not in LISTS and not isinstance(v, list | dict)}
        common |= {"problem_id": str(row["question_id"]), "benchmark": "livecodebench"}
        for sample, value in enumerate(graded):
            own = {"sample": sample, "correct": asked.verdict(value, "graded_list", number=number)}
            yield number, common | own | ({"completion": texts[sample]} if texts else {})
