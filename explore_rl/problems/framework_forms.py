"""Forms of the files that training frameworks read: verl and LUFFY, open-instruct, TRL, OpenRLHF."""

from __future__ import annotations

import math
from typing import Any

from explore_rl.problems.fields import (
    ANSWER_KEYS,
    Options,
    checked_answer,
    gsm8k_trace,
    identity_of,
    json_of,
    last_message,
    messages_of,
    needs_no_answer,
    parsed,
    prompt_of,
    rest_of,
    row_id,
    traces_from,
)
from explore_rl.problems.rows import Row, describe
from explore_rl.types import Problem, Trace
from explore_rl.verifiers.extract import last_boxed


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
    worked = extra.get("answer")  # of GSM8K, as verl's example writes it
    if isinstance(worked, str) and (trace := gsm8k_trace(worked)) is not None:
        return (trace,)
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
    # A solution that boxes its answer is both: the answer to compare with, and a trace to learn from.
    traces: tuple[Trace, ...] = ()
    if key == "solution" and isinstance(answer, str) and (boxed := last_boxed(answer)):
        traces = (Trace(answer, "solution"),)
        answer = boxed
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
