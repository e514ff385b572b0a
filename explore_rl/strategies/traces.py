"""Choosing traces for a group: shared by trace injection and by the likelihood control, so that both learn from the same ones."""

from __future__ import annotations

import logging

import numpy as np

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies.base import StepContext, given
from explore_rl.types import Group, Problem, Request, Sample, Status, Trace, Verdict

log = logging.getLogger(__name__)

WHICH = ("uniform", "least_likely")
WHEN = ("always", "no_success")


class TraceSource:
    """The usable traces of each problem: tokenised once by the policy's own template, with the end token; verified once.

    A trace over the response budget is left out, never cut. One that the verifier finds wrong, or that the tokenizer cannot write, is
    reported and left out.

    traces: a JSON-lines or Parquet file of traces by problem id; None: the ones that the problems carry. which: "uniform", or
    "least_likely" under the current policy. regions, leave_out: keep only, or drop, traces with these region labels.
    """

    def __init__(self, traces: str | None, which: str, regions: list[str] | None, leave_out: list[str] | None):
        if which not in WHICH:
            raise ValueError(f"which={which!r}: expected one of {', '.join(WHICH)}")
        self.path, self.which, self.regions, self.leave_out = traces, which, regions, leave_out
        self.from_file: dict[str, tuple[Trace, ...]] | None = None
        self.usable: dict[str, list[tuple[Trace, tuple[int, ...], Verdict]]] = {}
        self.asked_again: set[str] = set()
        self.wrong = self.too_long = self.unwritable = self.unverified = 0

    def check(self, name: str, problems: list[Problem]) -> None:
        if self.path is not None:
            from explore_rl.problems.traces import load_traces

            self.from_file = load_traces(self.path)
        if not any(self.of(problem) for problem in problems):
            raise InputError(
                f"strategies: {name}: none of the training problems has a trace; give traces=FILE, or problems that carry some"
            )

    def of(self, problem: Problem) -> list[Trace]:
        traces = problem.traces if self.from_file is None else self.from_file.get(problem.id, ())
        return [
            t
            for t in traces
            if (self.regions is None or t.region in self.regions) and t.region not in (self.leave_out or ())
        ]

    def prepare(self, problems: list[Problem], context: StepContext) -> None:
        """Tokenises and verifies the traces of problems not met before."""
        fresh = [p for p in problems if p.id not in self.usable or p.id in self.asked_again]
        found = [
            (p, t, tokens) for p in fresh for t in self.of(p) if (tokens := self._encode(p, t, context)) is not None
        ]
        fitting = [entry for entry in found if len(entry[2]) <= context.config.rollout.max_new_tokens]
        self.too_long += len(found) - len(fitting)
        verdicts = context.verify([(p, t.text) for p, t, _ in fitting])
        again: set[str] = set()
        for problem in fresh:
            self.usable[problem.id] = []
        for (problem, trace, tokens), verdict in zip(fitting, verdicts, strict=True):
            if verdict.status is Status.CORRECT:
                self.usable[problem.id].append((trace, tokens, verdict))
            elif verdict.status in (
                Status.TIMEOUT,
                Status.ERROR,
            ):  # says nothing about the trace: asked again at the next visit
                self.unverified += 1
                again.add(problem.id)
            else:
                self.wrong += 1
                log.warning(
                    "problem %s: a trace from %s is left out: the verifier says %s %s",
                    problem.id,
                    trace.source,
                    verdict.status.value,
                    verdict.reason,
                )
        self.asked_again = self.asked_again - {p.id for p in fresh} | again

    def _encode(self, problem: Problem, trace: Trace, context: StepContext) -> tuple[int, ...] | None:
        try:
            return context.encode_completion(trace.text)
        except InputError as error:
            self.unwritable += 1
            log.warning("problem %s: a trace from %s is left out: %s", problem.id, trace.source, error)
            return None

    def pick(self, group: Group, count: int, context: StepContext) -> list[tuple[Trace, tuple[int, ...], Verdict]]:
        usable = self.usable[group.problem.id]
        if self.which == "uniform" or len(usable) <= count:
            order = context.rng.permutation(len(usable))
        else:
            prompt = context.encode_prompt(group.problem)
            sequences = [
                (np.array(prompt + t, dtype=np.int32), len(prompt), context.config.rollout.temperature)
                for _, t, _ in usable
            ]
            order = np.argsort([s.logprob.sum() for s in context.logprobs(sequences)], kind="stable")
        return [usable[i] for i in order[:count]]

    def sample(
        self,
        group: Group,
        index: int,
        trace: Trace,
        tokens: tuple[int, ...],
        verdict: Verdict,
        context: StepContext,
        in_baseline: bool,
    ) -> Sample:
        prompt = context.encode_prompt(group.problem)
        like = Request(
            group.problem.id,
            index,
            prompt,
            0,
            context.config.rollout.max_new_tokens,
            temperature=context.config.rollout.temperature,
        )
        rollout = given(group.problem, index, prompt, tokens, trace.text, "trace", like, in_baseline)
        return Sample(rollout, verdict, reward=verdict.score)

    def metrics(self) -> dict[str, float]:
        """Traces left out so far, since the process started."""
        return {
            "left_out_wrong": float(self.wrong),
            "left_out_too_long": float(self.too_long),
            "left_out_unwritable": float(self.unwritable),
            "left_out_unverified": float(self.unverified),
        }


def without_success(group: Group) -> bool:
    return not any(s.verdict.status is Status.CORRECT for s in group.samples)


def drop_for_traces(requests: list[Request], replaced: dict[int, int]) -> list[Request]:
    """Takes the last `replaced[group]` requests out of each group, so that a trace takes the place of a draw."""
    left = dict(replaced)
    kept = []
    for request in reversed(requests):
        if left.get(request.group, 0) > 0:
            left[request.group] -= 1
        else:
            kept.append(request)
    return kept[::-1]


def chosen_groups(groups: list[Group], rate: float, context: StepContext) -> list[bool]:
    """Which groups get a trace: each with probability `rate`, the same draw for the same step after a resume."""
    return list(context.rng.random(len(groups)) < rate)


def check_budget(name: str, per_group: int, config: Config) -> None:
    if not 1 <= per_group < config.algorithm.group_size:
        raise InputError(
            f"strategies: {name}: per_group={per_group}: expected at least 1 and below algorithm.group_size={config.algorithm.group_size}"
        )
