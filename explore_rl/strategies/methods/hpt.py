"""HPT, hybrid post-training (arXiv 2509.04419): what the policy solves is reinforced, what it fails is imitated.

Acts at: inject (it sees which groups failed), terms. With P the share of a group's draws that are right,

    P > gate     the policy gradient alone
    P <= gate    likelihood of a trace alone: the group's draws teach nothing
"""

from __future__ import annotations

from explore_rl.config.schema import Config
from explore_rl.objectives import losses
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Trial
from explore_rl.strategies.in_group import right
from explore_rl.strategies.trace_options import FromTraces
from explore_rl.strategies.traces import chosen_groups
from explore_rl.types import Group


class Hpt(FromTraces):
    """Switches each group between policy gradient and likelihood.

    gate: largest share of right draws at which a group is imitated; 0 in the paper: where all failed.
    coefficient: the likelihood's weight.
    rate, traces, which, regions, leave_out: see `trace_options.FromTraces`.
    """

    name = "hpt"
    biases = "which groups it switches follows from what was drawn"
    trial = Trial(off={"rate": 0.0})

    def __init__(self, *, gate: float = 0.0, coefficient: float = 1.0, **options):
        super().__init__(**options)
        self.gate = parameters.share("gate", gate)
        self.coefficient = parameters.number("coefficient", coefficient, above=0)

    def terms(self, config: Config) -> list[LossTerm]:
        name = self.term_name("hpt_likelihood")
        return [LossTerm(name=name, function=losses.likelihood, normaliser=name)]

    def inject(self, groups: list[Group], context: StepContext) -> None:
        self.source.prepare([g.problem for g in groups], context)
        chosen = chosen_groups(groups, self.rate, context=context)
        wanted = {i: 1 for i, group in enumerate(groups) if chosen[i] and self._failed(group)}
        imitated = 0
        for index, picked in self.source.pick(groups, wanted, context=context).items():
            group = groups[index]
            for usable in picked:
                for sample in group.samples:
                    if sample.rollout.drawn:  # another's trace goes on being learnt
                        sample.terms = {}
                trace = self.source.sample(group, index, usable=usable, context=context, in_baseline=False)
                trace.terms = {self.term_name("hpt_likelihood"): self.coefficient}
                group.samples.append(trace)
                imitated += 1
        context.metrics["imitated"] = context.metrics.get("imitated", 0.0) + imitated
        context.metrics |= self.source.metrics()

    def _failed(self, group: Group) -> bool:
        own = [s for s in group.samples if s.rollout.drawn and s.rollout.request.in_baseline]
        return bool(own) and float(right(own).mean()) <= self.gate
