"""Rollouts as columns of a Parquet shard: every sample of a step, whether or not it taught anything."""

from __future__ import annotations

import math

import pyarrow as pa

from explore_rl.types import Group

SCHEMA = pa.schema({
    "step": pa.int64(), "problem_id": pa.string(), "group": pa.int64(), "kept": pa.bool_(), "source": pa.string(), "temperature": pa.float64(),
    "weight_version": pa.int64(), "in_baseline": pa.bool_(), "seed": pa.int64(), "prompt_tokens": pa.list_(pa.int32()),
    "tokens": pa.list_(pa.int32()), "text": pa.string(), "logprobs": pa.list_(pa.float32()), "old_logprobs": pa.list_(pa.float32()),
    "finish_reason": pa.string(), "verdict": pa.string(), "answer": pa.string(), "mode": pa.string(), "reason": pa.string(),
    "score": pa.float64(), "reward": pa.float64(), "advantage": pa.float64(), "weight": pa.float64(),
})  # fmt: skip


def rollout_columns(groups: list[Group], dropped: list[Group], step: int) -> pa.Table:
    """One row a sample: what was drawn, by whom, what it was worth. Log-probabilities of given tokens are null.

    dropped: groups that dynamic sampling drew and left out (kept is false).
    """
    columns: dict[str, list] = {name: [] for name in SCHEMA.names}
    for group_index, group in enumerate(groups + dropped):
        for sample in group.samples:
            rollout, request, verdict = sample.rollout, sample.rollout.request, sample.verdict
            old = sample.columns.get("old_logprob")
            row = (
                step, group.problem.id, group_index, group_index < len(groups), request.source, request.temperature, rollout.weight_version, request.in_baseline,
                request.seed, list(request.prompt_ids), list(rollout.tokens), rollout.text,
                None if rollout.logprobs is None else [None if math.isnan(x) else float(x) for x in rollout.logprobs],
                None if old is None else [float(x) for x in old],
                rollout.finish_reason, verdict.status.value, verdict.answer, verdict.mode, verdict.reason, verdict.score,
                sample.reward, sample.advantage, sample.weight,
            )  # fmt: skip
            for name, value in zip(columns, row, strict=True):
                columns[name].append(value)
    return pa.table(columns, schema=SCHEMA)
