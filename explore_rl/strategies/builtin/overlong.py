"""DAPO's overlong filter (arXiv 2503.14476, section 3.4): `algorithm.mask_truncated`.

Acts at: advantage (after all others). A completion that was cut off stays in its group's baseline and teaches nothing.
"""

from __future__ import annotations

import numpy as np

from explore_rl.strategies.base import StepContext, Strategy
from explore_rl.types import Group


class OverlongFilter(Strategy):
    """Writes Sample.columns["mask"]: 0 on every token of a truncated sample."""

    name = "overlong"
    reads_policy = False
    biases = "which samples it masks follows from what was drawn"

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        for sample in (s for g in groups for s in g.samples):
            if sample.rollout.truncated:
                sample.columns["mask"] = np.zeros(len(sample.rollout.tokens), dtype=np.float32)
