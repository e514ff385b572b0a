"""DAPO's dynamic sampling (arXiv 2503.14476, section 3.2): `algorithm.dynamic_sampling_rounds`.

Acts at: keep (after all others). A group from which nothing pulls is dropped, and new problems are drawn for it. That
is judged after rewards and advantages, bonuses and weights included, by the rule of the metrics (strategies/signal.py);
so a group whose rewards are equal stays where a bonus tells its answers apart, and one that only a trace outside the
baseline makes differ goes. A round draws ceil(missing / share kept so far), since about that share is kept again.
"""

from __future__ import annotations

import math

from explore_rl.strategies.base import StepContext, Strategy
from explore_rl.strategies.signal import has_signal
from explore_rl.types import Group

MOST = 4  # times prompts_per_step that one round draws at most


class DynamicSampling(Strategy):
    """Fills the step's batch with groups that have signal, within the rounds that the config allows."""

    name = "dynamic_sampling"
    reads_policy = False
    biases = "which groups it keeps follows from what was drawn"

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        algorithm = context.config.algorithm
        so_far = context.kept.setdefault("so far", {"draws": 0, "drawn": 0, "kept": 0, "pulling": 0})
        pulling = [group for group in groups if has_signal(group, context.free_terms)]
        counted = pulling[: algorithm.prompts_per_step - so_far["kept"]]  # no more than the batch holds
        so_far["draws"] += 1
        so_far["drawn"] += len(groups)
        so_far["pulling"] += len(pulling)
        so_far["kept"] += len(counted)
        rate = so_far["pulling"] / max(so_far["drawn"], 1)
        context.metrics["keep_rate"] = rate
        context.metrics["draws"] = float(so_far["draws"])

        missing = algorithm.prompts_per_step - so_far["kept"]
        if so_far["draws"] > algorithm.dynamic_sampling_rounds or not missing:
            return counted, 0
        wanted = math.ceil(missing / rate) if rate else algorithm.prompts_per_step
        return counted, min(wanted, MOST * algorithm.prompts_per_step)
