"""Measuring during training: unbiased pass@k on held-out problems and, in the laboratory, the exact audit of support over the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.pass_at_k import pass_at_k
from explore_rl.config import Config
from explore_rl.data_order import hashed_seed
from explore_rl.models import resolve_model
from explore_rl.tracking import of_audit, of_evaluation
from explore_rl.types import Problem, Request, Status
from explore_rl.verifiers.pool import Item

if TYPE_CHECKING:
    from explore_rl.trainer import Trainer


class Evaluations:
    """What is due at which step; records go to evaluations.jsonl and exact.jsonl with the number of steps done."""

    def __init__(self, config: Config, heldout: list[Problem], trainer: Trainer):
        self.config, self.heldout, self.trainer = config, heldout, trainer
        self.report: Callable[[int, dict[str, float]], None] = lambda step, metrics: None  # to a tracker
        self.exact: ExactAudits | None = ExactAudits(config, trainer) if config.run.exact_every else None

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
            self.trainer.folder.append("evaluations.jsonl", {"step": step, **found})
            self.report(step, of_evaluation(found))
        if self.config.run.exact_every if exact is None else exact:
            found = self.exact.audit()
            self.trainer.folder.append("exact.jsonl", {"step": step, **found})
            self.report(step, of_audit(found))

    def sampled(self, step: int) -> dict[str, Any]:
        """Unbiased pass@k, k = 1, 2, 4, ... up to the number of samples, over held-out problems with any evidence."""
        config, n = self.config, self.config.run.evaluate_samples
        requests = [
            Request(
                problem=p.id, group=g, prompt_ids=self.trainer.encode_prompt(p), max_tokens=config.rollout.max_new_tokens,
                seed=hashed_seed(config.seed, "evaluate", step, g, i), temperature=config.rollout.temperature,
            )
            for g, p in enumerate(self.heldout) for i in range(n)
        ]  # fmt: skip
        rollouts = self.trainer.generate(requests)
        verdicts = self.trainer.actors.verifiers.verify_all([Item(self.heldout[r.request.group], r.text, r.truncated) for r in rollouts])
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
        return {"problems": len(self.heldout), "samples": int(drawn.sum()), "excluded": int(n * len(self.heldout) - drawn.sum()), **found}


class ExactAudits:
    """Teacher-forces every correct answer of the audit problems through the learner, and compares with the base model's."""

    def __init__(self, config: Config, trainer: Trainer):
        from explore_rl.lab import exact, problems

        self.trainer, self.lab = trainer, exact
        self.problems = problems.load(config.run.exact_problems)
        self.pairs, self.index = exact.sequences(self.problems, trainer.tokenizer)
        self.base = None

    def audit(self) -> dict[str, Any]:
        """Exact pass@k, region masses, and what of the base's support is preserved, lost and gained at each threshold, now."""
        temperature = self.trainer.config.rollout.temperature
        sequences = [(np.array(prompt + answer, dtype=np.int32), len(prompt), temperature) for prompt, answer in self.pairs]
        logprobs = [score.logprob.sum(dtype=np.float64) for score in self.trainer.actors.learner.score(sequences)]
        now = self.lab.summarise(self.problems, self.index, logprobs)
        if self.base is None:
            self.base = now if self.trainer.next_step == 0 else self.base_audit()
        found = self.lab.compare(self.base, now)
        return {
            "pass_at_k": found["pass_at_k"]["tuned"],
            "regions": {name: region["mass"] for name, region in found["regions"]["tuned"].items()},
            "support": {unit: found["support"][unit] for unit in ("problem", "mode")},
            "support_by_region": found["support_by_region"],
        }

    def base_audit(self) -> Any:
        """After a resume: the initial checkpoint scored afresh, since the learner no longer holds it."""
        from explore_rl.lab.command import audit_of

        config = self.trainer.config
        return audit_of(resolve_model(config.model.path), self.problems, config.rollout.temperature)
