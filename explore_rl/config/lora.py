"""What `learner.lora` says: the adapters that are trained in place of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEYS = ("rank", "alpha", "targets")


@dataclass(frozen=True)
class Lora:
    """Adapters of low rank (arXiv 2106.09685): W x + (alpha / rank) B A x.

    rank: rows of A, columns of B.
    alpha: strength; twice the rank unless given.
    targets: names of the linear layers that get one, or how they end; empty: every linear layer but the output
        projection.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...] = ()

    @property
    def scale(self) -> float:
        """What multiplies B A."""
        return self.alpha / self.rank

    @property
    def layout(self) -> dict[str, Any]:
        """What has to be the same when a checkpoint is loaded, as JSON has it."""
        return {"rank": self.rank, "alpha": self.alpha, "targets": list(self.targets)}


def read_lora(given: Mapping[str, Any] | None) -> Lora | None:
    """`learner.lora` as it is written in a recipe; None: off. Raises ValueError that says what would be right.

    >>> read_lora({"rank": 8, "targets": ["q_proj"]})
    Lora(rank=8, alpha=16.0, targets=('q_proj',))
    """
    if given is None:
        return None
    for key in given:
        if key not in KEYS:
            raise ValueError(f"unknown key {key}; known: {', '.join(KEYS)}")
    rank = given.get("rank")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise ValueError(f"rank={rank}: expected a whole number from 1, as in {{rank: 16}}; null switches LoRA off")
    alpha = given.get("alpha", 2 * rank)
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < float("inf"):
        raise ValueError(f"alpha={alpha}: expected a number above 0")
    targets = given.get("targets", [])
    if not isinstance(targets, list) or not all(isinstance(name, str) and name for name in targets):
        raise ValueError(f"targets={targets}: expected a list of names of layers, such as [q_proj, v_proj]")
    return Lora(rank, float(alpha), targets=tuple(targets))
