"""Results that are one JSON document in place of rows: EvalPlus, Inspect, OpenCompass, bigcode-evaluation-harness.

Each is a `fits` on the document and `rows` of it, which are ours (records.SAMPLE_COLUMNS).
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.adapters.asked import Asked, text_of
from analysis.errors import InputError


@dataclass(frozen=True)
class Document:
    """name: as errors say it. fits(content): whether the document is of this format. rows(content, asked): ours."""

    name: str
    fits: Callable[[dict[str, Any]], bool]
    rows: Callable[[dict[str, Any], Asked], Iterator[dict[str, Any]]]


def find(content: dict[str, Any]) -> Document | None:
    """The format of a document."""
    return next((document for document in DOCUMENTS if document.fits(content)), None)


# --- EvalPlus: {"eval": {task: [{"solution", "base_status", "plus_status"}]}} -----------------------------------------


def _is_evalplus(content: dict[str, Any]) -> bool:
    return isinstance(content.get("eval"), dict) and "samples" not in content and bool(content["eval"])


def _evalplus(content: dict[str, Any], asked: Asked) -> Iterator[dict[str, Any]]:
    """A draw passes "plus" where it passes both sets of tests, as EvalPlus counts."""
    number = 0
    for task, samples in content["eval"].items():
        if isinstance(samples, dict):  # up to version 0.2: lists of [status, details] by set of tests
            base = samples.get("base") or []
            plus = samples.get("plus") or [None] * len(base)
            samples = [
                {"base_status": b[0], "plus_status": p[0] if p else None} for b, p in zip(base, plus, strict=True)
            ]
        for draw, sample in enumerate(samples):
            number += 1
            said = {name: sample.get(f"{name}_status") for name in ("base", "plus") if sample.get(f"{name}_status")}
            if not said:
                raise InputError(f"{asked.path}: {task}: base_status is missing")
            name = asked.choose(said, number, what="sets of tests")
            wanted = said if name == "plus" else {name: said[name]}
            yield {
                "problem_id": task,
                "benchmark": str(task).split("/")[0],
                "sample": draw,
                "correct": all(asked.verdict(value, name, number=number) for value in wanted.values()),
                "completion": sample.get("solution"),
                "metric": name,
            }


# --- Inspect: {"eval": {...}, "samples": [{"id", "epoch", "output", "scores": {scorer: {"value"}}}]} ------------------


def _is_inspect(content: dict[str, Any]) -> bool:
    return isinstance(content.get("samples"), list) and ("eval" in content or "status" in content)


def _inspect(content: dict[str, Any], asked: Asked) -> Iterator[dict[str, Any]]:
    task = (content.get("eval") or {}).get("task")
    model = (content.get("eval") or {}).get("model")
    for number, sample in enumerate(content["samples"], 1):
        if not isinstance(sample, dict) or sample.get("id") is None:
            raise InputError(f"{asked.at(number)}: a sample with an id is wanted")
        row: dict[str, Any] = {"problem_id": str(sample["id"]), "sample": int(sample.get("epoch") or 1) - 1}
        row |= {"benchmark": str(task)} if task else {}
        row |= {"model": str(model)} if model else {}
        output = sample.get("output") or {}
        choices = output.get("choices") or [{}]
        row["completion"] = output.get("completion") or text_of((choices[0].get("message") or {}).get("content"))
        row["finish_reason"] = choices[0].get("stop_reason")
        if sample.get("error"):
            yield row | {"verdict": "error"}  # the evaluation failed: no evidence
            continue
        scores = sample.get("scores") or {}
        if not scores:
            raise InputError(f"{asked.at(number)}: sample {sample['id']} has no scores; was the log scored?")
        name = asked.choose(scores, number, what="scores")
        value = scores[name].get("value") if isinstance(scores[name], dict) else scores[name]
        row["answer"] = scores[name].get("answer") if isinstance(scores[name], dict) else None
        if value == "N":  # no answer
            yield row | {"verdict": "no_answer", "metric": name}
        elif value == "P" and asked.correct_above is not None:  # partly correct, a half
            yield row | {"correct": asked.verdict(0.5, name, number=number), "metric": name}
        else:
            yield row | {"correct": asked.verdict(value, name, number=number), "metric": name}


def inspect_log(path: Path) -> dict[str, Any]:
    """Inspect's binary log (.eval, a zip of JSON files) as its JSON document. Raises InputError."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            content = json.loads(archive.read("header.json")) if "header.json" in names else {}
            content.setdefault("eval", {})
            found = sorted(name for name in names if name.startswith("samples/") and name.endswith(".json"))
            content["samples"] = [json.loads(archive.read(name)) for name in found]
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise InputError(f"{path}: not a readable Inspect log ({error})") from None
    if not content["samples"]:
        raise InputError(f"{path}: the log holds no samples")
    return content


# --- OpenCompass with dump_details: {"accuracy": ..., "details": {"0": {"predictions", "correct"}}} -------------------


def _is_opencompass(content: dict[str, Any]) -> bool:
    return isinstance(content.get("details"), dict | list) and bool(content["details"])


def _opencompass(content: dict[str, Any], asked: Asked) -> Iterator[dict[str, Any]]:
    details = content["details"]
    entries = list(details.items()) if isinstance(details, dict) else list(enumerate(details))
    number = 0
    for key, entry in entries:
        if not isinstance(entry, dict):
            continue  # "type": "GEN" stands among the entries
        number += 1
        name = asked.metric or next((name for name in ("correct", "is_correct") if name in entry), "correct")
        value = entry.get(name)
        if value is None:
            raise InputError(f"{asked.path}: details[{key}]: {name} is missing; it has {', '.join(entry)}")
        values = value if isinstance(value, list) else [value]
        texts = entry.get("origin_prediction", entry.get("prediction"))
        texts = texts if isinstance(texts, list) else [texts]
        answers = entry.get("predictions", entry.get("pred"))
        answers = answers if isinstance(answers, list) else [answers]
        for draw, one in enumerate(values):
            row = {"problem_id": str(key), "sample": draw, "metric": name}
            row["correct"] = asked.verdict(one, name, number=number)
            row["completion"] = str(texts[draw]) if len(texts) == len(values) and texts[draw] is not None else None
            row["answer"] = str(answers[draw]) if len(answers) == len(values) and answers[draw] is not None else None
            yield row


# --- bigcode-evaluation-harness logs: {task: [[completion_id, {"passed": true}]]} -------------------------------------


def _is_bigcode(content: dict[str, Any]) -> bool:
    first = next(iter(content.values()), None)
    return (
        isinstance(first, list)
        and bool(first)
        and isinstance(first[0], list)
        and len(first[0]) == 2
        and isinstance(first[0][1], dict)
        and "passed" in first[0][1]
    )


def _bigcode(content: dict[str, Any], asked: Asked) -> Iterator[dict[str, Any]]:
    number = 0
    for task, draws in content.items():
        for draw, result in draws:
            number += 1
            yield {
                "problem_id": str(task),
                "sample": draw,
                "correct": asked.verdict(result.get("passed"), "passed", number=number),
                "result": result.get("result"),
            }


DOCUMENTS = (
    Document("Inspect log", _is_inspect, _inspect),
    Document("EvalPlus results", _is_evalplus, _evalplus),
    Document("OpenCompass results", _is_opencompass, _opencompass),
    Document("bigcode-evaluation-harness logs", _is_bigcode, _bigcode),
)


def read(path: Path, opened: Callable[[], Any]) -> Any:
    """The JSON of a file: an array of rows, or one document; None where it is JSON lines. Raises InputError."""
    if path.suffix.lower() == ".eval":
        return inspect_log(path)
    with opened() as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig").read()
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        # JSON lines in a .json file: each line is JSON, the whole is not ("Extra data" behind the first).
        if error.msg == "Extra data":
            return None
        raise InputError(f"{path}, line {error.lineno}: not JSON ({error.msg}, column {error.colno})") from None
