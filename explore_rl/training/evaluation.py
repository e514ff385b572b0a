"""Measuring during training: unbiased pass@k on held-out problems and, in the laboratory, exact audits of support."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.pass_at_k import pass_at_k
from explore_rl.config.schema import Config
from explore_rl.models import resolve_model
from explore_rl.objectives.readouts import logprob
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
    read: readouts of sequences under the current weights, as Learner.read.
    append: adds a record to a file of the run's folder.
    """

    tokenizer: Any
    encode_prompt: Callable[[Problem], np.ndarray]
    generate: Callable[[list[Request]], list[Rollout]]
    verify: Callable[[list[Item]], list[Verdict]]
    read: Callable[..., list[tuple[np.ndarray, ...]]]
    append: Callable[[str, dict[str, Any]], None]


class Evaluations:
    """What is due at which step; records go to evaluations.jsonl and exact.jsonl with the number of steps done."""

    def __init__(self, config: Config, heldout: list[Problem], *, means: Means):
        self.config = config
        self.heldout = heldout
        self.means = means
        self.report: Callable[[int, dict[str, float]], None] = lambda step, metrics: None  # to a tracker
        self.exact: ExactAudits | None = ExactAudits(config, means) if config.run.exact_every else None

    def run_if_due(self, step: int) -> None:
        """What the config asks for after `step` steps; after the last step all that it asks for at all."""
        settings = self.config.run
        is_last = step == settings.steps

        def is_due(every: int) -> bool:
            return bool(every) and (is_last or step % every == 0)

        self.run(step, sampled=is_due(settings.evaluate_every), exact=is_due(settings.exact_every))

    def run(self, step: int, *, sampled: bool | None = None, exact: bool | None = None) -> None:
        """Measures the state after `step` steps.

        sampled: whether to draw on the held-out problems; None: if the config ever asks for it.
        exact: whether to make the exact audit; None: if the config ever asks for it.
        """
        if self.config.run.evaluate_every if sampled is None else sampled:
            evaluation = self.sampled(step)
            self.means.append("evaluations.jsonl", {"step": step, **evaluation})
            self.report(step, of_evaluation(evaluation))
        if self.exact is not None and (exact is None or exact):
            audit = self.exact.audit(step)
            self.means.append("exact.jsonl", {"step": step, **audit})
            self.report(step, of_audit(audit))

    def sampled(self, step: int) -> dict[str, Any]:
        """Unbiased pass@k on the held-out problems, for k = 1, 2, 4, ... up to the number of samples."""
        n = self.config.run.evaluate_samples
        rollouts = self.means.generate(self.requests(step, n))
        verdicts = self.means.verify([Item(self.heldout[r.request.group], r.text, r.truncated) for r in rollouts])

        # A timeout or an error is no evidence either way: that draw does not count.
        drawn = np.zeros(len(self.heldout), dtype=int)
        correct = np.zeros(len(self.heldout), dtype=int)
        for rollout, verdict in zip(rollouts, verdicts, strict=True):
            if verdict.status not in (Status.TIMEOUT, Status.ERROR):
                drawn[rollout.request.group] += 1
                correct[rollout.request.group] += verdict.status is Status.CORRECT

        # Each k is averaged over the problems with at least k draws that count.
        passes = {}
        for k in (2**i for i in range(n.bit_length())):
            enough = drawn >= k
            if enough.any():
                passes[f"pass@{k}"] = float(np.mean(pass_at_k(drawn[enough], correct[enough], k)))
        return {
            "problems": len(self.heldout),
            "samples": int(drawn.sum()),
            "excluded": int(n * len(self.heldout) - drawn.sum()),
            **passes,
        }

    def requests(self, step: int, n: int) -> list[Request]:
        """`n` draws from each held-out problem, with seeds of their own for each step."""
        rollout = self.config.rollout
        requests = []
        for group, problem in enumerate(self.heldout):
            for index in range(n):
                requests.append(
                    Request(
                        problem=problem.id,
                        group=group,
                        prompt_ids=self.means.encode_prompt(problem),
                        seed=hashed_seed(self.config.seed, "evaluate", step, group, index),
                        max_tokens=rollout.max_new_tokens,
                        temperature=rollout.temperature,
                    )
                )
        return requests


class ExactAudits:
    """Exact audits against the base model: the learner scores every correct answer of the audit problems.

    base: the base model's audit, made when it is first needed.
    """

    def __init__(self, config: Config, means: Means):
        from explore_rl.lab import exact, problems

        self.config = config
        self.means = means
        self.lab = exact
        self.problems = problems.load(config.run.exact_problems)
        self.pairs, self.index = exact.sequences(self.problems, means.tokenizer)
        self.base: Any = None

    def audit(self, step: int) -> dict[str, Any]:
        """The state after `step` steps: exact pass@k, region masses, and support against the base model's.

        Support says, at each threshold, how much of the base's is preserved, lost and gained.
        """
        # Teacher forcing: every correct answer is scored as it stands.
        sequences = [(np.array(prompt + answer, dtype=np.int32), len(prompt)) for prompt, answer in self.pairs]
        read = self.means.read(sequences, (logprob(self.config.rollout.temperature),))
        logprobs = [values.sum(dtype=np.float64) for (values,) in read]
        now = self.lab.summarise(self.problems, self.index, logprobs=logprobs)

        # Before the first step the learner still is the base model.
        if self.base is None:
            self.base = now if step == 0 else self.base_audit()
        comparison = self.lab.compare(self.base, now)
        return {
            "pass_at_k": comparison["pass_at_k"]["tuned"],
            "regions": {name: region["mass"] for name, region in comparison["regions"]["tuned"].items()},
            "support": {unit: comparison["support"][unit] for unit in ("problem", "mode")},
            "support_by_region": comparison["support_by_region"],
        }

    def base_audit(self) -> Any:
        """The initial checkpoint scored again: after a resume the learner no longer holds it."""
        from explore_rl.lab.audits import audit_of

        base = resolve_model(self.config.model.path)
        return audit_of(base, self.problems, temperature=self.config.rollout.temperature)
