"""A verifier of one's own, in the form of a TRL reward function; verl's form, compute_score(...), is read as well.

    explore-rl problems examples/problems.jsonl
    explore-rl verify examples/completions.jsonl --problems examples/problems.jsonl --out graded.parquet
    explore-rl verify examples/completions.jsonl --problems examples/problems.jsonl \\
        --verifier examples/own_verifier.py:in_range --out graded.parquet
"""

from __future__ import annotations

import re


def in_range(completions: list[str], answer: list[str], **_: object) -> list[float]:
    """1 where the last number of a completion is within one per cent of the reference, 0 else.

    An exception here would be reported as an error, and leave the sample out of its group: it is never a reward of 0.
    """
    return [_score(text, float(reference)) for text, reference in zip(completions, answer, strict=True)]


def _score(text: str, reference: float) -> float:
    numbers = re.findall(r"-?\d+(?:\.\d+)?", text)
    if not numbers:
        return 0.0
    return float(abs(float(numbers[-1]) - reference) <= 0.01 * abs(reference))
