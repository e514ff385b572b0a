"""Choosing traces for a group.

Trace injection and the likelihood control share it, so that both learn from the same traces.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.objectives import readouts
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, given
from explore_rl.strategies.held_out import refuse_held_out
from explore_rl.types import Group, Problem, Request, Sample, Status, Trace, Verdict

log = logging.getLogger(__name__)

WHICH = ("uniform", "least_likely")
WHEN = ("always", "no_success")


@dataclass(frozen=True, eq=False)
class UsableTrace:
    """A trace that can stand in a group.

    problem: the one that it solves.
    trace: the text, and who wrote it.
    tokens: its token ids, end token included, int32.
    verdict: CORRECT, as the verifier found it.
    """

    problem: Problem
    trace: Trace
    tokens: np.ndarray
    verdict: Verdict


@dataclass(frozen=True)
class TraceBudget:
    """What a recipe says of its traces: `traces: FILE`, or `traces: {file: FILE, share_of_problems: 0.05, seed: 0}`.

    file: JSON lines or Parquet, by problem id; None: the traces that the problems carry.
    share_of_problems: of the training problems that have traces, so many keep them; drawn once, before training.
    seed: of that draw. It is not the run's seed, so that methods and seeds have the same problems taught.
    """

    file: str | None = None
    share_of_problems: float = 1.0
    seed: int = 0

    @classmethod
    def read(cls, value: object) -> TraceBudget:
        """Raises ValueError for anything else."""
        if not isinstance(value, Mapping):
            return cls(parameters.text("traces", value))
        known = {field.name for field in fields(cls)}
        if unknown := sorted(map(str, value.keys() - known)):
            raise ValueError(f"traces: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
        budget = cls(**value)
        parameters.text("traces.file", budget.file)
        parameters.whole("traces.seed", budget.seed, least=0)
        if not parameters.share("traces.share_of_problems", budget.share_of_problems):
            raise ValueError("traces.share_of_problems=0: no problem would have a trace; leave the strategy out")
        return budget

    def taught(self, ids: Sequence[str]) -> set[str]:
        """The problems that keep their traces, at least one: a larger share holds those of a smaller one."""
        if not ids:
            return set()
        order = np.random.default_rng(self.seed).permutation(len(ids))
        kept = order[: max(1, round(self.share_of_problems * len(ids)))]
        return {ids[int(i)] for i in kept}


class TraceSource:
    """The usable traces of each problem.

    They are tokenised once, by the policy's own template and with the end token, and verified once. A trace over the
    response budget is left out, never cut. One that the verifier finds wrong, or that the tokenizer cannot write, is
    reported and left out.

    traces: where they come from and how many there may be, as `TraceBudget` reads it.
    which: "uniform", or "least_likely" under the current policy.
    regions: keep only traces with these region labels; None: all.
    leave_out: drop traces with these region labels.
    """

    def __init__(self, traces: object, *, which: str, regions: list[str] | None, leave_out: list[str] | None):
        if which not in WHICH:
            raise ValueError(f"which={which!r}: expected one of {', '.join(WHICH)}")
        self.budget = TraceBudget.read(traces)
        self.taught: set[str] | None = None  # ids of the problems within the budget; None: all
        self.which = which
        self.regions = regions
        self.leave_out = leave_out
        self.name = "traces"  # the strategy's
        self.from_file: Mapping[str, Sequence[Trace]] | None = None
        self.usable: dict[str, list[UsableTrace]] = {}  # by problem id
        self.asked_again: set[str] = set()  # problems with a trace on which the verifier gave no evidence
        # Traces left out so far, by reason.
        self.wrong = 0
        self.too_long = 0
        self.unwritable = 0
        self.unverified = 0

    def check(self, name: str, problems: list[Problem], *, config: Config) -> None:
        """Reads the file of traces, and draws the problems that keep theirs. name: the strategy's.

        Raises InputError if no training problem has a trace, or if one that has is also judged on.
        """
        if self.budget.file is not None:
            from explore_rl.problems.traces import load_traces

            self.from_file = load_traces(self.budget.file)
        self.taught = None
        self.name = name
        taught = [problem for problem in problems if self.of(problem)]
        refuse_held_out(name, taught, config=config)
        if self.budget.share_of_problems < 1:
            self.taught = self.budget.taught([problem.id for problem in taught])
            taught = [problem for problem in taught if self.of(problem)]
        if not taught:
            raise InputError(
                f"strategies: {name}: none of the training problems has a trace; give traces=FILE,"
                " or problems that carry some"
            )

    def of(self, problem: Problem) -> list[Trace]:
        """The problem's traces in the chosen regions, usable or not; none outside the budget."""
        if self.taught is not None and problem.id not in self.taught:
            return []
        traces = problem.traces if self.from_file is None else self.from_file.get(problem.id, ())
        if self.regions is not None:
            traces = [t for t in traces if t.region in self.regions]
        return [t for t in traces if t.region not in (self.leave_out or ())]

    def prepare(self, problems: list[Problem], context: StepContext) -> None:
        """Tokenises and verifies the traces of problems not met before."""
        by_id = {p.id: p for p in problems}  # at the turn of an epoch a problem may come twice in a step
        fresh = [p for p in by_id.values() if p.id not in self.usable or p.id in self.asked_again]
        refuse_held_out(
            self.name, fresh, config=context.config
        )  # a problem may come from another strategy, not from the file

        # Tokenise; what does not fit the response budget is counted and left out.
        fitting: list[tuple[Problem, Trace, np.ndarray]] = []
        for problem in fresh:
            for trace in self.of(problem):
                tokens = self._encode(problem, trace, context=context)
                if tokens is None:
                    continue
                if len(tokens) > context.config.rollout.max_new_tokens:
                    self.too_long += 1
                else:
                    fitting.append((problem, trace, tokens))

        # Verify. A timeout or an error says nothing about the trace: it is verified again when next met.
        verdicts = context.verify([(problem, trace.text) for problem, trace, _ in fitting])
        without_evidence: set[str] = set()
        for problem in fresh:
            self.usable[problem.id] = []
        for (problem, trace, tokens), verdict in zip(fitting, verdicts, strict=True):
            if verdict.status is Status.CORRECT:
                self.usable[problem.id].append(UsableTrace(problem, trace, tokens, verdict))
            elif verdict.status in (Status.TIMEOUT, Status.ERROR):
                self.unverified += 1
                without_evidence.add(problem.id)
            else:
                self.wrong += 1
                log.warning(
                    "problem %s: a trace from %s is left out: the verifier says %s %s",
                    problem.id,
                    trace.source,
                    verdict.status.value,
                    verdict.reason,
                )
        self.asked_again = self.asked_again - {p.id for p in fresh} | without_evidence

    def _encode(self, problem: Problem, trace: Trace, *, context: StepContext) -> np.ndarray | None:
        try:
            return context.encode_completion(trace.text)
        except InputError as error:
            self.unwritable += 1
            log.warning("problem %s: a trace from %s is left out: %s", problem.id, trace.source, error)
            return None

    def pick(
        self, groups: list[Group], wanted: Mapping[int, int], *, context: StepContext
    ) -> dict[int, list[UsableTrace]]:
        """Usable traces of the groups' problems, chosen as `which` says.

        wanted: index of a group -> how many it gets at most.
        Returns index -> traces, for every index of `wanted`.
        """
        # After a resume it may be that another process prepared them: a draw that was begun is part of a checkpoint.
        unknown = [groups[index].problem for index in wanted if groups[index].problem.id not in self.usable]
        if unknown:
            self.prepare(unknown, context)
        usable = {index: self.usable[groups[index].problem.id] for index in wanted}
        scored = {}
        if self.which == "least_likely":
            scored = {index: usable[index] for index, count in wanted.items() if 0 < count < len(usable[index])}
        totals = self._totals(scored, context)
        picked = {}
        for index, count in wanted.items():
            if index in totals:
                order = np.argsort(totals[index], kind="stable")
            elif self.which == "uniform" or len(usable[index]) <= count:
                order = context.rng.permutation(len(usable[index]))
            else:  # none is wanted
                order = np.arange(0)
            picked[index] = [usable[index][i] for i in order[:count]]
        return picked

    def _totals(self, traces: Mapping[int, list[UsableTrace]], context: StepContext) -> dict[int, list[float]]:
        """Log-probability of every trace under the current policy; one call of the learner for all groups."""
        sequences = []
        for usable in itertools.chain.from_iterable(traces.values()):
            prompt = context.encode_prompt(usable.problem)
            sequences.append((np.concatenate([prompt, usable.tokens]), len(prompt)))
        if not sequences:
            return {}
        at_temperature = readouts.logprob(context.config.rollout.temperature)
        totals = iter([logprobs.sum() for (logprobs,) in context.read(sequences, [at_temperature])])
        return {index: list(itertools.islice(totals, len(group))) for index, group in traces.items()}

    def sample(
        self, group: Group, index: int, *, usable: UsableTrace, context: StepContext, in_baseline: bool
    ) -> Sample:
        """The trace as a sample of `group`.

        group: the one it joins.
        index: the group's number in the step.
        usable: the trace, encoded and verified.
        context: the step's.
        in_baseline: whether it counts for the group's baseline.
        """
        like = Request(
            problem=group.problem.id,
            group=index,
            prompt_ids=context.encode_prompt(group.problem),
            max_tokens=context.config.rollout.max_new_tokens,
            temperature=context.config.rollout.temperature,
        )
        rollout = given(like, tokens=usable.tokens, text=usable.trace.text, source="trace", in_baseline=in_baseline)
        return Sample(rollout, usable.verdict, reward=usable.verdict.score)

    def metrics(self) -> dict[str, float]:
        """Traces left out so far, since the process started."""
        return {
            "left_out_wrong": float(self.wrong),
            "left_out_too_long": float(self.too_long),
            "left_out_unwritable": float(self.unwritable),
            "left_out_unverified": float(self.unverified),
        }


def without_success(group: Group) -> bool:
    """Whether no draw of the group is correct; what another strategy has put into it does not count."""
    return not any(s.verdict.status is Status.CORRECT for s in group.samples if s.rollout.drawn)


def drop_for_traces(requests: list[Request], replaced: dict[int, int]) -> list[Request]:
    """Takes the last `replaced[group]` requests out of each group, so that a trace takes the place of a draw.

    A greedy one is no sample of the group, and stays.
    """
    still_to_drop = dict(replaced)
    kept = []
    for request in reversed(requests):
        if request.temperature and still_to_drop.get(request.group, 0) > 0:
            still_to_drop[request.group] -= 1
        else:
            kept.append(request)
    return kept[::-1]


def chosen_groups(groups: list[Group], rate: float, *, context: StepContext) -> list[bool]:
    """Which groups get a trace: each with probability `rate`, the same draw for the same step after a resume."""
    return list(context.rng.random(len(groups)) < rate)


def check_budget(name: str, per_group: int, *, config: Config) -> None:
    """Refuses so many traces a group that nothing would be drawn. Raises InputError."""
    group_size = config.algorithm.group_size
    if not 1 <= per_group < group_size:
        raise InputError(
            f"strategies: {name}: per_group={per_group}:"
            f" expected at least 1 and below algorithm.group_size={group_size}"
        )
