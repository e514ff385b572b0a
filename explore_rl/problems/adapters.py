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
    ANSWER_KEYS,
    OWN_KEYS,
    Options,
    benchmark_of,
    checked_answer,
    identity_of,
    json_of,
    last_message,
    math_answer,
    messages_of,
    needs_no_answer,
    parsed,
    prompt_of,
    rest_of,
    row_id,
    solution_trace,
    traces_from,
    traces_of,
    without_dollars,
)
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
    raise InputError(
        f"{row.place}: no known form of problem has the keys {', '.join(keys)[:200] or '(none)'}{hint}"
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


def verl(row: Row, options: Options) -> Problem:
    """verl: data_source, prompt (messages), ability, reward_model {style, ground_truth}, extra_info {split, index};
    LUFFY adds target."""
    source = row.text("data_source")
    reward = parsed(row, "reward_model", kind=dict, what="an object with ground_truth")
    if reward is None or reward.get("ground_truth") is None:
        raise row.error("reward_model", f"expected an object with ground_truth, got {describe(reward)}")
    extra = parsed(row, "extra_info", kind=dict, what="an object") or {}
    verifier = (
        options.verifier or extra.get("verifier") or _verifier_of_source(row, source, ability=row.values.get("ability"))
    )
    truth = reward["ground_truth"]
    if verifier == "text" and isinstance(truth, dict) and isinstance(truth.get("target"), (str, list)):
        truth = truth["target"]  # Search-R1's form
    if extra.get("answer_json") is not None:  # what `writing` wrote comes back as it was
        truth = json_of(row, "extra_info", text=extra["answer_json"])
    index = extra.get("index")
    known = isinstance(index, (int, str)) and not isinstance(index, bool) and index not in ("", -1)
    identity = extra.get("id") or (
        f"{source}-{extra.get('split') or 'all'}-{index}" if known else f"{source}-{row_id(row)}"
    )
    return Problem(
        id=str(identity),
        prompt=prompt_of(row, "prompt"),
        answer=checked_answer(row, "reward_model", answer=truth, verifier=verifier),
        verifier=verifier,
        traces=_verl_traces(row, extra),
        benchmark=options.benchmark or (extra.get("benchmark") if "traces_json" in extra else source),
        metadata=_verl_metadata(row, extra),
    )


def _verl_metadata(row: Row, extra: dict[str, Any]) -> dict[str, Any]:
    if extra.get("metadata_json") is not None:
        written = json_of(row, "extra_info", text=extra["metadata_json"])
        if not isinstance(written, dict):
            raise row.error("extra_info", f"metadata_json: expected an object, got {describe(written)}")
        return written
    return rest_of(row, "data_source", "prompt", "reward_model", "target", "target_lst", "target_ds_qwen_7b_probs")


def _verl_traces(row: Row, extra: dict[str, Any]) -> tuple[Trace, ...]:
    """LUFFY's `target` ([{role, content}]) and `target_lst` (a list of such); its probabilities become one
    log-probability."""
    if extra.get("traces_json") is not None:
        return traces_from(row, "extra_info", value=json_of(row, "extra_info", text=extra["traces_json"]))
    targets = row.values.get("target_lst") or ([row.values["target"]] if row.values.get("target") else [])
    if not isinstance(targets, list):
        raise row.error("target_lst", f"expected a list of targets, got {describe(targets)}")
    source = row.optional_text("target_source") or "target"
    traces = [Trace(last_message(row, "target", value=target), source) for target in targets]
    probabilities = row.values.get("target_ds_qwen_7b_probs")
    if probabilities and len(traces) == 1:
        if not isinstance(probabilities, list) or not all(isinstance(p, float) and 0 < p <= 1 for p in probabilities):
            raise row.error(
                "target_ds_qwen_7b_probs", "expected a list of probabilities in (0, 1], one a token of the target"
            )
        traces = [Trace(traces[0].text, source, logprob=sum(map(math.log, probabilities)))]
    return tuple(traces)


def open_instruct(row: Row, options: Options) -> Problem:
    """open-instruct: messages, ground_truth, dataset (the name of its verifier). An assistant's reply at the end is a
    trace."""
    dataset = row.values.get("dataset")
    dataset = dataset[0] if isinstance(dataset, list) and len(dataset) == 1 else dataset
    if not isinstance(dataset, str) or not dataset:
        raise row.error("dataset", f"expected the name of one verifier, got {describe(dataset)}")
    verifier = options.verifier or OPEN_INSTRUCT_VERIFIERS.get(dataset.lower())
    if verifier is None:
        known = ", ".join(OPEN_INSTRUCT_VERIFIERS)
        raise row.error("dataset", f"no verifier stands for {dataset!r}; known: {known}; name one with verifier=")
    messages = messages_of(row, "messages", value=row.values.get("messages"))
    traces = ()
    if messages[-1]["role"] == "assistant":
        traces = (Trace(messages[-1]["content"], f"{dataset}: assistant"),)
        messages = messages[:-1]
    if not messages:
        raise row.error("messages", "holds no message of the user")
    truth = row.values.get("ground_truth")
    truth = truth[0] if isinstance(truth, list) and len(truth) == 1 else truth
    return Problem(
        id=identity_of(row, "id", "custom_id"),
        prompt=messages,
        answer=checked_answer(row, "ground_truth", answer=truth, verifier=verifier),
        verifier=verifier,
        traces=traces,
        benchmark=options.benchmark or dataset,
        metadata=rest_of(row, "id", "custom_id", "messages", "ground_truth"),
    )


def trl(row: Row, options: Options) -> Problem:
    """TRL and Hugging Face data sets: prompt (text or messages) and columns, which all go to metadata for reward
    functions to use."""
    key = row.first(*ANSWER_KEYS)
    verifier = options.verifier or row.optional_text("verifier") or "math"
    if key is None and not needs_no_answer(verifier):
        raise row.error(
            "answer",
            f"missing, and so are {', '.join(ANSWER_KEYS[1:])}; expected the reference answer under one of these",
        )
    answer = None if key is None else row.values[key]
    traces: tuple[Trace, ...] = ()
    if key == "solution" and isinstance(answer, str) and (boxed := last_boxed(answer)):
        traces, answer = (Trace(answer, "solution"),), boxed
    if row.values.get("completion"):
        completion = row.values["completion"]
        traces += (
            Trace(
                completion if isinstance(completion, str) else last_message(row, "completion", value=completion),
                "completion",
            ),
        )
    return Problem(
        id=identity_of(row, "id", "unique_id", "problem_id"),
        prompt=prompt_of(row, "prompt"),
        answer=None if key is None else checked_answer(row, key, answer=answer, verifier=verifier),
        verifier=verifier,
        traces=traces,
        benchmark=options.benchmark or row.optional_text("benchmark"),
        metadata=rest_of(row, "prompt", "completion"),
    )


def openrlhf(row: Row, options: Options) -> Problem:
    """OpenRLHF: input (or context_messages) and label (or answer)."""
    verifier = options.verifier or "math"
    label = row.first("label", "answer")
    if label is None:
        raise row.error("label", "missing (nor is there 'answer'); expected the reference answer")
    return Problem(
        id=identity_of(row, "id"),
        prompt=prompt_of(row, row.first("input", "context_messages") or "input"),
        answer=checked_answer(row, label, answer=row.values[label], verifier=verifier),
        verifier=verifier,
        benchmark=options.benchmark or row.optional_text("datasource"),
        metadata=rest_of(row, "input", "context_messages", label),
    )


def gsm8k(row: Row, options: Options) -> Problem:
    """GSM8K (Cobbe et al., 2021): question; answer holds the solution, with <<calculator>> notes, and the result after
    ####."""
    solution = row.text("answer")
    before, mark, result = solution.rpartition("####")
    if not mark or not result.strip():
        raise row.error("answer", "has no result after ####, as GSM8K's solutions do")
    benchmark = options.benchmark or benchmark_of(row, "gsm8k")
    return Problem(
        id=identity_of(row, "id", "idx", prefix=benchmark),
        prompt=row.text("question"),
        answer=result.strip(),
        verifier=options.verifier or "math",
        traces=(Trace(re.sub(r"<<[^<>]*>>", "", before) + f"#### {result.strip()}", "gsm8k solution"),),
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

# the first part of verl's data_source that is known -> verifier; otherwise its `ability` decides
VERL_SOURCES = {
    "openai/gsm8k": "math", "gsm8k": "math", "lighteval/MATH": "math", "DigitalLearningGmbH/MATH": "math",
    "HuggingFaceH4/MATH-500": "math",
    "math": "math", "aime": "math", "numina": "math", "countdown": "countdown", "searchR1_": "text",
    "codecontests": "code", "apps": "code", "codeforces": "code", "taco": "code",
}  # fmt: skip
VERL_ABILITIES = {"math": "math", "code": "code", "coding": "code", "fact-reasoning": "text"}
OPEN_INSTRUCT_VERIFIERS = {
    "gsm8k": "math", "math": "math", "strict_math": "math", "string_matcher": "text", "string_f1": "text",
    "code": "code",
    "code_stdio": "code", "general-quality": "judge", "general-quality_ref": "judge",
}  # fmt: skip


# --- what the forms leave to be guessed -------------------------------------------------------------------------------


def _verifier_of_source(row: Row, source: str, *, ability: Any) -> str:
    for known, verifier in VERL_SOURCES.items():
        if source.lower().startswith(known.lower()):
            return verifier
    if isinstance(ability, str) and ability.lower() in VERL_ABILITIES:
        return VERL_ABILITIES[ability.lower()]
    known = ", ".join(VERL_ABILITIES)
    raise row.error(
        "data_source", f"no verifier is known for {source!r} (nor is 'ability' one of {known}); name one with verifier="
    )


def _competition_name(row: Row) -> str | None:
    if "level" in row.values:
        return "math"
    address = str(row.values.get("url", ""))
    year = re.search(r"(20\d\d)_(AIME|AMC)", address)
    return f"{year[2].lower()}{year[1][2:]}" if year else None


def _is_competition(values: dict[str, Any]) -> bool:
    asked, answered = (
        {"problem", "Problem", "question", "Question"},
        {"answer", "Answer", "solution", "Solution", "expected_answer"},
    )
    return bool(asked & values.keys()) and bool(answered & values.keys())


def _is_gym(values: dict[str, Any]) -> bool:
    metadata = values.get("metadata")
    return (
        {"question", "answer"} <= values.keys() and isinstance(metadata, (dict, str)) and "source_dataset" in metadata
    )
