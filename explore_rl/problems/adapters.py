"""One small function a form of file: a row in, a Problem out. `ADAPTERS` says how each form is known from its columns.

To add a form: write the function, add a line to ADAPTERS (the first whose columns fit is taken, so the more particular
stand first).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analysis.errors import InputError
from explore_rl.problems.code_forms import humaneval, livecodebench, mbpp
from explore_rl.problems.fields import (
    OWN_KEYS,
    Options,
    benchmark_of,
    checked_answer,
    gsm8k_trace,
    identity_of,
    math_answer,
    parsed,
    prompt_of,
    rest_of,
    row_id,
    solution_trace,
    traces_of,
    without_dollars,
)
from explore_rl.problems.framework_forms import open_instruct, openrlhf, trl, verl
from explore_rl.problems.rows import Row, describe
from explore_rl.types import Problem, Trace
from explore_rl.verifiers.extract import last_boxed


@dataclass(frozen=True)
class Adapter:
    """about: whose form it is, with its columns. fits(row values): whether a row has that form. convert(row, options):
    the problem."""

    about: str
    fits: Callable[[dict[str, Any]], bool]
    convert: Callable[[Row, Options], Problem]


def adapter_for(row: Row, format: str | None) -> Adapter:
    """The adapter of this name, or the first whose columns fit the row. Raises InputError."""
    if format is not None:
        if format not in ADAPTERS:
            near = difflib.get_close_matches(str(format), ADAPTERS, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise InputError(f"unknown problem format {format!r}{hint}; known: {', '.join(ADAPTERS)}")
        return ADAPTERS[format]
    for adapter in ADAPTERS.values():
        if adapter.fits(row.values):
            return adapter
    keys = sorted(map(str, row.values))
    near = {
        key: match[0]
        for key in keys
        if key not in OWN_KEYS and (match := difflib.get_close_matches(key, OWN_KEYS, n=1, cutoff=0.75))
    }
    hint = f"; did you mean {', '.join(f'{right!r} for {key!r}' for key, right in near.items())}?" if near else ""
    listed = [key for key in keys if isinstance(row.values[key], list) and len(keys) == 1]
    if listed:
        hint = f"; if its {listed[0]!r} is the list of problems, write that list into the file"
    elif len(keys) == 1 and keys[0].count(";") > 1:
        hint = "; the columns of a CSV are separated by commas here"
    raise InputError(
        f"{row.place}: no known form of problem has the keys {', '.join(keys)[:200] or '(none)'}{hint}."
        f" Known forms: {', '.join(ADAPTERS)}; our own needs id, prompt, answer, verifier"
    )


# --- the forms --------------------------------------------------------------------------------------------------------


def own(row: Row, options: Options) -> Problem:
    """Our own JSON lines: exactly the fields of Problem; any further key goes to metadata."""
    extra = {key: value for key, value in row.values.items() if key not in OWN_KEYS}
    for key in extra:
        near = difflib.get_close_matches(key, OWN_KEYS, n=1, cutoff=0.8)
        if near:
            raise row.error(key, f"unknown; did you mean {near[0]!r}? (keys of your own go into metadata)")
    verifier = options.verifier or row.text("verifier")
    metadata = parsed(row, "metadata", kind=dict, what="an object") or {}
    return Problem(
        id=identity_of(row, "id"),
        prompt=prompt_of(row, "prompt"),
        answer=checked_answer(row, "answer", answer=row.values.get("answer"), verifier=verifier),
        verifier=verifier,
        traces=traces_of(row, "traces"),
        benchmark=options.benchmark or row.optional_text("benchmark"),
        metadata=metadata | extra,
    )


def gsm8k(row: Row, options: Options) -> Problem:
    """GSM8K (Cobbe et al., 2021): question; answer holds the solution, with <<calculator>> notes, and the result after
    ####."""
    solution = row.text("answer")
    trace = gsm8k_trace(solution)
    if trace is None:
        raise row.error("answer", "has no result after ####, as GSM8K's solutions do")
    benchmark = options.benchmark or benchmark_of(row, "gsm8k")
    return Problem(
        id=identity_of(row, "id", "idx", prefix=benchmark),
        prompt=row.text("question"),
        answer=solution.rpartition("####")[2].strip(),
        verifier=options.verifier or "math",
        traces=(trace,),
        benchmark=benchmark,
        metadata=rest_of(row, "question", "answer"),
    )


def competition(row: Row, options: Options) -> Problem:
    r"""MATH, Minerva, AIME, AMC and the like: problem (or question); the answer under `answer`, or in the last \boxed{}
    of `solution`."""
    key = row.first("answer", "Answer", "expected_answer")
    solution_key = row.first("solution", "Solution")
    solution = row.optional_text(solution_key) if solution_key else None
    verifier = options.verifier or "math"
    # A set that gives the answer is believed; only without one is it looked for in the solution.
    if key is not None:
        answer = checked_answer(row, key, answer=row.values[key], verifier=verifier)
    elif solution is None:
        raise row.error("answer", "missing, and there is no 'solution' to find it in")
    elif not (boxed := last_boxed(solution)):
        raise row.error("solution", r"has no \boxed{} with the answer, and there is no 'answer'")
    else:
        answer = boxed
    benchmark = options.benchmark or benchmark_of(row, _competition_name(row))
    return Problem(
        id=identity_of(row, "unique_id", "id", "idx", "ID", prefix=benchmark),
        prompt=row.text("problem", "question", "Problem", "Question"),
        answer=answer,
        verifier=verifier,
        traces=() if solution is None else (solution_trace(solution, answer, source=benchmark or "reference"),),
        benchmark=benchmark,
        metadata=rest_of(
            row,
            "problem",
            "question",
            "Problem",
            "Question",
            "answer",
            "Answer",
            "expected_answer",
            "solution",
            "Solution",
        ),
    )


def olympiadbench(row: Row, options: Options) -> Problem:
    """OlympiadBench (He et al., 2024): final_answer is a list, `error` an absolute tolerance (metadata["tolerance"]),
    `unit` a unit."""
    answers = math_answer(row, "final_answer", answer=row.values.get("final_answer"))
    answers = [without_dollars(text) for text in ([answers] if isinstance(answers, str) else answers)]
    answer = answers[0] if len(answers) == 1 else answers
    context = row.optional_text("context")
    benchmark = options.benchmark or benchmark_of(row, "olympiadbench")
    solutions = row.values.get("solution") or []
    if not isinstance(solutions, list) or not all(isinstance(text, str) for text in solutions):
        raise row.error("solution", f"expected a list of texts, got {describe(solutions)}")
    metadata = rest_of(row, "question", "context", "final_answer", "solution", "error")
    tolerance = _tolerance(row)
    return Problem(
        id=identity_of(row, "id", prefix=benchmark),
        prompt=f"{context}\n\n{row.text('question')}" if context else row.text("question"),
        answer=answer,
        verifier=options.verifier or "math",
        traces=tuple(solution_trace(text, answer, source=benchmark) for text in solutions if text.strip()),
        benchmark=benchmark,
        metadata=metadata | ({} if tolerance is None else {"tolerance": tolerance}),
    )


def _tolerance(row: Row) -> float | list[float] | None:
    """OlympiadBench's `error`: "1e-1", or one for each of several answers, joined by commas."""
    stated = row.values.get("error")
    if stated is None or stated == "":
        return None
    try:
        values = [float(part) for part in str(stated).split(",")]
    except ValueError:
        values = [math.nan]
    if not all(math.isfinite(value) and value >= 0 for value in values):
        raise row.error("error", f"expected a tolerance such as 1e-1, got {describe(stated)}")
    return values[0] if len(values) == 1 else values


def reasoning_gym(row: Row, options: Options) -> Problem:
    """Reasoning Gym's entries: question, answer (null for tasks whose scorer needs none), metadata with
    source_dataset."""
    answer = row.values.get("answer")
    metadata = parsed(row, "metadata", kind=dict, what="an object with source_dataset") or {}
    task = metadata.get("source_dataset")
    if not isinstance(task, str) or not task:
        raise row.error("metadata", "has no source_dataset, the name of the Reasoning Gym task")
    return Problem(
        id=identity_of(row, "id", prefix=task) if row.first("id") else f"{task}-{row_id(row)}",
        prompt=row.text("question"),
        answer=answer,
        verifier=options.verifier or "gym",
        traces=(Trace(f"<answer>{answer}</answer>", "reasoning-gym"),)
        if isinstance(answer, str) and answer.strip()
        else (),
        benchmark=options.benchmark or task,
        metadata=metadata,
    )


def _has(*columns: str) -> Callable[[dict[str, Any]], bool]:
    return lambda values: set(columns) <= values.keys()


# name -> adapter, the more particular first
ADAPTERS = {
    "explore-rl": Adapter(
        "our own: id, prompt, answer, verifier, traces, benchmark, metadata", _has("prompt", "answer", "verifier"), own
    ),
    "verl": Adapter(
        "verl, and LUFFY: data_source, prompt, reward_model, extra_info, target",
        _has("data_source", "reward_model"),
        verl,
    ),
    "open-instruct": Adapter(
        "open-instruct: messages, ground_truth, dataset", _has("messages", "ground_truth", "dataset"), open_instruct
    ),
    "humaneval": Adapter(
        "HumanEval, HumanEval+: task_id, prompt, entry_point, test", _has("task_id", "entry_point", "test"), humaneval
    ),
    "mbpp": Adapter("MBPP, MBPP+: task_id, text or prompt, test_list", _has("task_id", "test_list"), mbpp),
    "livecodebench": Adapter(
        "LiveCodeBench: question_content, public_test_cases, private_test_cases",
        _has("question_content", "public_test_cases"),
        livecodebench,
    ),
    "olympiadbench": Adapter(
        "OlympiadBench: question, final_answer, error, unit", _has("question", "final_answer"), olympiadbench
    ),
    "reasoning-gym": Adapter(
        "Reasoning Gym: question, answer, metadata.source_dataset", lambda v: _is_gym(v), reasoning_gym
    ),
    "gsm8k": Adapter(
        "GSM8K: question, answer with ####", lambda v: "question" in v and "####" in str(v.get("answer")), gsm8k
    ),
    "math": Adapter(
        "MATH, Minerva, AIME, AMC: problem, answer or a solution with a box", lambda v: _is_competition(v), competition
    ),
    "openrlhf": Adapter(
        "OpenRLHF: input or context_messages, label", lambda v: "input" in v or "context_messages" in v, openrlhf
    ),
    "trl": Adapter("TRL, Hugging Face: prompt and columns", _has("prompt"), trl),
}
ADAPTERS["luffy"] = ADAPTERS["verl"]
for _name in ("minerva", "aime", "amc"):
    ADAPTERS[_name] = ADAPTERS["math"]


# --- what the forms leave to be guessed -------------------------------------------------------------------------------


def _competition_name(row: Row) -> str | None:
    if "level" in row.values:
        return "math"
    address = str(row.values.get("url", ""))
    year = re.search(r"(20\d\d)_(AIME|AMC)", address)
    return f"{year[2].lower()}{year[1][2:]}" if year else None


def _is_competition(values: dict[str, Any]) -> bool:
    asked = {"problem", "Problem", "question", "Question"}
    answered = {"answer", "Answer", "solution", "Solution", "expected_answer"}
    return bool(asked & values.keys()) and bool(answered & values.keys())


def _is_gym(values: dict[str, Any]) -> bool:
    metadata = values.get("metadata")
    return (
        {"question", "answer"} <= values.keys() and isinstance(metadata, (dict, str)) and "source_dataset" in metadata
    )
