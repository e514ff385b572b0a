"""Rows of our own columns with lists over draws, one row a problem: {"problem_id": 3, "correct": [true, false],
"responses": ["...", "..."]}. Every list as long as the list of verdicts goes over the draws."""

from __future__ import annotations

from analysis.adapters.asked import Asked, Rows, spread
from analysis.errors import InputError

NAMES = {
    "responses": "completion",
    "completions": "completion",
    "outputs": "completion",
    "predictions": "answer",
    "answers": "answer",
    "finish_reasons": "finish_reason",
    "verdicts": "verdict",
}


def fits(columns: set[str]) -> bool:
    return "problem_id" in columns


def convert(rows: Rows, asked: Asked) -> Rows:
    for number, row in rows:
        name = asked.metric or ("correct" if "correct" in row else "verdict")
        said = row.get(name)
        if not isinstance(said, list) or not said:
            raise InputError(f"{asked.at(number)}: {name} should be a list with one entry a draw, this is {said!r}")
        renamed = {NAMES[k] if k in NAMES and NAMES[k] not in row else k: v for k, v in row.items()}
        for ours in NAMES.values():
            if isinstance(renamed.get(ours), list) and len(renamed[ours]) != len(said):
                raise InputError(f"{asked.at(number)}: {ours} has {len(renamed[ours])} entries, {name} has {len(said)}")
        for draw, one in enumerate(spread(renamed, len(said), skip=(name,))):
            if name == "verdict":
                yield number, one | {"verdict": said[draw], "sample": draw}
            else:
                yield number, one | {"correct": asked.verdict(said[draw], name, number=number), "sample": draw}
