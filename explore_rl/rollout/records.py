"""Rollouts as columns of a Parquet shard: every sample of a step, whether or not it taught anything."""

from __future__ import annotations

from typing import Any

import numpy as np
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
        "version_changes": pa.list_(pa.struct({"token": pa.int32(), "version": pa.int64()})),
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
PER_TOKEN = ("prompt_tokens", "tokens", "logprobs", "old_logprobs")


def columns_of(groups: list[Group], dropped: list[Group], *, step: int) -> dict[str, list[Any]]:
    """One row a sample, as lists: what was drawn, by whom, what it was worth.

    Nothing is done a token: arrays stand there as they are, and `table_of` may work them up later, in another thread.

    groups: the ones that count.
    dropped: groups that dynamic sampling drew and left out (kept is false).
    step: the run's step.
    """
    rows = []
    samples = []
    for index, group in enumerate(groups + dropped):
        of_group = {"step": step, "problem_id": group.problem.id, "group": index, "kept": index < len(groups)}
        rows += [of_group | _of_sample(sample) for sample in group.samples]
        samples += group.samples
    columns: dict[str, list[Any]] = {
        name: [row[name] for row in rows] for name in SCHEMA.names if name not in PER_TOKEN
    }
    rollouts = [s.rollout for s in samples]
    columns["prompt_tokens"] = [r.request.prompt_ids for r in rollouts]
    columns["tokens"] = [r.tokens for r in rollouts]
    columns["logprobs"] = [r.logprobs for r in rollouts]
    columns["given"] = [r.given for r in rollouts]
    columns["old_logprobs"] = [s.columns.get("old_logprob") for s in samples]
    return columns


def table_of(columns: dict[str, list[Any]]) -> pa.Table:
    """What `columns_of` took, as a table of SCHEMA. Log-probabilities of given tokens are null."""
    made: dict[str, Any] = dict(columns)
    absent = made.pop("given")
    for name in PER_TOKEN:
        kind = SCHEMA.field(name).type.value_type
        made[name] = _lists(columns[name], kind, absent=absent if name == "logprobs" else None)
    return pa.table({name: made[name] for name in SCHEMA.names}, schema=SCHEMA)


def _lists(
    arrays: list[np.ndarray | None], kind: pa.DataType, *, absent: list[np.ndarray] | None = None
) -> pa.ListArray:
    """One list a sample, null for None; made of one flat array, since a Python object a token would take seconds.

    absent: bool, of each array's elements those that are null.
    """
    lengths = [0 if array is None else len(array) for array in arrays]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    there = [(i, array) for i, array in enumerate(arrays) if array is not None]
    dtype = kind.to_pandas_dtype()
    flat = np.concatenate([np.zeros(0, dtype=dtype), *(array.astype(dtype) for _, array in there)])
    null = None if absent is None else np.concatenate([np.zeros(0, dtype=bool), *(absent[i] for i, _ in there)])
    missing = pa.array([array is None for array in arrays], type=pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, type=kind, mask=null), mask=missing)


def _of_sample(sample: Sample) -> dict[str, Any]:
    """A row, but for what all samples of the group share and for what is known of each token."""
    rollout = sample.rollout
    return {
        "source": rollout.request.source,
        "temperature": rollout.request.temperature,
        "weight_version": rollout.weight_version,
        "version_changes": [{"token": token, "version": version} for token, version in rollout.changes],
        "in_baseline": rollout.request.in_baseline,
        "seed": rollout.request.seed,
        "text": rollout.text,
        "finish_reason": rollout.finish_reason,
        "verdict": sample.verdict.status.value,
        "answer": sample.verdict.answer,
        "mode": sample.verdict.mode,
        "reason": sample.verdict.reason,
        "score": sample.verdict.score,
        "reward": sample.reward,
        "advantage": float(np.mean(sample.columns.get("advantage", sample.advantage))),
        "weight": sample.weight,
    }
