"""What is logged of a step.

Figures about the policy come only from samples that the current policy drew at the training temperature. Each is of one
population: of all groups drawn, or of those learnt from, which dynamic sampling chose. docs/metrics.md says which.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from explore_rl.learner.messages import UpdateReport
from explore_rl.strategies.signal import has_signal
from explore_rl.types import Group, Sample, Status

STAGES = ("generate", "verify", "read", "train", "transfer", "parity", "other")
ROUNDING_S = 1e-6
NOTHING: Mapping[int, float] = {}


class StageClock:
    """Seconds of each stage of a step; "other" is what is left of it.

    At run.ahead=1 drawing goes on beside training: what both took at once is counted in each, and once more as
    "overlapped", so that  stages + other - overlapped = step.
    """

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.spans: list[tuple[str, float, float]] = []  # stage, begin, end

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Counts the time of the block as the stage's. Threads may count at once."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.spans.append((stage, begin, time.perf_counter()))

    def metrics(self) -> dict[str, float]:
        total = time.perf_counter() - self.started
        known = dict.fromkeys((f"seconds/{stage}" for stage in STAGES[:-1]), 0.0)
        busy = 0.0
        reached = self.started
        for stage, begin, end in sorted(self.spans, key=lambda span: span[1]):
            known[f"seconds/{stage}"] += end - begin
            busy += max(0.0, end - max(begin, reached))
            reached = max(reached, end)
        overlapped = sum(known.values()) - busy
        if overlapped > ROUNDING_S:
            known["seconds/overlapped"] = overlapped
        return {**known, "seconds/other": total - busy, "seconds/step": total}


def of_groups(
    kept: list[Group], dropped: list[Group], *, free: frozenset[str], entropies: Mapping[int, float] = NOTHING
) -> dict[str, float]:
    """What came back (verdicts, answers, lengths), and what is learnt from (rewards, signal, entropy, distances).

    docs/metrics.md says what each figure means.

    kept: groups that are learnt from.
    dropped: groups that dynamic sampling left out. The policy drew both, so what came back is of both.
    free: loss terms that pull without an advantage, as strategies/signal.py has them.
    entropies: of samples without the column, means over the drawn tokens, by the sample's identity.
    """
    learnt = [s for g in kept for s in g.samples]
    metrics = _of_verdicts([s for g in kept + dropped for s in g.samples])
    metrics["signal/groups_without"] = _share([not has_signal(g, free) for g in kept])
    metrics["signal/groups_dropped"] = float(len(dropped))
    metrics["signal/samples_left_out"] = _share([s.reward is None for s in learnt])

    # From here on only what the policy drew itself; where it drew nothing there are no such figures.
    by_group = [[s for s in g.samples if s.rollout.request.source == "policy"] for g in kept + dropped]
    by_group = [samples for samples in by_group if samples]
    if not by_group:
        return metrics
    metrics |= _of_answers(by_group) | _of_lengths([s for samples in by_group for s in samples])
    learnt = [s for s in learnt if s.rollout.request.source == "policy"]
    rewards = [s.reward for s in learnt if s.reward is not None]
    metrics["reward/mean"] = float(np.mean(rewards)) if rewards else float("nan")
    return metrics | _of_columns(learnt, entropies)


def of_versions(groups: list[Group], version: int) -> dict[str, float]:
    """How far the weights that drew are behind those that learn, where draws go on while weights change.

    groups: that are learnt from.
    version: of the weights that learn from them.
    """
    drawn = [s.rollout for g in groups for s in g.samples if s.rollout.weight_version >= 0]
    if not drawn:
        return {}
    behind = [version - r.versions[~r.given] for r in drawn]
    return {
        "streaming/changes_inside": float(sum(len(r.changes) for r in drawn)),
        "streaming/changed_share": _share([bool(r.changes) for r in drawn]),
        "streaming/staleness_mean": float(np.mean(np.concatenate(behind))),
        "streaming/staleness_max": float(max(int(b.max()) for b in behind)),
    }


def _of_verdicts(samples: list[Sample]) -> dict[str, float]:
    """Share of each verdict and of each source among all samples."""
    metrics = {}
    for status in Status:
        metrics[f"verdict/{status.value}"] = _share([s.verdict.status is status for s in samples])
    for source, count in Counter(s.rollout.request.source for s in samples).items():
        metrics[f"source/{source}"] = count / len(samples)
    return metrics


def _of_answers(by_group: list[list[Sample]]) -> dict[str, float]:
    """pass@1, pass@n and the variety of answers, as means over the groups with any verdict about an answer."""
    rates = []
    any_correct = []
    answers = []
    for samples in by_group:
        # A timeout or an error says nothing about an answer; no answer at all counts as wrong.
        judged = [s for s in samples if s.verdict.is_evidence or s.verdict.status is Status.NO_ANSWER]
        if judged:
            correct = [s.verdict.status is Status.CORRECT for s in judged]
            rates.append(np.mean(correct))
            any_correct.append(any(correct))
            answers.append(Counter(_answer(s) for s in judged))
    if not rates:
        return {}
    return {
        "pass@1": float(np.mean(rates)),
        "pass@group": float(np.mean(any_correct)),
        "answers/entropy": float(np.mean([_entropy(counts) for counts in answers])),
        "answers/distinct": float(np.mean([len(counts) for counts in answers])),
    }


def _of_lengths(samples: list[Sample]) -> dict[str, float]:
    lengths = [len(s.rollout.tokens) for s in samples]
    return {
        "length/mean": float(np.mean(lengths)),
        "length/max": float(max(lengths)),
        "length/truncated": _share([s.rollout.truncated for s in samples]),
    }


def _of_columns(samples: list[Sample], entropies: Mapping[int, float]) -> dict[str, float]:
    """Entropy, the engine's distance from the learner, and the policy's from the base, where the columns are filled.

    All of them are of the tokens that were drawn.
    """
    metrics = {}
    # How broad the policy's distribution is, token by token.
    of_sequences = [m for m in (_mean_entropy(s, entropies) for s in samples) if m is not None]
    if of_sequences:  # mean over tokens within a sequence, then over sequences (arXiv 2507.14843, section 5.1)
        metrics["entropy/token"] = float(np.mean(of_sequences))

    # Engine against learner: the same weights in another arithmetic.
    scored = [s for s in samples if "old_logprob" in s.columns]
    # Where the engine's own stand for the old ones, or are of another distribution, they say nothing of a distance.
    compared = [s for s in scored if s.columns["old_logprob"] is not s.rollout.logprobs]
    compared = [s for s in compared if s.rollout.request.limit is None and s.rollout.request.flat is None]
    metrics |= _of_gaps(compared)

    # Policy against base: how far training has moved it.
    with_base = [s for s in scored if "base_logprob" in s.columns]
    log_ratios = [_drawn(s, s.columns["old_logprob"] - s.columns["base_logprob"]) for s in with_base]
    if log_ratios:  # k3 is an unbiased, non-negative estimate of KL(policy || base) per token
        d = np.concatenate(log_ratios)
        metrics["kl/base"] = float((np.exp(-np.clip(d, -20, 20)) + d - 1).mean())
    return metrics


def _mean_entropy(sample: Sample, known: Mapping[int, float]) -> float | None:
    if "entropy" not in sample.columns:
        return known.get(id(sample))
    drawn = _drawn(sample, sample.columns["entropy"])
    return drawn.mean() if len(drawn) else None


def _of_gaps(samples: list[Sample]) -> dict[str, float]:
    """How far engine and learner are apart; a sequence at a time, so that what is made on the way stays in cache."""
    tokens = 0
    total = 0.0
    ratios = 0.0
    largest = 0.0
    for sample in samples:
        if sample.rollout.logprobs is None:
            continue
        gap = _drawn(sample, sample.columns["old_logprob"] - sample.rollout.logprobs)
        if len(gap):
            tokens += len(gap)
            ratios += float(np.exp(np.clip(gap, -20, 20)).sum(dtype=np.float64))
            size = np.abs(gap)
            total += float(size.sum(dtype=np.float64))
            largest = max(largest, float(size.max()))
    if not tokens:
        return {}
    return {
        "engine/logprob_difference_mean": total / tokens,
        "engine/logprob_difference_max": largest,
        "engine/ratio_mean": ratios / tokens,
    }


def _drawn(sample: Sample, column: np.ndarray) -> np.ndarray:
    """A column without the tokens that were given. [T] -> [drawn tokens]."""
    given = sample.rollout.given
    return column[~given] if given.any() else column


def of_updates(reports: list[UpdateReport]) -> dict[str, float]:
    """Means over the optimizer steps that were finite, and the number that was skipped."""
    finite = [r for r in reports if r.finite]
    metrics = {
        "update/skipped": float(len(reports) - len(finite)),
        "update/learning_rate": reports[-1].learning_rate if reports else 0.0,
    }
    if finite:
        metrics["update/loss"] = float(np.mean([r.loss for r in finite]))
        metrics["update/gradient_norm"] = float(np.mean([r.grad_norm for r in finite]))
        metrics["update/padding"] = float(np.mean([r.padding_fraction for r in finite]))
        for key in sorted({key for r in finite for key in r.metrics}):
            metrics[f"update/{key}"] = float(np.mean([r.metrics[key] for r in finite if key in r.metrics]))
    return metrics


def of_evaluation(evaluation: dict[str, Any]) -> dict[str, float]:
    """NAME/pass@k of the set, NAME/BENCHMARK/pass@k where it holds several, and a critic's figures on it."""
    of_set = evaluation.get("set", "heldout")
    shown = ("pass@", "explained_variance")
    figures = {f"{of_set}/{name}": value for name, value in evaluation.items() if name.startswith(shown)}
    for benchmark, passes in evaluation.get("benchmarks", {}).items():
        figures |= {f"{of_set}/{benchmark}/{name}": value for name, value in passes.items()}
    return figures


def of_audit(audit: dict[str, Any]) -> dict[str, float]:
    any_end = {f"exact/any_end/{k}": value for k, value in audit.get("any_end", {}).items()}
    return {f"exact/pass@{k}": value for k, value in audit["pass_at_k"].items()} | any_end


def _answer(sample: Sample) -> str:
    """The class of an answer; no answer is a class of its own."""
    return sample.verdict.mode or sample.verdict.answer or "NA"


def _entropy(counts: Counter) -> float:
    p = np.array(list(counts.values()), dtype=float) / counts.total()
    return float(-(p * np.log(p)).sum())


def _share(flags: list[bool]) -> float:
    return float(np.mean(flags)) if flags else 0.0
