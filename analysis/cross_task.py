"""Cross-task rewardable support: what a model tuned on one task can still do on the others.

S_T(pi) = problems of task T that pi solves in k draws (best@k > 0); reported is |S_T(tuned)| / |S_T(base)| task by
task. Source: arXiv 2608.00220: tuning on one task can raise pass@1 on another and yet shrink its support, which a small
k does not show (k >= 32).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.counts import Counts
from analysis.errors import InputError
from analysis.intervals import PSEUDO_BASE, PSEUDO_TUNED, Bootstrap
from analysis.pass_at_k import pass_at_k

ENOUGH_K = 32


def check_trained(trained_on: tuple[str, ...], names: list[str]) -> None:
    """Raises InputError for a benchmark that is not there."""
    if unknown := [name for name in trained_on if name not in names]:
        raise InputError(f"--trained-on {unknown[0]}: no such benchmark; there are {', '.join(names)}")


def support_ratio(base: Counts, tuned: Counts, *, k: int, bootstrap: Bootstrap) -> dict[str, Any]:
    """|S(tuned)| / |S(base)| of one task at k draws, expected over which draws are taken, with its interval over
    problems; value null where the base solves nothing.

    base, tuned: (n, c), int [M] each.
    k: draws, at most every n.
    bootstrap: of the task's problems.
    """
    first = pass_at_k(*base, k=k)
    second = pass_at_k(*tuned, k=k)
    found: dict[str, Any] = {"base": first.sum(), "tuned": second.sum()}
    if not first.sum():
        return found | {"ratio": None}
    replicates = bootstrap.means(second, PSEUDO_TUNED) / np.maximum(bootstrap.means(first, PSEUDO_BASE), 1e-12)
    low, high = (float(x) for x in bootstrap.interval(replicates))
    value = float(second.sum() / first.sum())
    return found | {"ratio": {"value": value, "low": min(low, value), "high": max(high, value)}}


def cross_task(
    tasks: dict[str, tuple[Counts, Counts, Bootstrap]], *, trained_on: tuple[str, ...]
) -> dict[str, Any] | None:
    """Support ratio of each task, and which of them were trained on; None with a single task.

    tasks: name -> counts of base and tuned, and resamples of its problems. k is the largest that all allow: one k for
    all tasks, so that they compare; `enough` says whether it reaches 32.
    """
    if len(tasks) < 2:
        return None
    k = min(int(min(base.n.min(), tuned.n.min())) for base, tuned, _ in tasks.values())
    rows = [
        {
            "task": name,
            "trained_on": name in trained_on,
            "problems": len(base.n),
            **support_ratio(base, tuned, k=k, bootstrap=bootstrap),
        }
        for name, (base, tuned, bootstrap) in tasks.items()
    ]
    return {"k": k, "enough": k >= ENOUGH_K, "rows": rows}
