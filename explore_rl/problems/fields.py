"""The parts that the forms of problem files share: prompts, answers, traces and ids out of a row, checked, each error
with its place."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from explore_rl.problems.rows import Row, describe
from explore_rl.types import Problem, Trace
from explore_rl.verifiers.choice import listed_options
from explore_rl.verifiers.extract import last_boxed

OWN_KEYS = ("id", "prompt", "answer", "verifier", "traces", "benchmark", "metadata")
ROLES = ("system", "developer", "user", "assistant", "tool")
ANSWER_KEYS = ("answer", "solution", "ground_truth", "label", "target", "reference_answer", "final_answer")


@dataclass(frozen=True)
class Options:
    """What the user said about the whole file, and what the form's name implies. verifier, benchmark: replace what the
    rows say."""

    verifier: str | None = None
    benchmark: str | None = None


def needs_no_answer(verifier: str) -> bool:
    """Whether a problem may come without a reference answer: the format alone is judged, or a function of the user's
    own does it."""
    return verifier in ("format", "gym", "combine") or ":" in verifier


def solution_trace(solution: str, answer: Any, *, source: str) -> Trace:
    r"""A worked solution as the policy would write it: one that does not box its answer gets a last line that does (its
    source says so)."""
    if "\\boxed" in solution and last_boxed(solution):
        return Trace(solution, f"{source} solution")
    boxed = ", ".join(map(str, answer)) if isinstance(answer, list) else str(answer)
    return Trace(
        f"{solution.rstrip()}\n\nThe final answer is $\\boxed{{{boxed}}}$.",
        f"{source} solution, answer boxed by the adapter",
    )


def prompt_of(row: Row, key: str) -> str | list[dict[str, str]]:
    """Text, or chat messages, as the row has it. A list of messages that a file holds as JSON text is read as one."""
    value = row.values.get(key)
    if isinstance(value, list):
        return messages_of(row, key, value=value)
    if value is not None and not isinstance(value, str):
        raise row.error(key, f"expected text or a list of messages, got {describe(value)}")
    return row.text(key)


def messages_of(row: Row, key: str, *, value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise row.error(key, f"expected a list of messages [{{role, content}}], got {describe(value)}")
    messages = []
    for i, message in enumerate(value):
        if (
            not isinstance(message, dict)
            or not isinstance(message.get("role"), str)
            or not isinstance(message.get("content"), str)
        ):
            raise row.error(key, f"message {i}: expected {{role, content}} of texts, got {describe(message)}")
        if message["role"] not in ROLES:
            raise row.error(key, f"message {i}: unknown role {describe(message['role'])}; known: {', '.join(ROLES)}")
        messages.append({"role": message["role"], "content": message["content"]})
    if not any(message["content"].strip() for message in messages):
        raise row.error(key, "every message is empty")
    return messages


def last_message(row: Row, key: str, *, value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value
    content = messages_of(row, key, value=value)[-1]["content"]
    if not content.strip():
        raise row.error(key, "the last message is empty")
    return content


def traces_of(row: Row, key: str) -> tuple[Trace, ...]:
    value = parsed(row, key, kind=list, what="a list of traces [{text, source}]")
    return () if value is None else traces_from(row, key, value=value)


def traces_from(row: Row, key: str, *, value: Any) -> tuple[Trace, ...]:
    if not isinstance(value, list):
        raise row.error(key, f"expected a list of traces [{{text, source}}], got {describe(value)}")
    return tuple(trace_from(row, key, entry=entry, i=i) for i, entry in enumerate(value))


def trace_from(row: Row, key: str, *, entry: Any, i: int) -> Trace:
    """One trace {text, source, logprob?, region?} of a row. Raises InputError.

    row: whose it is, for errors.
    key: the column, for errors.
    entry: what should be the trace.
    i: its place in the row's list, for errors.
    """
    if not isinstance(entry, dict):
        raise row.error(key, f"trace {i}: expected an object with text and source, got {describe(entry)}")
    for name in ("text", "source"):
        if not isinstance(entry.get(name), str) or not entry[name].strip():
            raise row.error(key, f"trace {i}: {name}: expected text, got {describe(entry.get(name))}")
    logprob = entry.get("logprob")
    region = entry.get("region")
    if logprob is not None and (
        isinstance(logprob, bool) or not isinstance(logprob, (int, float)) or not -math.inf < logprob <= 0
    ):
        raise row.error(
            key, f"trace {i}: logprob: expected a log-probability (nats, at most 0), got {describe(logprob)}"
        )
    if region is not None and not isinstance(region, str):
        raise row.error(key, f"trace {i}: region: expected text, got {describe(region)}")
    return Trace(entry["text"], entry["source"], None if logprob is None else float(logprob), region)


def gsm8k_trace(solution: str) -> Trace | None:
    """The worked solution of GSM8K without its <<calculator>> notes; None for a text without a result after ####."""
    before, mark, result = solution.rpartition("####")
    if not mark or not result.strip():
        return None
    return Trace(re.sub(r"<<[^<>]*>>", "", before) + f"#### {result.strip()}", "gsm8k solution")


def identity_of(row: Row, *keys: str, prefix: str | None = None) -> str:
    """The id under the first of these keys; a number gets the prefix. Rows of forms without ids are named by their
    place in the file."""
    key = row.first(*keys)
    if key is None:
        if keys == ("id",) and {"answer", "verifier"} <= row.values.keys():
            raise row.error("id", "missing; expected text that is unique within the file")
        return f"{prefix}-{row_id(row)}" if prefix and prefix != row.name else row_id(row)
    value = row.values[key]
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{prefix}-{value}" if prefix else str(value)
    raise row.error(key, f"expected text or a whole number that is unique within the file, got {describe(value)}")


def row_id(row: Row) -> str:
    return f"{row.name}-{row.number - 1}"


def checked_answer(row: Row, key: str, *, answer: Any, verifier: str) -> Any:
    """The reference, once it is clear that there is one where one is needed.

    row: whose it is, for errors.
    key: the column, for errors.
    answer: what stands there; None where nothing does.
    verifier: the problem's, which says what a reference may be.
    Returns for math a text or texts, for the others `answer` as it is. Raises InputError.
    """
    if answer is None and needs_no_answer(verifier):
        return None
    if verifier == "math":
        return math_answer(row, key, answer=answer)
    empty = answer is None or (isinstance(answer, (str, list, dict)) and not answer)
    if empty or (isinstance(answer, float) and not math.isfinite(answer)):
        raise row.error(key, f"missing; expected the reference answer, got {describe(answer)}")
    if isinstance(answer, str) and not answer.strip():
        raise row.error(key, "empty; expected the reference answer")
    return answer


def math_answer(row: Row, key: str, *, answer: Any) -> str | list[str]:
    """Text, a number (27.0 reads 27), or a list of such: several answers, all of them asked for."""
    if isinstance(answer, list) and answer:
        return [math_text(row, key, answer=part) for part in answer]
    return math_text(row, key, answer=answer)


def math_text(row: Row, key: str, *, answer: Any) -> str:
    if isinstance(answer, str) and answer.strip():
        return answer.strip()
    if isinstance(answer, int) and not isinstance(answer, bool):
        return str(answer)
    if isinstance(answer, float) and math.isfinite(answer):
        return str(int(answer)) if answer.is_integer() and abs(answer) < 1e15 else repr(answer)
    if answer is None or answer == "" or (isinstance(answer, str) and not answer.strip()):
        raise row.error(key, "missing; expected the reference answer")
    raise row.error(key, f"expected the reference answer as text, a number or a list of these, got {describe(answer)}")


def without_dollars(text: str) -> str:
    inner = text.strip()
    return inner[1:-1].strip() if len(inner) > 2 and inner[0] == inner[-1] == "$" and inner.count("$") == 2 else text


def with_options(problem: Problem) -> Problem:
    """A multiple-choice problem with its options in the prompt, where the file holds them beside it (MMLU) and the
    prompt does not."""
    choices = listed_options(problem) if problem.verifier == "choice" else {}
    if not choices or not isinstance(problem.prompt, str):
        return problem
    if all(text.strip() in problem.prompt for text in choices.values()):
        return problem
    lines = "\n".join(f"{letter}. {text}" for letter, text in choices.items())
    return replace(problem, prompt=f"{problem.prompt.rstrip()}\n\n{lines}")


def texts_of(row: Row, key: str) -> list[str]:
    value = parsed(row, key, kind=list, what="a list of texts")
    if not value or not all(isinstance(text, str) and text.strip() for text in value):
        raise row.error(key, f"expected a list of texts, got {describe(value)}")
    return value


def parsed(row: Row, key: str, *, kind: type, what: str) -> Any:
    """The value under key, of this kind or as JSON text of it (flat files hold it so); None if absent.

    row: whose it is.
    key: the column.
    kind: the Python type that is expected.
    what: the same in words, for the error.
    Raises InputError.
    """
    value = row.values.get(key)
    if isinstance(value, str) and value.strip():
        value = json_of(row, key, text=value)
    if value is None or value == "":
        return None
    if not isinstance(value, kind):
        raise row.error(key, f"expected {what}, got {describe(value)}")
    return value


def json_of(row: Row, key: str, *, text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise row.error(key, f"expected JSON, got {describe(text)}") from None


def rest_of(row: Row, *used: str) -> dict[str, Any]:
    return {key: value for key, value in row.values.items() if key not in used and value is not None}


@overload
def benchmark_of(row: Row, form: str) -> str: ...
@overload
def benchmark_of(row: Row, form: str | None) -> str | None: ...
def benchmark_of(row: Row, form: str | None) -> str | None:
    """The file's own name where it begins like the form's ("math500" of the form "math"), else the form's."""
    stem = Path(row.name).name
    roots = (
        ("gsm8k", "math", "minerva", "aime", "amc", "olympiad", "humaneval", "mbpp") if form is None else (form[:6],)
    )
    return stem if stem.lower().startswith(roots) else form
