"""A diversity bonus from counts of final answers (outcome-based exploration, arXiv 2509.06941).

Acts at: advantage. That is after normalisation, so that groups whose rewards are all equal still get the bonus, and no
spread rescales it.

With N(x, a) the number of times that answer a was given to problem x before this batch:

    ucb            b = min(1, sqrt(1 / N)), and 1 for an answer never given before
    ucb_constant   b = min(1, sqrt(1 / N)) - b0          negative after 1/b0^2 visits, 4 at b0 = .5
    batch          b_i = -(1/n) #{j != i in the group : a_j = a_i}

Answers are the verifier's modes where it knows them (writings of one solution count as one), else the extracted
answers. A sample without an answer, or with an error, earns no bonus. The counts of earlier batches do nothing on a
problem that is never met again; so the share of problems met before is logged.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy
from explore_rl.types import Group, Sample

KINDS = ("ucb", "ucb_constant", "batch")


class DiversityBonus(Strategy):
    """Adds the bonus to the advantages.

    coefficient: multiplies the bonus.
    kind: "ucb", "ucb_constant" or "batch", see above.
    b0: the constant baseline of ucb_constant, .5 if not given.
    """

    name = "diversity_bonus"
    reads_policy = False
    acts_on_draws = True

    def __init__(self, *, coefficient: float = 0.2, kind: str = "ucb_constant", b0: float | None = None):
        self.coefficient = parameters.number("coefficient", coefficient)
        self.kind = parameters.choice("kind", kind, choices=KINDS)
        if kind != "ucb_constant" and b0 is not None:
            raise ValueError(f"b0={b0!r} has no effect with kind={kind}")
        self.b0 = parameters.share("b0", 0.5 if b0 is None else b0)
        if kind == "batch":
            self.biases = "kind=batch looks at the other draws of a group, whoever made them"
        self.counts: dict[str, Counter[str]] = {}  # problem -> answer -> times given, before the current batch

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        revisited = sum(g.problem.id in self.counts for g in groups) / len(groups)
        bonuses = []
        for group in groups:
            rewarded = [(sample, answer) for sample, answer in drawn_answers(group) if sample.reward is not None]
            in_group = Counter(answer for _, answer in rewarded)
            for sample, answer in rewarded:
                bonus = self.bonus(group.problem.id, answer, in_group=in_group[answer], group_size=len(group.samples))
                sample.advantage += self.coefficient * bonus
                bonuses.append(bonus)
        # Only now, since N excludes the current batch.
        for group in groups:
            counts = self.counts.setdefault(group.problem.id, Counter())
            counts.update(answer for _, answer in drawn_answers(group))
        context.metrics |= {
            "revisited": revisited,
            "bonus_mean": sum(bonuses) / len(bonuses) if bonuses else 0.0,
            "rewarded": float(len(bonuses)),
        }

    def bonus(self, problem: str, answer: str, *, in_group: int, group_size: int) -> float:
        """b of one sample.

        problem: the problem's id.
        answer: as `answer_of` gives it.
        in_group: samples of its group with the same answer, the sample itself included.
        group_size: n.
        """
        if self.kind == "batch":
            return -(in_group - 1) / group_size
        seen = self.counts.get(problem, {}).get(answer, 0)
        bonus = min(1.0, math.sqrt(1 / seen) if seen else 1.0)
        return bonus - (self.b0 if self.kind == "ucb_constant" else 0.0)

    def state(self) -> dict[str, Any]:
        return {"counts": {problem: dict(counts) for problem, counts in self.counts.items()}}

    def load_state(self, state: dict[str, Any]) -> None:
        self.counts = {problem: Counter(counts) for problem, counts in state["counts"].items()}


def answer_of(sample: Sample) -> str | None:
    """The class whose visits are counted; None where there is no evidence about an answer."""
    return (sample.verdict.mode or sample.verdict.answer) if sample.verdict.is_evidence else None


def drawn_answers(group: Group) -> list[tuple[Sample, str]]:
    """The samples that an engine drew (no traces) and that gave an answer, with the answer."""
    answered = []
    for sample in group.samples:
        answer = answer_of(sample)
        if answer is not None and sample.rollout.drawn:
            answered.append((sample, answer))
    return answered
