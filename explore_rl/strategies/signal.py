"""Whether there is anything to learn from a group: one rule, for dynamic sampling and for the metrics."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from explore_rl.objectives.terms import LossTerm
from explore_rl.types import Group, Sample

WORTH = "worth"


def free_terms(terms: Iterable[LossTerm]) -> frozenset[str]:
    """Names of the terms that pull the policy without an advantage. terms: without those of regularisers."""
    return frozenset(term.name for term in terms if term.model == "policy" and "advantage" not in term.columns)


def pulls(sample: Sample, free: frozenset[str]) -> bool:
    """Whether the sample moves the policy in any direction."""
    if sample.reward is None or not sample.terms:
        return False
    if any(sample.terms[name] for name in free.intersection(sample.terms)):
        return True
    if not any(sample.terms.values()) or not sample.columns.get("mask", np.ones(1)).any():
        return False
    return sample.weight != 0 and bool(np.any(sample.columns.get("advantage", sample.advantage)))


def has_signal(group: Group, free: frozenset[str]) -> bool:
    """Whether any sample of the group pulls. free: see `free_terms`."""
    return any(pulls(sample, free) for sample in group.samples)


def token_worth(sample: Sample) -> np.ndarray:
    """The advantage of each token, float32 [T], without weight and correction: the column `WORTH` of the rows."""
    own = sample.columns.get("advantage", sample.advantage)
    return np.broadcast_to(np.asarray(own, dtype=np.float32), len(sample.rollout.tokens)).copy()


def token_advantage(sample: Sample) -> np.ndarray:
    """What each token is worth, float32 [T]: advantage x weight x correction."""
    length = len(sample.rollout.tokens)
    own = sample.columns.get("advantage")
    if own is None:
        worth = np.full(length, sample.advantage * sample.weight, dtype=np.float32)
    else:
        worth = (np.asarray(own, dtype=np.float64) * sample.weight).astype(np.float32)
    if "correction" in sample.columns:
        worth *= sample.columns["correction"]
    return worth
