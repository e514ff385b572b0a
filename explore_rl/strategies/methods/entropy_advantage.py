"""The entropy advantage (arXiv 2506.14758): tokens drawn where the policy was unsure count more.

Acts at: keep, last of all, when every other strategy has changed the advantages that it would; it writes advantages per
token. With H_t the entropy of the distribution that token t was drawn from, at the start of the step,

    A_t' = A_t + min(alpha H_t, |A_t| / kappa)

kappa > 1 keeps the sign of every advantage, and a token without advantage gets none.
"""

from __future__ import annotations

import numpy as np

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT
from explore_rl.types import Group


class EntropyAdvantage(Strategy):
    """Adds the entropy to the advantages of tokens.

    alpha: advantage a nat; 0: GRPO.
    kappa: the bonus is at most |A| / kappa.
    """

    name = "entropy_advantage"
    acts_on_draws = True
    turn = "last"
    trial = Trial(off={"alpha": 0.0})
    biases = "what it adds has no mean of zero"

    def __init__(self, *, alpha: float = 0.4, kappa: float = 2.0):
        self.alpha = parameters.number("alpha", alpha, least=0)
        self.kappa = parameters.number("kappa", kappa, above=1)

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        added = []
        for sample in (s for g in groups for s in g.samples) if self.alpha else []:
            if POLICY_GRADIENT not in sample.terms or "entropy" not in sample.columns or sample.reward is None:
                continue
            # As the rows have it, whoever wrote it: a scalar or a column.
            worth = np.asarray(sample.columns.get("advantage", sample.advantage), dtype=np.float32)
            bonus = np.minimum(self.alpha * sample.columns["entropy"], np.abs(worth) / self.kappa)
            sample.columns["advantage"] = (worth + bonus).astype(np.float32)
            added.append(bonus)
        context.metrics["bonus_mean"] = float(np.concatenate(added).mean()) if added else 0.0
        return groups, 0
