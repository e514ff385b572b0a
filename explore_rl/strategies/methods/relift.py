"""ReLIFT (arXiv 2506.07527): problems that failed are buffered, and a full buffer is learnt from traces in one go.

Acts at: inject (it notes which groups failed), keep (the full buffer's traces join the batch as groups of their own),
terms, state (the buffer).

    loss = GRPO's + coefficient mean over the buffer of -log pi(trace)       in the step that fills the buffer

The paper takes a step of its own for it, with an optimizer of its own. Here both are one step of one optimizer.
"""

from __future__ import annotations

from typing import Any

from explore_rl.config.schema import Config
from explore_rl.objectives import losses
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Trial
from explore_rl.strategies.trace_options import FromTraces
from explore_rl.strategies.traces import chosen_groups, without_success
from explore_rl.types import Group


class Relift(FromTraces):
    """Learns failed problems from traces, a buffer at a time.

    size: problems that fill the buffer.
    coefficient: the likelihood's weight.
    rate, traces, which, regions, leave_out: see `trace_options.FromTraces`.
    """

    name = "relift"
    reads_policy = False
    turn = "last"  # its groups are no draws: dynamic sampling has filled the batch before
    biases = "it adds what the draws failed at"
    trial = Trial(on={"size": 2}, off={"size": 2, "rate": 0.0})

    def __init__(self, *, size: int = 16, coefficient: float = 1.0, **options):
        super().__init__(**options)
        self.size = parameters.whole("size", size, least=1)
        self.coefficient = parameters.number("coefficient", coefficient, above=0)
        self.buffer: list[str] = []  # ids of problems, in the order in which they failed

    def terms(self, config: Config) -> list[LossTerm]:
        name = self.term_name("relift")
        return [LossTerm(name=name, function=losses.likelihood, normaliser=name)]

    def inject(self, groups: list[Group], context: StepContext) -> None:
        chosen = chosen_groups(groups, self.rate, context=context)
        for group, use in zip(groups, chosen, strict=True):
            fresh = group.samples and group.problem.id not in self.buffer
            if use and fresh and without_success(group) and self.source.of(group.problem):
                self.buffer.append(group.problem.id)
        context.metrics["buffered"] = float(len(self.buffer))

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        if len(self.buffer) < self.size:
            return groups, 0
        by_id = {problem.id: problem for problem in context.problems}
        taken = [Group(by_id[name], []) for name in self.buffer if name in by_id]
        self.buffer = []
        self.source.prepare([group.problem for group in taken], context)
        wanted = dict.fromkeys(range(len(taken)), 1)
        for index, picked in self.source.pick(taken, wanted, context=context).items():
            for usable in picked:
                sample = self.source.sample(taken[index], index, usable=usable, context=context, in_baseline=False)
                sample.terms = {self.term_name("relift"): self.coefficient}
                taken[index].samples.append(sample)
        joined = [group for group in taken if group.samples]
        context.metrics |= {"imitated": float(len(joined)), **self.source.metrics()}
        return groups + joined, 0

    def state(self) -> dict[str, Any]:
        return {"buffer": self.buffer}

    def load_state(self, state: dict[str, Any]) -> None:
        self.buffer = list(state["buffer"])
