"""Measuring during training: unbiased pass@k on held-out problems and, in the laboratory, the exact audit of support over the steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.pass_at_k import pass_at_k
from explore_rl.config.schema import Config
from explore_rl.models import resolve_model
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.training.metrics import of_audit, of_evaluation
from explore_rl.types import Problem, Request, Rollout, Status, Verdict
from explore_rl.verifiers.pool import Item


@dataclass(frozen=True)
class Means:
    """What evaluations use of a run.

    tokenizer: the policy's.
    encode_prompt: a problem's prompt as token ids.
    generate: draws completions with the current weights.
    verify: a verdict for each item.
    logprobs: log-probabilities of (token ids, prompt length, temperature) each, under the current weights.
    append: adds a record to a file of the run's folder.
    """

    tokenizer: Any
    encode_prompt: Callable[[Problem], tuple[int, ...]]
    generate: Callable[[list[Request]], list[Rollout]]
    verify: Callable[[list[Item]], list[Verdict]]
    logprobs: Callable[[list[tuple[np.ndarray, int, float]]], list[Any]]
    append: Callable[[str, dict[str, Any]], None]


class Evaluations:
    """What is due at which step; records go to evaluations.jsonl and exact.jsonl with the number of steps done."""

    def __init__(self, config: Config, heldout: list[Problem], means: Means):
        self.config, self.heldout, self.means = config, heldout, means
        self.report: Callable[[int, dict[str, float]], None] = lambda step, metrics: None  # to a tracker
        self.exact: ExactAudits | None = ExactAudits(config, means) if config.run.exact_every else None

    def run_if_due(self, step: int) -> None:
        last, run = step == self.config.run.steps, self.config.run
        self.run(
            step,
            bool(run.evaluate_every) and (last or step % run.evaluate_every == 0),
            bool(run.exact_every) and (last or step % run.exact_every == 0),
        )

    def run(self, step: int, sampled: bool | None = None, exact: bool | None = None) -> None:
        """After `step` steps; None: whatever the config asks for at all."""
        if self.config.run.evaluate_every if sampled is None else sampled:
            found = self.sampled(step)
            self.means.append("evaluations.jsonl", {"step": step, **found})
            self.report(step, of_evaluation(found))
        if self.config.run.exact_every if exact is None else exact:
            found = self.exact.audit(step)
            self.means.append("exact.jsonl", {"step": step, **found})
            self.report(step, of_audit(found))

    def sampled(self, step: int) -> dict[str, Any]:
        """Unbiased pass@k, k = 1, 2, 4, ... up to the number of samples, over held-out problems with any evidence."""
        config, n = self.config, self.config.run.evaluate_samples
        requests = [
            Request(
                problem=p.id, group=g, prompt_ids=self.means.encode_prompt(p), max_tokens=config.rollout.max_new_tokens,
                seed=hashed_seed(config.seed, "evaluate", step, g, i), temperature=config.rollout.temperature,
            )
            for g, p in enumerate(self.heldout) for i in range(n)
        ]  # fmt: skip
        rollouts = self.means.generate(requests)
        verdicts = self.means.verify([Item(self.heldout[r.request.group], r.text, r.truncated) for r in rollouts])
        drawn, correct = np.zeros(len(self.heldout), dtype=int), np.zeros(len(self.heldout), dtype=int)
        for rollout, verdict in zip(rollouts, verdicts, strict=True):
            if verdict.status not in (Status.TIMEOUT, Status.ERROR):  # no evidence either way
                drawn[rollout.request.group] += 1
                correct[rollout.request.group] += verdict.status is Status.CORRECT
        found = {}
        for k in [2**i for i in range(n.bit_length()) if 2**i <= n]:
            enough = drawn >= k
            if enough.any():
                found[f"pass@{k}"] = float(np.mean(pass_at_k(drawn[enough], correct[enough], k)))
        return {
            "problems": len(self.heldout),
            "samples": int(drawn.sum()),
            "excluded": int(n * len(self.heldout) - drawn.sum()),
            **found,
        }


class ExactAudits:
    """Teacher-forces every correct answer of the audit problems through the learner, and compares with the base model's."""

    def __init__(self, config: Config, means: Means):
        from explore_rl.lab import exact, problems

        self.config, self.means, self.lab = config, means, exact
        self.problems = problems.load(config.run.exact_problems)
        self.pairs, self.index = exact.sequences(self.problems, means.tokenizer)
        self.base = None

    def audit(self, step: int) -> dict[str, Any]:
        """Exact pass@k, region masses, and what of the base's support is preserved, lost and gained at each threshold, after `step` steps."""
        temperature = self.config.rollout.temperature
        sequences = [
            (np.array(prompt + answer, dtype=np.int32), len(prompt), temperature) for prompt, answer in self.pairs
        ]
        logprobs = [score.logprob.sum(dtype=np.float64) for score in self.means.logprobs(sequences)]
        now = self.lab.summarise(self.problems, self.index, logprobs)
        if self.base is None:
            self.base = now if step == 0 else self.base_audit()
        found = self.lab.compare(self.base, now)
        return {
            "pass_at_k": found["pass_at_k"]["tuned"],
            "regions": {name: region["mass"] for name, region in found["regions"]["tuned"].items()},
            "support": {unit: found["support"][unit] for unit in ("problem", "mode")},
            "support_by_region": found["support_by_region"],
        }

    def base_audit(self) -> Any:
        """After a resume: the initial checkpoint scored afresh, since the learner no longer holds it."""
        from explore_rl.lab.audits import audit_of

        config = self.config
        return audit_of(resolve_model(config.model.path), self.problems, config.rollout.temperature)
