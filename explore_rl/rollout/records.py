"""Rollouts as columns of a Parquet shard: every sample of a step, whether or not it taught anything."""

from __future__ import annotations

import math

from explore_rl.types import Group


def rollout_columns(groups: list[Group], step: int) -> dict[str, list]:
    """One entry a sample: what was drawn, by whom, what it was worth. Log-probabilities of given tokens are null."""
    columns: dict[str, list] = {
        name: []
        for name in (
            "step", "problem_id", "group", "source", "temperature", "weight_version", "in_baseline", "seed", "prompt_tokens", "tokens", "text",
            "logprobs", "old_logprobs", "finish_reason", "verdict", "answer", "mode", "reason", "score", "reward", "advantage", "weight",
        )
    }  # fmt: skip
    for group_index, group in enumerate(groups):
        for sample in group.samples:
            rollout, request, verdict = sample.rollout, sample.rollout.request, sample.verdict
            old = sample.columns.get("old_logprob")
            row = (
                step, group.problem.id, group_index, request.source, request.temperature, rollout.weight_version, request.in_baseline,
                request.seed, list(request.prompt_ids), list(rollout.tokens), rollout.text,
                None if rollout.logprobs is None else [None if math.isnan(x) else float(x) for x in rollout.logprobs],
                None if old is None else [float(x) for x in old],
                rollout.finish_reason, verdict.status.value, verdict.answer, verdict.mode, verdict.reason, verdict.score,
                sample.reward, sample.advantage, sample.weight,
            )  # fmt: skip
            for name, value in zip(columns, row, strict=True):
                columns[name].append(value)
    return columns
