"""PBA (arXiv 2607.20543): a KL to the base, but on boundary problems alone, where the base can do it now and then.

Acts at: advantage (the boundary groups' rows of the policy gradient feed the term), terms. From draws of the base that
were made beforehand, n of a problem and c of them right, a problem is at the boundary if

    c / n < most   and   pass@k > reach       (.1 and pass@256 > .4 in the paper; pass@k is the unbiased estimate)

There loss = coefficient KL(pi, base) joins, by the estimator k2. It preserves; it cannot discover.
"""

from __future__ import annotations

import numpy as np

from analysis.errors import InputError
from analysis.pass_at_k import pass_at_k
from analysis.readers import load
from explore_rl.config.schema import Config
from explore_rl.objectives import divergences
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Needs, StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT
from explore_rl.strategies.builtin.kl import base_logprob, feed_beside_policy_gradient
from explore_rl.types import Group, Problem


class Pba(Strategy):
    """Holds boundary problems where the base has them.

    base: records or counts of the base's draws on the training problems (`explore-rl sample`).
    coefficient: the KL's weight; 0: GRPO.
    most: share of the draws that are right, below which a problem can be at the boundary.
    k, reach: pass@k above which it is.
    """

    name = "pba"
    reads_policy = False
    regulariser = True
    trial = Trial()

    def __init__(self, *, base: str, coefficient: float = 0.05, most: float = 0.1, k: int = 256, reach: float = 0.4):
        self.base = parameters.text("base", base) or ""
        self.coefficient = parameters.number("coefficient", coefficient, least=0)
        self.most, self.reach = parameters.share("most", most), parameters.share("reach", reach)
        self.k = parameters.whole("k", k, least=2)
        self.boundary: frozenset[str] = frozenset()  # read anew from the file by every `check`

    def needs(self, config: Config) -> Needs:
        return Needs(columns=(base_logprob(config),))

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        found = load([self.base])
        known = np.isin(found.problem_ids, [problem.id for problem in problems])
        found = found.subset(known)
        if len(found) < len({problem.id for problem in problems}):
            raise InputError(f"strategies: pba: {self.base}: holds draws of {len(found)} of {len(problems)} problems")
        if found.n.min() < self.k:
            raise InputError(
                f"strategies: pba: {self.base}: {found.n.min()} draws of a problem; pass@{self.k} wants more"
            )
        seldom = found.correct / found.n < self.most
        at_boundary = seldom & (pass_at_k(found.n, found.correct, k=self.k) > self.reach)
        self.boundary = frozenset(name for name, held in zip(found.problem_ids, at_boundary, strict=True) if held)
        if not self.boundary:
            raise InputError("strategies: pba: no training problem is at the boundary; lower reach, or raise most")

    def terms(self, config: Config) -> list[LossTerm]:
        name = self.term_name("pba")
        return [LossTerm(name=name, function=divergences.k2, columns=("base_logprob",), normaliser=POLICY_GRADIENT)]

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        held = [group for group in groups if group.problem.id in self.boundary]
        if self.coefficient:
            feed_beside_policy_gradient(held, self.term_name("pba"), coefficient=self.coefficient)
        context.metrics["boundary_groups"] = len(held) / len(groups)
