"""A step's samples as a Parquet table: given tokens have no log-probability, and every list has its tokens' length."""

import numpy as np

from explore_rl.rollout.records import SCHEMA, columns_of, table_of
from explore_rl.types import Group, Problem, Request, Rollout, Sample, Status, Verdict

PROBLEM = Problem("p", "", None, "countdown")


def sample(tokens, logprobs=None, prefix=(), old=None):
    request = Request("p", 0, [1, 2], max_tokens=8, prefix_ids=prefix)
    logprobs = None if logprobs is None else np.array(logprobs, dtype=np.float32)
    made = Sample(Rollout(request, tokens, "text", "stop", logprobs), Verdict(Status.CORRECT, 1.0), reward=1.0)
    if old is not None:
        made.columns["old_logprob"] = np.array(old, dtype=np.float32)
    return made


def test_lists_of_numbers_and_what_is_null_in_them():
    drawn = sample([7, 8, 9], [0.0, -0.5, -1.0], prefix=[7], old=[-3.0, -0.5, -1.0])
    trace, empty = sample([5, 6], old=[-2.0, -4.0]), sample([], [])
    table = table_of(columns_of([Group(PROBLEM, [drawn, trace])], [Group(PROBLEM, [empty])], step=3))
    assert table.schema == SCHEMA
    rows = table.to_pylist()
    assert [row["tokens"] for row in rows] == [[7, 8, 9], [5, 6], []]
    assert [row["logprobs"] for row in rows] == [[None, -0.5, -1.0], None, []]
    assert [row["old_logprobs"] for row in rows] == [[-3.0, -0.5, -1.0], [-2.0, -4.0], None]
    assert [row["prompt_tokens"] for row in rows] == [[1, 2]] * 3
    assert [(row["group"], row["kept"], row["step"]) for row in rows] == [(0, True, 3), (0, True, 3), (1, False, 3)]


def test_a_step_without_a_sample_is_a_table_without_rows():
    assert table_of(columns_of([Group(PROBLEM, [])], [], step=0)).num_rows == 0
