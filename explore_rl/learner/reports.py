"""What a rank says of a step: its figures, and what was read of each row on the way."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import torch

from explore_rl.learner.messages import UpdateReport


def by_row(order: list[int], counts: list[int], *, values: list[torch.Tensor]) -> list[tuple[int, tuple]]:
    """(row's number, its values) of a micro-batch. values: [sum(counts)] each, in the order of the rows."""
    if not values:
        return []
    arrays = [value.detach().float().cpu().numpy() for value in values]
    ends = np.cumsum(counts)
    return [
        (i, tuple(array[end - count : end].copy() for array in arrays))
        for i, count, end in zip(order, counts, ends, strict=True)
    ]


def report_of(norms: dict[str, float], totals: Counter[str], *, rate: float, padding_fraction: float) -> UpdateReport:
    """The report of a step.

    norms: each model's gradient norm; NaN if it made no step.
    totals: the sums of all ranks. Its keys are "loss of <model>", "tokens of <model>", "<term>/loss", "<term>/<figure>"
        and "<term>:tokens".
    rate: the policy's learning rate.
    padding_fraction: as in the report.
    """
    finite = all(math.isfinite(norm) for norm in norms.values())
    metrics = {}
    for key in sorted(key for key in totals if finite and "/" in key):
        tokens = 1.0 if key.endswith("/loss") else totals[f"{key.split('/')[0]}:tokens"]
        metrics[key] = totals[key] / tokens
    if finite and "critic" in norms:
        metrics["critic/gradient_norm"] = norms["critic"]
    return UpdateReport(
        finite=finite,
        loss=float(totals["loss of policy"]) if finite else math.nan,
        grad_norm=norms.get("policy", 0.0) if finite else math.nan,
        learning_rate=rate,
        metrics=metrics,
        tokens=int(totals["tokens of policy"]),
        padding_fraction=padding_fraction,
    )
