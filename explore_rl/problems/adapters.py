"""One small function a form of file: a row in, a Problem out. `ADAPTERS` says how each form is known from its columns.

To add a form: write the function, add a line to ADAPTERS (the first whose columns fit is taken, so the more particular stand first).
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from explore_rl.problems.rows import Row, describe
from explore_rl.types import Problem, Trace

OWN_KEYS = ("id", "prompt", "answer", "verifier", "traces", "benchmark", "metadata")
ROLES = ("system", "developer", "user", "assistant", "tool")
ANSWER_KEYS = ("answer", "solution", "ground_truth", "label", "target", "reference_answer", "final_answer")


@dataclass(frozen=True)
class Adapter:
    """about: whose form it is, with its columns. fits(row values): whether a row has that form. convert(row, options): the problem."""

    about: str
    fits: Callable[[dict[str, Any]], bool]
    convert: Callable[[Row, Options], Problem]


@dataclass(frozen=True)
class Options:
    """What the user said about the whole file, and what the form's name implies. verifier, benchmark: replace what the rows say."""

    verifier: str | None = None
    benchmark: str | None = None


def adapter_for(row: Row, format: str | None) -> Adapter:
    """The adapter of this name, or the first whose columns fit the row. Raises InputError."""
    if format is not None:
        if format not in ADAPTERS:
            near = difflib.get_close_matches(str(format), ADAPTERS, n=1)
            raise InputError(f"unknown problem format {format!r}{f', did you mean {near[0]!r}?' if near else ''}; known: {', '.join(ADAPTERS)}")
        return ADAPTERS[format]
    for adapter in ADAPTERS.values():
        if adapter.fits(row.values):
            return adapter
    keys = sorted(map(str, row.values))
    near = {key: match[0] for key in keys if key not in OWN_KEYS and (match := difflib.get_close_matches(key, OWN_KEYS, n=1, cutoff=0.75))}
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
    metadata = _parsed(row, "metadata", dict, "an object") or {}
    return Problem(
        id=_id(row, "id"),
        prompt=prompt_of(row, "prompt"),
        answer=_any_answer(row, "answer", verifier),
        verifier=verifier,
        traces=traces_of(row, "traces"),
        benchmark=options.benchmark or row.optional_text("benchmark"),
        metadata=metadata | extra,
    )


def verl(row: Row, options: Options) -> Problem:
    """verl: data_source, prompt (messages), ability, reward_model {style, ground_truth}, extra_info {split, index}; LUFFY adds target."""
    source = row.text("data_source")
    reward = _parsed(row, "reward_model", dict, "an object with ground_truth")
    if reward is None or reward.get("ground_truth") is None:
        raise row.error("reward_model", f"expected an object with ground_truth, got {describe(reward)}")
    extra = _parsed(row, "extra_info", dict, "an object") or {}
    verifier = options.verifier or extra.get("verifier") or _verifier_of_source(row, source, row.values.get("ability"))
    truth = reward["ground_truth"]
    if "answer_json" in extra:  # our own answers that are no text come back as they were
        truth = _json(row, "extra_info", extra["answer_json"])
    index = extra.get("index")
    known = isinstance(index, (int, str)) and not isinstance(index, bool) and index not in ("", -1)
    identity = extra.get("id") or (f"{source}-{extra.get('split') or 'all'}-{index}" if known else f"{source}-{_row_id(row)}")
    return Problem(
        id=str(identity),
        prompt=prompt_of(row, "prompt"),
        answer=_checked_answer(row, "reward_model", truth, verifier),
        verifier=verifier,
        traces=_verl_traces(row, extra),
        benchmark=options.benchmark or source,
        metadata=_rest(row, "data_source", "prompt", "reward_model", "target", "target_lst", "target_ds_qwen_7b_probs"),
    )


def _verl_traces(row: Row, extra: dict[str, Any]) -> tuple[Trace, ...]:
    """LUFFY's `target` ([{role, content}]) and `target_lst` (a list of such); its probabilities become one log-probability."""
    if "traces_json" in extra:
        return _traces(row, "extra_info", _json(row, "extra_info", extra["traces_json"]))
    targets = row.values.get("target_lst") or ([row.values["target"]] if row.values.get("target") else [])
    if not isinstance(targets, list):
        raise row.error("target_lst", f"expected a list of targets, got {describe(targets)}")
    source = row.optional_text("target_source") or "target"
    traces = [Trace(_last_message(row, "target", target), source) for target in targets]
    probabilities = row.values.get("target_ds_qwen_7b_probs")
    if probabilities and len(traces) == 1:
        if not isinstance(probabilities, list) or not all(isinstance(p, float) and 0 < p <= 1 for p in probabilities):
            raise row.error("target_ds_qwen_7b_probs", "expected a list of probabilities in (0, 1], one a token of the target")
        traces = [Trace(traces[0].text, source, logprob=sum(map(math.log, probabilities)))]
    return tuple(traces)


def open_instruct(row: Row, options: Options) -> Problem:
    """open-instruct: messages, ground_truth, dataset (the name of its verifier). An assistant's reply at the end is a trace."""
    dataset = row.values.get("dataset")
    dataset = dataset[0] if isinstance(dataset, list) and len(dataset) == 1 else dataset
    if not isinstance(dataset, str) or not dataset:
        raise row.error("dataset", f"expected the name of one verifier, got {describe(dataset)}")
    verifier = options.verifier or OPEN_INSTRUCT_VERIFIERS.get(dataset.lower())
    if verifier is None:
        known = ", ".join(OPEN_INSTRUCT_VERIFIERS)
        raise row.error("dataset", f"no verifier stands for {dataset!r}; known: {known}; name one with verifier=")
    messages = _messages(row, "messages", row.values.get("messages"))
    traces = ()
    if messages[-1]["role"] == "assistant":
        traces = (Trace(messages[-1]["content"], f"{dataset}: assistant"),)
        messages = messages[:-1]
    if not messages:
        raise row.error("messages", "holds no message of the user")
    truth = row.values.get("ground_truth")
    truth = truth[0] if isinstance(truth, list) and len(truth) == 1 else truth
    return Problem(
        id=_id(row, "id", "custom_id"),
        prompt=messages,
        answer=_checked_answer(row, "ground_truth", truth, verifier),
        verifier=verifier,
        traces=traces,
        benchmark=options.benchmark or dataset,
        metadata=_rest(row, "id", "custom_id", "messages", "ground_truth"),
    )


def trl(row: Row, options: Options) -> Problem:
    """TRL and Hugging Face data sets: prompt (text or messages) and columns, which all go to metadata for reward functions to use."""
    key = row.first(*ANSWER_KEYS)
    verifier = options.verifier or row.optional_text("verifier") or "math"
    if key is None and not needs_no_answer(verifier):
        raise row.error("answer", f"missing, and so are {', '.join(ANSWER_KEYS[1:])}; expected the reference answer under one of these")
    answer = None if key is None else row.values[key]
    traces: tuple[Trace, ...] = ()
    if key == "solution" and isinstance(answer, str) and (boxed := last_boxed(answer)) is not None:
        traces, answer = (Trace(answer, "solution"),), boxed
    if row.values.get("completion"):
        completion = row.values["completion"]
        traces += (Trace(completion if isinstance(completion, str) else _last_message(row, "completion", completion), "completion"),)
    return Problem(
        id=_id(row, "id", "unique_id", "problem_id"),
        prompt=prompt_of(row, "prompt"),
        answer=None if key is None else _checked_answer(row, key, answer, verifier),
        verifier=verifier,
        traces=traces,
        benchmark=options.benchmark or row.optional_text("benchmark"),
        metadata=_rest(row, "prompt", "completion"),
    )


def openrlhf(row: Row, options: Options) -> Problem:
    """OpenRLHF: input (or context_messages) and label (or answer)."""
    verifier = options.verifier or "math"
    label = row.first("label", "answer")
    if label is None:
        raise row.error("label", "missing (nor is there 'answer'); expected the reference answer")
    return Problem(
        id=_id(row, "id"),
        prompt=prompt_of(row, row.first("input", "context_messages") or "input"),
        answer=_checked_answer(row, label, row.values[label], verifier),
        verifier=verifier,
        benchmark=options.benchmark or row.optional_text("datasource"),
        metadata=_rest(row, "input", "context_messages", label),
    )


def gsm8k(row: Row, options: Options) -> Problem:
    """GSM8K (Cobbe et al., 2021): question; answer holds the solution, with <<calculator>> notes, and the result after ####."""
    solution = row.text("answer")
    before, mark, result = solution.rpartition("####")
    if not mark or not result.strip():
        raise row.error("answer", "has no result after ####, as GSM8K's solutions do")
    benchmark = options.benchmark or _benchmark(row, "gsm8k")
    return Problem(
        id=_id(row, "id", "idx", prefix=benchmark),
        prompt=row.text("question"),
        answer=result.strip(),
        verifier=options.verifier or "math",
        traces=(Trace(re.sub(r"<<.*?>>", "", before) + f"#### {result.strip()}", "gsm8k solution"),),
        benchmark=benchmark,
        metadata=_rest(row, "question", "answer"),
    )


def competition(row: Row, options: Options) -> Problem:
    r"""MATH, Minerva, AIME, AMC and the like: problem (or question); the answer under `answer`, or in the last \boxed{} of `solution`."""
    key = row.first("answer", "Answer", "expected_answer")
    solution_key = row.first("solution", "Solution")
    solution = row.text(solution_key) if solution_key else None
    if key is not None:
        answer = _math_answer(row, key, row.values[key])
    elif solution is None:
        raise row.error("answer", "missing, and there is no 'solution' to find it in")
    elif (boxed := last_boxed(solution)) is None:
        raise row.error("solution", r"has no \boxed{} with the answer, and there is no 'answer'")
    else:
        answer = boxed
    benchmark = options.benchmark or _benchmark(row, _competition_name(row))
    return Problem(
        id=_id(row, "unique_id", "id", "idx", "ID", prefix=benchmark),
        prompt=row.text("problem", "question", "Problem"),
        answer=answer,
        verifier=options.verifier or "math",
        traces=() if solution is None else (solution_trace(solution, answer, benchmark or "reference"),),
        benchmark=benchmark,
        metadata=_rest(row, "problem", "question", "Problem", "answer", "Answer", "expected_answer", "solution", "Solution"),
    )


def olympiadbench(row: Row, options: Options) -> Problem:
    """OlympiadBench (He et al., 2024): final_answer is a list, `error` an absolute tolerance (metadata["tolerance"]), `unit` a unit."""
    answers = _math_answer(row, "final_answer", row.values.get("final_answer"))
    answers = [_without_dollars(text) for text in ([answers] if isinstance(answers, str) else answers)]
    answer = answers[0] if len(answers) == 1 else answers
    context = row.optional_text("context")
    benchmark = options.benchmark or _benchmark(row, "olympiadbench")
    solutions = row.values.get("solution") or []
    if not isinstance(solutions, list) or not all(isinstance(text, str) for text in solutions):
        raise row.error("solution", f"expected a list of texts, got {describe(solutions)}")
    metadata = _rest(row, "question", "context", "final_answer", "solution", "error")
    tolerance = _tolerance(row)
    return Problem(
        id=_id(row, "id", prefix=benchmark),
        prompt=f"{context}\n\n{row.text('question')}" if context else row.text("question"),
        answer=answer,
        verifier=options.verifier or "math",
        traces=tuple(solution_trace(text, answer, benchmark) for text in solutions if text.strip()),
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


def humaneval(row: Row, options: Options) -> Problem:
    """HumanEval and HumanEval+ (Chen et al., 2021; Liu et al., 2023): task_id, prompt (a stub), entry_point, canonical_solution, test."""
    entry_point, test, stub = row.text("entry_point"), row.text("test"), row.text("prompt")
    benchmark = options.benchmark or _benchmark(row, "humaneval")
    canonical = row.optional_text("canonical_solution")
    return Problem(
        id=row.text("task_id"),
        prompt=stub,
        answer={"test": test, "entry_point": entry_point, "prompt": stub},
        verifier=options.verifier or "code",
        traces=() if canonical is None else (Trace(f"```python\n{stub}{canonical}\n```", f"{benchmark} solution"),),
        benchmark=benchmark,
        metadata=_rest(row, "prompt", "canonical_solution", "test"),
    )


def mbpp(row: Row, options: Options) -> Problem:
    """MBPP and MBPP+ (Austin et al., 2021; Liu et al., 2023): task_id, text (or prompt), code, test_list, imports or set-up code.

    The prompt shows the first test, which alone says what the function is called; the answer holds them all.
    """
    tests = _texts(row, "test_list")
    setup = row.values.get("test_imports") or row.values.get("test_setup_code") or []
    setup = "\n".join(setup) if isinstance(setup, list) and all(isinstance(line, str) for line in setup) else setup
    if not isinstance(setup, str):
        raise row.error("test_imports", f"expected text or a list of texts, got {describe(setup)}")
    benchmark = options.benchmark or _benchmark(row, "mbpp")
    code = row.optional_text("code")
    return Problem(
        id=_id(row, "task_id", prefix=benchmark),
        prompt=f"{row.text('text', 'prompt')}\nYour code should pass this test:\n{tests[0]}",
        answer={"test_list": tests, "setup": setup},
        verifier=options.verifier or "code",
        traces=() if code is None else (Trace(f"```python\n{code}\n```", f"{benchmark} solution"),),
        benchmark=benchmark,
        metadata=_rest(row, "text", "prompt", "code", "test_list"),
    )


def reasoning_gym(row: Row, options: Options) -> Problem:
    """Reasoning Gym's entries: question, answer (null for tasks whose scorer needs none), metadata with source_dataset."""
    metadata = _parsed(row, "metadata", dict, "an object with source_dataset") or {}
    task = metadata.get("source_dataset")
    if not isinstance(task, str) or not task:
        raise row.error("metadata", "has no source_dataset, the name of the Reasoning Gym task")
    return Problem(
        id=_id(row, "id", prefix=task) if row.first("id") else f"{task}-{_row_id(row)}",
        prompt=row.text("question"),
        answer=row.values.get("answer"),
        verifier=options.verifier or "gym",
        benchmark=options.benchmark or task,
        metadata=metadata,
    )


# name -> adapter, the more particular first
ADAPTERS = {
    "explore-rl": Adapter("our own: id, prompt, answer, verifier, traces, benchmark, metadata", lambda v: {"prompt", "answer", "verifier"} <= v.keys(), own),
    "verl": Adapter("verl, and LUFFY with target: data_source, prompt, reward_model, extra_info", lambda v: {"data_source", "reward_model"} <= v.keys(), verl),
    "open-instruct": Adapter("open-instruct: messages, ground_truth, dataset", lambda v: {"messages", "ground_truth", "dataset"} <= v.keys(), open_instruct),
    "humaneval": Adapter("HumanEval, HumanEval+: task_id, prompt, entry_point, test", lambda v: {"task_id", "entry_point", "test"} <= v.keys(), humaneval),
    "mbpp": Adapter("MBPP, MBPP+: task_id, text or prompt, test_list", lambda v: {"task_id", "test_list"} <= v.keys(), mbpp),
    "olympiadbench": Adapter("OlympiadBench: question, final_answer, error, unit", lambda v: {"question", "final_answer"} <= v.keys(), olympiadbench),
    "reasoning-gym": Adapter("Reasoning Gym: question, answer, metadata.source_dataset", lambda v: _is_gym(v), reasoning_gym),
    "gsm8k": Adapter("GSM8K: question, answer with ####", lambda v: "question" in v and "####" in str(v.get("answer")), gsm8k),
    "math": Adapter("MATH, Minerva, AIME, AMC: problem, answer or a solution with a box", lambda v: _is_competition(v), competition),
    "openrlhf": Adapter("OpenRLHF: input or context_messages, label or answer", lambda v: bool({"input", "context_messages"} & v.keys()), openrlhf),
    "trl": Adapter("TRL, Hugging Face: prompt and columns", lambda v: "prompt" in v, trl),
}
ADAPTERS["luffy"] = ADAPTERS["verl"]
for _name in ("minerva", "aime", "amc"):
    ADAPTERS[_name] = ADAPTERS["math"]

# the first part of verl's data_source that is known -> verifier; otherwise its `ability` decides
VERL_SOURCES = {
    "openai/gsm8k": "math", "gsm8k": "math", "lighteval/MATH": "math", "DigitalLearningGmbH/MATH": "math", "HuggingFaceH4/MATH-500": "math",
    "math": "math", "aime": "math", "numina": "math", "countdown": "countdown", "searchR1_": "text",
    "codecontests": "code", "apps": "code", "codeforces": "code", "taco": "code",
}  # fmt: skip
VERL_ABILITIES = {"math": "math", "code": "code", "coding": "code", "fact-reasoning": "text"}
OPEN_INSTRUCT_VERIFIERS = {
    "gsm8k": "math", "math": "math", "strict_math": "math", "string_matcher": "text", "string_f1": "text", "code": "code",
    "code_stdio": "code", "general-quality": "judge", "general-quality_ref": "judge",
}  # fmt: skip


def needs_no_answer(verifier: str) -> bool:
    """Whether a problem may come without a reference answer: the format alone is judged, or a function of the user's own does it."""
    return verifier in ("format", "gym", "combine") or ":" in verifier


# --- parts ------------------------------------------------------------------------------------------------------------


def last_boxed(text: str) -> str | None:
    r"""The content of the last \boxed{...} (or \fbox, \framebox), braces matched; `\boxed 7` gives "7". None if there is none, or it never closes.

    >>> last_boxed(r"so \boxed{1} or rather \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    """
    found = list(re.finditer(r"\\(?:boxed|fbox|framebox)\b\s*", text))
    if not found:
        return None
    start = found[-1].end()
    if not text.startswith("{", start):
        bare = re.match(r"[^\s$.,;]+", text[start:])
        return bare.group().strip() if bare else None
    depth = 0
    for position in range(start, len(text)):
        character = text[position]
        if character in "{}" and text[position - 1] != "\\":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return text[start + 1 : position].strip() or None
    return None


def solution_trace(solution: str, answer: str | list[str], source: str) -> Trace:
    r"""A worked solution as the policy would write it: one that does not box its answer gets a last line that does (its source says so)."""
    if last_boxed(solution) is not None and "\\boxed" in solution:
        return Trace(solution, f"{source} solution")
    boxed = answer if isinstance(answer, str) else ", ".join(answer)
    return Trace(f"{solution.rstrip()}\n\nThe final answer is $\\boxed{{{boxed}}}$.", f"{source} solution, answer boxed by the adapter")


def prompt_of(row: Row, key: str) -> str | list[dict[str, str]]:
    """Text, or chat messages, as the row has it. A list of messages that a file holds as JSON text is read as one."""
    value = row.values.get(key)
    if isinstance(value, list):
        return _messages(row, key, value)
    if value is not None and not isinstance(value, str):
        raise row.error(key, f"expected text or a list of messages, got {describe(value)}")
    return row.text(key)


def _messages(row: Row, key: str, value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise row.error(key, f"expected a list of messages [{{role, content}}], got {describe(value)}")
    messages = []
    for i, message in enumerate(value):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            raise row.error(key, f"message {i}: expected {{role, content}} of texts, got {describe(message)}")
        if message["role"] not in ROLES:
            raise row.error(key, f"message {i}: unknown role {describe(message['role'])}; known: {', '.join(ROLES)}")
        messages.append({"role": message["role"], "content": message["content"]})
    if not any(message["content"].strip() for message in messages):
        raise row.error(key, "every message is empty")
    return messages


def _last_message(row: Row, key: str, value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value
    content = _messages(row, key, value)[-1]["content"]
    if not content.strip():
        raise row.error(key, "the last message is empty")
    return content


def traces_of(row: Row, key: str) -> tuple[Trace, ...]:
    value = _parsed(row, key, list, "a list of traces [{text, source}]")
    return () if value is None else _traces(row, key, value)


def _traces(row: Row, key: str, value: Any) -> tuple[Trace, ...]:
    if not isinstance(value, list):
        raise row.error(key, f"expected a list of traces [{{text, source}}], got {describe(value)}")
    return tuple(trace_from(row, key, entry, i) for i, entry in enumerate(value))


def trace_from(row: Row, key: str, entry: Any, i: int) -> Trace:
    """One trace {text, source, logprob?, region?} of a row. Raises InputError."""
    if not isinstance(entry, dict):
        raise row.error(key, f"trace {i}: expected an object with text and source, got {describe(entry)}")
    for name in ("text", "source"):
        if not isinstance(entry.get(name), str) or not entry[name].strip():
            raise row.error(key, f"trace {i}: {name}: expected text, got {describe(entry.get(name))}")
    logprob, region = entry.get("logprob"), entry.get("region")
    if logprob is not None and (isinstance(logprob, bool) or not isinstance(logprob, (int, float)) or not -math.inf < logprob <= 0):
        raise row.error(key, f"trace {i}: logprob: expected a log-probability (nats, at most 0), got {describe(logprob)}")
    if region is not None and not isinstance(region, str):
        raise row.error(key, f"trace {i}: region: expected text, got {describe(region)}")
    return Trace(entry["text"], entry["source"], None if logprob is None else float(logprob), region)


def _id(row: Row, *keys: str, prefix: str | None = None) -> str:
    """The id under the first of these keys; a number gets the prefix. Rows of forms without ids are named by their place in the file."""
    key = row.first(*keys)
    if key is None:
        if keys == ("id",) and {"answer", "verifier"} <= row.values.keys():
            raise row.error("id", "missing; expected text that is unique within the file")
        return f"{prefix}-{_row_id(row)}" if prefix and prefix != row.name else _row_id(row)
    value = row.values[key]
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{prefix}-{value}" if prefix else str(value)
    raise row.error(key, f"expected text or a whole number that is unique within the file, got {describe(value)}")


def _row_id(row: Row) -> str:
    return f"{row.name}-{row.number - 1}"


def _any_answer(row: Row, key: str, verifier: str) -> Any:
    answer = row.values.get(key)
    if answer is None and needs_no_answer(verifier):
        return None
    return _checked_answer(row, key, answer, verifier)


def _checked_answer(row: Row, key: str, answer: Any, verifier: str) -> Any:
    """The reference as it is, once it is clear that it is one: text for the verifiers of text, anything that is not empty for the others."""
    if verifier == "math":
        return _math_answer(row, key, answer)
    if answer is None or (isinstance(answer, (str, list, dict)) and not answer) or (isinstance(answer, float) and not math.isfinite(answer)):
        raise row.error(key, f"missing; expected the reference answer, got {describe(answer)}")
    if isinstance(answer, str) and not answer.strip():
        raise row.error(key, "empty; expected the reference answer")
    return answer


def _math_answer(row: Row, key: str, answer: Any) -> str | list[str]:
    """Text, a number (27.0 reads 27), or a list of such: several answers, all of them asked for."""
    if isinstance(answer, list) and answer:
        return [_math_text(row, key, part) for part in answer]
    return _math_text(row, key, answer)


def _math_text(row: Row, key: str, answer: Any) -> str:
    if isinstance(answer, str) and answer.strip():
        return answer.strip()
    if isinstance(answer, int) and not isinstance(answer, bool):
        return str(answer)
    if isinstance(answer, float) and math.isfinite(answer):
        return str(int(answer)) if answer.is_integer() and abs(answer) < 1e15 else repr(answer)
    if answer is None or answer == "" or (isinstance(answer, str) and not answer.strip()):
        raise row.error(key, "missing; expected the reference answer")
    raise row.error(key, f"expected the reference answer as text, a number or a list of these, got {describe(answer)}")


def _without_dollars(text: str) -> str:
    inner = text.strip()
    return inner[1:-1].strip() if len(inner) > 2 and inner[0] == inner[-1] == "$" and inner.count("$") == 2 else text


def _texts(row: Row, key: str) -> list[str]:
    value = _parsed(row, key, list, "a list of texts")
    if not value or not all(isinstance(text, str) and text.strip() for text in value):
        raise row.error(key, f"expected a list of texts, got {describe(value)}")
    return value


def _parsed(row: Row, key: str, kind: type, what: str) -> Any:
    """The value under key, of this kind or as JSON text of it (flat files hold it so); None if absent."""
    value = row.values.get(key)
    if isinstance(value, str) and value.strip():
        value = _json(row, key, value)
    if value is None or value == "":
        return None
    if not isinstance(value, kind):
        raise row.error(key, f"expected {what}, got {describe(value)}")
    return value


def _json(row: Row, key: str, text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise row.error(key, f"expected JSON, got {describe(text)}") from None


def _rest(row: Row, *used: str) -> dict[str, Any]:
    return {key: value for key, value in row.values.items() if key not in used and value is not None}


def _verifier_of_source(row: Row, source: str, ability: Any) -> str:
    for known, verifier in VERL_SOURCES.items():
        if source.lower().startswith(known.lower()):
            return verifier
    if isinstance(ability, str) and ability.lower() in VERL_ABILITIES:
        return VERL_ABILITIES[ability.lower()]
    known = ", ".join(VERL_ABILITIES)
    raise row.error("data_source", f"no verifier is known for {source!r} (nor is 'ability' one of {known}); name one with verifier=")


def _benchmark(row: Row, form: str | None) -> str | None:
    """The file's own name where it begins like the form's ("math500" of the form "math"), else the form's."""
    stem = Path(row.name).name
    roots = ("gsm8k", "math", "minerva", "aime", "amc", "olympiad", "humaneval", "mbpp") if form is None else (form[:6],)
    return stem if stem.lower().startswith(roots) else form


def _competition_name(row: Row) -> str | None:
    if "level" in row.values:
        return "math"
    address = str(row.values.get("url", ""))
    year = re.search(r"(20\d\d)_(AIME|AMC)", address)
    return f"{year[2].lower()}{year[1][2:]}" if year else None


def _is_competition(values: dict[str, Any]) -> bool:
    return bool({"problem", "Problem", "question"} & values.keys()) and bool({"answer", "Answer", "solution", "Solution", "expected_answer"} & values.keys())


def _is_gym(values: dict[str, Any]) -> bool:
    metadata = values.get("metadata")
    return {"question", "answer"} <= values.keys() and isinstance(metadata, (dict, str)) and "source_dataset" in metadata
