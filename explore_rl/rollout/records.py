"""Rollouts as columns of a Parquet shard: every sample of a step, whether or not it taught anything."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa

from explore_rl.types import Group, Sample

SCHEMA = pa.schema(
    {
        "step": pa.int64(),
        "problem_id": pa.string(),
        "group": pa.int64(),
        "kept": pa.bool_(),
        "source": pa.string(),
        "temperature": pa.float64(),
        "weight_version": pa.int64(),
        "in_baseline": pa.bool_(),
        "seed": pa.int64(),
        "prompt_tokens": pa.list_(pa.int32()),
        "tokens": pa.list_(pa.int32()),
        "text": pa.string(),
        "logprobs": pa.list_(pa.float32()),
        "old_logprobs": pa.list_(pa.float32()),
        "finish_reason": pa.string(),
        "verdict": pa.string(),
        "answer": pa.string(),
        "mode": pa.string(),
        "reason": pa.string(),
        "score": pa.float64(),
        "reward": pa.float64(),
        "advantage": pa.float64(),
        "weight": pa.float64(),
    }
)


def rollout_columns(groups: list[Group], dropped: list[Group], step: int) -> pa.Table:
    """One row a sample: what was drawn, by whom, what it was worth. Log-probabilities of given tokens are null.

    groups: the ones that count.
    dropped: groups that dynamic sampling drew and left out (kept is false).
    step: of the run.
    """
    rows = []
    for index, group in enumerate(groups + dropped):
        of_group = {"step": step, "problem_id": group.problem.id, "group": index, "kept": index < len(groups)}
        rows += [of_group | _of_sample(sample) for sample in group.samples]
    return pa.table({name: [row[name] for row in rows] for name in SCHEMA.names}, schema=SCHEMA)


def _of_sample(sample: Sample) -> dict[str, Any]:
    """A row, but for what all samples of the group share."""
    rollout = sample.rollout
    drawn = rollout.logprobs
    old = sample.columns.get("old_logprob")
    return {
        "source": rollout.request.source,
        "temperature": rollout.request.temperature,
        "weight_version": rollout.weight_version,
        "in_baseline": rollout.request.in_baseline,
        "seed": rollout.request.seed,
        "prompt_tokens": list(rollout.request.prompt_ids),
        "tokens": list(rollout.tokens),
        "text": rollout.text,
        "logprobs": None if drawn is None else [None if math.isnan(x) else float(x) for x in drawn],
        "old_logprobs": None if old is None else [float(x) for x in old],
        "finish_reason": rollout.finish_reason,
        "verdict": sample.verdict.status.value,
        "answer": sample.verdict.answer,
        "mode": sample.verdict.mode,
        "reason": sample.verdict.reason,
        "score": sample.verdict.score,
        "reward": sample.reward,
        "advantage": sample.advantage,
        "weight": sample.weight,
    }
