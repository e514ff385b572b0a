"""Problems written out: our own JSON lines, and verl's Parquet (with LUFFY's target). Written aside and renamed when
whole."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from explore_rl.types import Problem, Trace

ROWS_AT_ONCE = 1000


def write_jsonl(path: str | Path, problems: Iterable[Problem]) -> int:
    """One problem a line, as `load` reads it back. Returns how many. An error on the way leaves no file, and an older
    file as it was."""
    count = 0
    with _aside(Path(path)) as aside, open(aside, "w", encoding="utf-8") as stream:
        for problem in problems:
            stream.write(json.dumps(_as_dict(problem), default=str) + "\n")
            count += 1
    return count


def write_verl(
    path: str | Path, problems: Iterable[Problem], *, split: str = "train", data_source: str | None = None
) -> int:
    """verl's columns data_source, prompt, ability, reward_model and extra_info; and `target`, the first trace, as LUFFY
    reads it.

    What verl's form cannot hold (answers that are not text, all traces, metadata) goes to extra_info as JSON, and
    `load` reads it back from there.

    path: the Parquet file.
    problems: streamed.
    split: goes into extra_info.
    data_source: the name by which verl chooses its score function; None: the problem's benchmark, else its verifier.
    Returns how many rows were written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    texts = ("split", "id", "verifier", "benchmark", "answer_json", "traces_json", "metadata_json")
    schema = pa.schema(
        [
            ("data_source", pa.string()),
            ("prompt", messages),
            ("ability", pa.string()),
            ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
            ("extra_info", pa.struct([("index", pa.int64()), *((name, pa.string()) for name in texts)])),
            ("target", messages),
        ]
    )
    numbered = iter(enumerate(problems))
    count = 0
    with _aside(Path(path)) as aside, pq.ParquetWriter(aside, schema) as writer:
        while rows := [
            _verl_row(problem, index, split=split, data_source=data_source)
            for index, problem in itertools.islice(numbered, ROWS_AT_ONCE)
        ]:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def _verl_row(problem: Problem, index: int, *, split: str, data_source: str | None) -> dict[str, Any]:
    is_text = isinstance(problem.answer, str)
    return {
        "data_source": data_source or problem.benchmark or problem.verifier,
        "prompt": [{"role": "user", "content": problem.prompt}] if isinstance(problem.prompt, str) else problem.prompt,
        "ability": problem.verifier,
        "reward_model": {"style": "rule", "ground_truth": problem.answer if is_text else _json(problem.answer)},
        "extra_info": {
            "index": index,
            "split": split,
            "id": problem.id,
            "verifier": problem.verifier,
            "benchmark": problem.benchmark,
            "answer_json": None if is_text else _json(problem.answer),
            "traces_json": _json([_trace(trace) for trace in problem.traces]),
            "metadata_json": _json(problem.metadata),
        },
        "target": [{"role": "assistant", "content": problem.traces[0].text}] if problem.traces else None,
    }


def _as_dict(problem: Problem) -> dict[str, Any]:
    return {
        "id": problem.id,
        "prompt": problem.prompt,
        "answer": problem.answer,
        "verifier": problem.verifier,
        "traces": [_trace(trace) for trace in problem.traces],
        "benchmark": problem.benchmark,
        "metadata": problem.metadata,
    }


def _trace(trace: Trace) -> dict[str, Any]:
    known = {"text": trace.text, "source": trace.source, "logprob": trace.logprob, "region": trace.region}
    return {key: value for key, value in known.items() if value is not None}


def _json(value: Any) -> str:
    return json.dumps(value, default=str)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` when the block ends well, and vanishes when it does not."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
