"""BREAD (arXiv 2506.17211): where all draws failed, branches start from an expert's prefix that is just long enough.

Acts at: plan, in rounds. For a group without success one trace is taken, and prefixes of it are tried: half of it
first; where all branches fail the half of what is left is added, so that the prefix bisects towards the whole trace. It
ends with the first success, or after `attempts`. The branches join the group. The prefix is given and teaches nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Trial
from explore_rl.strategies.prefixes import beginning, go_on, traces_of_failed
from explore_rl.strategies.trace_options import FromTraces
from explore_rl.strategies.traces import UsableTrace, without_success
from explore_rl.types import Group, Request


@dataclass
class Branch:
    """Of one group. share: of the trace, that was tried last."""

    trace: UsableTrace
    share: float = 0.0


class Bread(FromTraces):
    """Branches from prefixes where the draws failed.

    branches: draws of an attempt.
    attempts: prefixes that are tried at most.
    rate, traces, which, regions, leave_out: see `trace_options.FromTraces`; rate 0: GRPO.
    """

    name = "bread"
    biases = "it branches where the draws failed"
    trial = Trial(on={"branches": 2}, off={"rate": 0.0})

    def __init__(self, *, branches: int = 4, attempts: int = 3, **options):
        super().__init__(**options)
        self.branches = parameters.whole("branches", branches, least=1)
        self.attempts = parameters.whole("attempts", attempts, least=1)

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round == 0 or round > self.attempts:
            return requests
        if round == 1:
            failed = traces_of_failed(self, groups, context=context)
            context.kept["trees"] = {index: Branch(trace) for index, trace in failed.items()}
        trees: dict[int, Branch] = context.kept["trees"]
        wanted = []
        for index, branch in trees.items():
            if without_success(groups[index]):
                branch.share += (1 - branch.share) / 2
                prefix = beginning(branch.trace.tokens, branch.share)
                request = go_on(groups[index], index, prefix=prefix, context=context)
                wanted += [request] * self.branches
        context.metrics["branched"] = context.metrics.get("branched", 0.0) + len(wanted)
        return requests + wanted
