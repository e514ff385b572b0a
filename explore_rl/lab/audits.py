"""The exact audit of a checkpoint, made or read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from explore_rl.lab import exact, logprobs
from explore_rl.lab.readings import asked as asked_of
from explore_rl.lab.readings import audit_from, readouts_for
from explore_rl.types import Problem


def audit_of(
    model: str | Path, asked: list[Problem], *, temperature: float = 1.0, top_p: float = 1.0, progress: bool = False
) -> exact.ExactAudit:
    """The exact audit of a model.

    Raises InputError for a file of other problems or settings, and for a checkpoint that cannot be read.

    model: a checkpoint folder, or a .json file that `ExactAudit.save` wrote.
    asked: the problems.
    temperature, top_p: what it is taken at.
    progress: whether a bar is shown.
    """
    settings = {"temperature": temperature, "top_p": top_p}
    # An audit from a file has to be the one that would be made here.
    if str(model).endswith(".json"):
        audit = exact.ExactAudit.load(Path(model))
        if audit.problem_ids != tuple(one.id for one in asked):
            raise InputError(
                f"{model}: its problems are not the ones asked for; give the same --level, --split and --size"
            )
        for key, value in settings.items():
            if audit.settings.get(key) != value:
                raise InputError(f"{model}: was taken at {key}={audit.settings.get(key)}, not {value}")
        return audit
    logprobs.check_settings(temperature, top_p)
    loaded, tokenizer = logprobs.load_model(model)
    audit = audit_of_loaded(loaded, tokenizer, asked=asked, temperature=temperature, top_p=top_p, progress=progress)
    return replace(audit, settings=settings | {"model": str(model)})


def audit_of_loaded(
    model: Any,
    tokenizer: Any,
    *,
    asked: list[Problem],
    temperature: float = 1.0,
    top_p: float = 1.0,
    progress: bool = False,
) -> exact.ExactAudit:
    """The exact audit of a model that is loaded; otherwise as `audit_of`.

    model: a transformers module, on any device.
    tokenizer: the checkpoint's.
    asked: the problems.
    temperature, top_p: what it is taken at.
    progress: whether a bar is shown.
    """
    pairs, index = exact.sequences(asked, tokenizer)
    readouts = readouts_for(asked, tokenizer, temperature=temperature, top_p=top_p)
    values = logprobs.token_values(model, asked_of(pairs), readouts=readouts, progress=progress)
    return audit_from(asked, index, pairs=pairs, values=values)
