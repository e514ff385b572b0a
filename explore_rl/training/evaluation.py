"""Measuring during training: unbiased pass@k on held-out problems and, in the laboratory, exact audits of support."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.pass_at_k import pass_at_k
from explore_rl.config.schema import Config
from explore_rl.models import resolve_model
from explore_rl.objectives.readouts import VALUE
from explore_rl.objectives.values import explained_variance
from explore_rl.problems.loading import load_problems
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.training.evaluation_sets import HELDOUT, EvaluationSet
from explore_rl.training.metrics import of_audit, of_evaluation
from explore_rl.training.rows import sequence_of
from explore_rl.types import Problem, Request, Rollout, Status, Verdict
from explore_rl.verifiers.pool import Item


@dataclass(frozen=True)
class Means:
    """What evaluations use of a run.

    tokenizer: the policy's.
    encode_prompt: a problem's prompt as token ids.
    generate: draws completions with the current weights.
    verify: a verdict for each item.
    read: readouts of sequences under the current weights, as Learner.read.
    critic: whether there is a critic to read.
    append: adds a record to a file of the run's folder.
    keep: keeps the rollouts of an evaluation: keep(steps done, name of the set, rows=records.SAMPLE_COLUMNS).
    """

    tokenizer: Any
    encode_prompt: Callable[[Problem], np.ndarray]
    generate: Callable[[list[Request]], list[Rollout]]
    verify: Callable[[list[Item]], list[Verdict]]
    read: Callable[..., list[tuple[np.ndarray, ...]]]
    critic: bool
    append: Callable[[str, dict[str, Any]], None]
    keep: Callable[..., None] = lambda step, name, *, rows: None


class Evaluations:
    """What is due at which step; records go to evaluations.jsonl and exact.jsonl with the number of steps done."""

    def __init__(self, config: Config, sets: list[EvaluationSet], *, means: Means):
        self.config = config
        self.sets = sets
        self.means = means
        self.report: Callable[[int, dict[str, float]], None] = lambda step, metrics: None  # to a tracker
        self.exact: ExactAudits | None = ExactAudits(config, means) if config.run.exact_every else None

    def run_if_due(self, step: int) -> None:
        """What the config asks for after `step` steps; after the last step all that it asks for at all."""
        settings = self.config.run
        is_last = step == settings.steps

        def is_due(every: int) -> bool:
            return bool(every) and (is_last or step % every == 0)

        due = [one for one in self.sets if is_due(one.every)]
        self.run(step, sets=due, exact=is_due(settings.exact_every))

    def run(self, step: int, *, sets: list[EvaluationSet] | None = None, exact: bool | None = None) -> None:
        """Measures the state after `step` steps.

        sets: to draw on; None: all that there are.
        exact: whether to make the exact audit; None: if the config ever asks for it.
        """
        for one in self.sets if sets is None else sets:
            evaluation = self.sampled(one, step)
            self.means.append("evaluations.jsonl", {"step": step, **evaluation})
            self.report(step, of_evaluation(evaluation))
        if self.exact is not None and (exact is None or exact):
            audit = self.exact.audit(step)
            self.means.append("exact.jsonl", {"step": step, **audit})
            self.report(step, of_audit(audit))

    def sampled(self, one: EvaluationSet, step: int) -> dict[str, Any]:
        """Unbiased pass@k on a set, for k = 1, 2, 4, ... up to its draws a problem, whole and by benchmark."""
        rollouts = self.means.generate(self.requests(one, step))
        items = [Item(one.problems[r.request.group], r.text, r.truncated) for r in rollouts]
        verdicts = self.means.verify(items)
        self.means.keep(
            step, one.name, rows=[_row(*both, one=one, step=step) for both in zip(rollouts, verdicts, strict=True)]
        )

        # A timeout or an error is no evidence either way: that draw does not count.
        drawn = np.zeros(len(one.problems), dtype=int)
        correct = np.zeros(len(one.problems), dtype=int)
        for rollout, verdict in zip(rollouts, verdicts, strict=True):
            if verdict.status not in (Status.TIMEOUT, Status.ERROR):
                drawn[rollout.request.group] += 1
                correct[rollout.request.group] += verdict.status is Status.CORRECT

        benchmarks = np.array([problem.benchmark or "" for problem in one.problems])
        names = sorted(set(benchmarks.tolist()))
        by_benchmark = {
            name: _passes(drawn[benchmarks == name], correct[benchmarks == name], n=one.n) for name in names
        }
        return {
            "set": one.name,
            "problems": len(one.problems),
            "samples": int(drawn.sum()),
            "excluded": int(one.n * len(one.problems) - drawn.sum()),
            **_passes(drawn, correct, n=one.n),
            **(self.critic_on(rollouts, verdicts) if self.means.critic else {}),
            **({"benchmarks": by_benchmark} if len(names) > 1 else {}),
        }

    def critic_on(self, rollouts: list[Rollout], verdicts: list[Verdict]) -> dict[str, float]:
        """How much of the scores' variance the critic's values explain; nothing where they do not vary.

        explained_variance: over all tokens. explained_variance_last: over the last token of each draw.
        """
        judged = [
            (rollout, verdict.score)
            for rollout, verdict in zip(rollouts, verdicts, strict=True)
            if verdict.score is not None and len(rollout.tokens)
        ]
        if len({score for _, score in judged}) < 2:
            return {}
        read = self.means.read([sequence_of(rollout) for rollout, _ in judged], (VALUE,), model="critic")
        values = [value for (value,) in read]
        scores = [np.full(len(rollout.tokens), score) for rollout, score in judged]
        lasts = [np.array([column[-1] for column in columns]) for columns in (values, scores)]
        return {
            "explained_variance": explained_variance(np.concatenate(values), np.concatenate(scores)),
            "explained_variance_last": explained_variance(*lasts),
        }

    def requests(self, one: EvaluationSet, step: int) -> list[Request]:
        """The draws from each problem of a set, with seeds of their own for each set and step."""
        stream = ("evaluate",) if one.name == HELDOUT else ("evaluate", one.name)
        requests = []
        for group, problem in enumerate(one.problems):
            for index in range(one.n):
                requests.append(
                    Request(
                        problem=problem.id,
                        group=group,
                        prompt_ids=self.means.encode_prompt(problem),
                        seed=hashed_seed(self.config.seed, *stream, step, group, index),
                        max_tokens=one.max_new_tokens,
                        temperature=one.temperature,
                        top_p=one.top_p,
                    )
                )
        return requests


def _passes(drawn: np.ndarray, correct: np.ndarray, *, n: int) -> dict[str, float]:
    """pass@k by its name. drawn, correct: int [problems]; each k is averaged over those with at least k draws."""
    passes = {}
    for k in (2**i for i in range(n.bit_length())):
        enough = drawn >= k
        if enough.any():
            passes[f"pass@{k}"] = float(np.mean(pass_at_k(drawn[enough], correct[enough], k=k)))
    return passes


def _row(rollout: Rollout, verdict: Verdict, *, one: EvaluationSet, step: int) -> dict[str, Any]:
    """The record of a draw, as analysis.records.SAMPLE_COLUMNS."""
    problem = one.problems[rollout.request.group]
    no_evidence = verdict.status in (Status.TIMEOUT, Status.ERROR)
    return {
        "problem_id": problem.id,
        "correct": None if no_evidence else verdict.status is Status.CORRECT,
        "benchmark": problem.benchmark,
        "answer": verdict.answer,
        "mode": verdict.mode,
        "verdict": verdict.status.value,
        "completion": rollout.text,
        "num_tokens": len(rollout.tokens),
        "model": f"step {step}",
        "temperature": one.temperature,
        "top_p": one.top_p,
        "max_tokens": one.max_new_tokens,
        "finish_reason": rollout.finish_reason,
    }


def any_end(audit: Any) -> dict[str, Any]:
    """pass@k whatever ends an answer, where answers end with a newline; nothing elsewhere."""
    success = audit.success_any_end
    return {} if success is None else {"any_end": {"pass@1": float(np.mean(success))}}


class ExactAudits:
    """Exact audits against the base model: the learner scores every correct answer of the audit problems.

    base: the base model's audit, made when it is first needed.
    """

    def __init__(self, config: Config, means: Means):
        from explore_rl.lab import exact, readings

        self.config = config
        self.means = means
        self.lab = exact
        self.readings = readings
        self.problems = load_problems(config.run.exact_problems)
        self.pairs, self.index = exact.sequences(self.problems, means.tokenizer)
        self.base: Any = None

    def audit(self, step: int) -> dict[str, Any]:
        """The state after `step` steps: exact pass@k, region masses, and support against the base model's.

        Support says, at each threshold, how much of the base's is preserved, lost and gained.
        """
        # Teacher forcing: every correct answer is scored as it stands.
        temperature = self.config.rollout.temperature
        readouts = self.readings.readouts_for(self.problems, self.means.tokenizer, temperature=temperature)
        values = self.means.read(self.readings.asked(self.pairs), readouts)
        now = self.readings.audit_from(self.problems, self.index, pairs=self.pairs, values=values)

        # Before the first step the learner still is the base model.
        if self.base is None:
            self.base = now if step == 0 else self.base_audit()
        comparison = self.lab.compare(self.base, now)
        return {
            "pass_at_k": comparison["pass_at_k"]["tuned"],
            **any_end(now),
            "regions": {name: region["mass"] for name, region in comparison["regions"]["tuned"].items()},
            "support": {unit: comparison["support"][unit] for unit in ("problem", "mode")},
            "support_by_region": comparison["support_by_region"],
        }

    def base_audit(self) -> Any:
        """The initial checkpoint scored again: after a resume the learner no longer holds it."""
        from explore_rl.lab.audits import audit_of

        base = resolve_model(self.config.model.path)
        return audit_of(base, self.problems, temperature=self.config.rollout.temperature)
