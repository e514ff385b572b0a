"""What is logged of a step. Figures about the policy come from samples that the current policy drew at the training temperature, only."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from explore_rl.types import Group, Sample, Status

STAGES = ("generate", "verify", "score", "train", "transfer", "other")


class StageClock:
    """Seconds of each stage; "other" is what is left of the step, so that they add up."""

    def __init__(self) -> None:
        self.started, self.seconds = time.perf_counter(), Counter()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - begin

    def metrics(self) -> dict[str, float]:
        total = time.perf_counter() - self.started
        known = {f"seconds/{stage}": self.seconds[stage] for stage in STAGES[:-1]}
        return {**known, "seconds/other": total - sum(known.values()), "seconds/step": total}


def of_groups(kept: list[Group], dropped: list[Group], free: set[str]) -> dict[str, float]:
    """Reward, verdicts, pass@1, group pass@n, answer entropy and variety, lengths, signal: docs/metrics.md says what each means.

    kept, dropped: groups that are learnt from, and those that dynamic sampling left out: both are what the policy drew.
    free: loss terms that pull without an advantage.
    """
    groups = kept + dropped
    every = [s for g in groups for s in g.samples]
    ours = [[s for s in g.samples if s.rollout.request.source == "policy"] for g in groups]
    ours = [samples for samples in ours if samples]
    flat = [s for samples in ours for s in samples]
    metrics: dict[str, float] = {}
    for status in Status:
        metrics[f"verdict/{status.value}"] = _share([s.verdict.status is status for s in every])
    for source, count in Counter(s.rollout.request.source for s in every).items():
        metrics[f"source/{source}"] = count / len(every)
    metrics["signal/groups_without"] = _share([_silent(g, free) for g in kept])
    metrics["signal/groups_dropped"] = float(len(dropped))
    metrics["signal/samples_left_out"] = _share([s.reward is None for s in every])
    if not flat:
        return metrics
    rewards = [s.reward for s in flat if s.reward is not None]
    metrics["reward/mean"] = float(np.mean(rewards)) if rewards else float("nan")
    evidence = [
        [s for s in samples if s.verdict.is_evidence or s.verdict.status is Status.NO_ANSWER] for samples in ours
    ]
    right = [[s.verdict.status is Status.CORRECT for s in samples] for samples in evidence if samples]
    if right:
        metrics["pass@1"] = float(np.mean([np.mean(r) for r in right]))
        metrics["pass@group"] = float(np.mean([any(r) for r in right]))
        answers = [Counter(_answer(s) for s in samples) for samples in evidence if samples]
        metrics["answers/entropy"] = float(np.mean([_entropy(c) for c in answers]))
        metrics["answers/distinct"] = float(np.mean([len(c) for c in answers]))
    metrics["length/mean"] = float(np.mean([len(s.rollout.tokens) for s in flat]))
    metrics["length/max"] = float(max(len(s.rollout.tokens) for s in flat))
    metrics["length/truncated"] = _share([s.rollout.truncated for s in flat])
    entropies = [s.columns["entropy"] for s in flat if "entropy" in s.columns]
    if entropies:  # mean over tokens within a sequence, then over sequences (arXiv 2507.14843, section 5.1)
        metrics["entropy/token"] = float(np.mean([e.mean() for e in entropies if len(e)]))
    gaps = [
        s.columns["old_logprob"] - s.rollout.logprobs
        for s in flat
        if "old_logprob" in s.columns and s.rollout.logprobs is not None
    ]
    if gaps:
        gap = np.concatenate(gaps)
        gap = gap[~np.isnan(gap)]  # given tokens have no engine log-probability
        if len(gap):
            metrics["engine/logprob_difference_mean"] = float(np.abs(gap).mean())
            metrics["engine/logprob_difference_max"] = float(np.abs(gap).max())
            metrics["engine/ratio_mean"] = float(np.exp(np.clip(gap, -20, 20)).mean())
    kl = [
        s.columns["old_logprob"] - s.columns["base_logprob"]
        for s in flat
        if "base_logprob" in s.columns and "old_logprob" in s.columns
    ]
    if kl:  # k3 is an unbiased, non-negative estimate of KL(policy || base) per token
        d = np.concatenate(kl)
        metrics["kl/base"] = float((np.exp(-np.clip(d, -20, 20)) + d - 1).mean())
    return metrics


def of_evaluation(found: dict[str, Any]) -> dict[str, float]:
    return {f"heldout/{k}": v for k, v in found.items() if k.startswith("pass@")}


def of_audit(found: dict[str, Any]) -> dict[str, float]:
    return {f"exact/pass@{k}": v for k, v in found["pass_at_k"].items()}


def _silent(group: Group, free: set[str]) -> bool:
    """No sample of the group pulls in any direction."""
    return not any(s.reward is not None and (s.advantage * s.weight != 0 or set(s.terms) & free) for s in group.samples)


def _answer(sample: Sample) -> str:
    """The class of an answer; no answer is a class of its own."""
    return sample.verdict.mode or sample.verdict.answer or "NA"


def _entropy(counts: Counter) -> float:
    p = np.array(list(counts.values()), dtype=float) / counts.total()
    return float(-(p * np.log(p)).sum())


def _share(flags: list[bool]) -> float:
    return float(np.mean(flags)) if flags else 0.0
