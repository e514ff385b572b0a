"""The exact audit of a checkpoint, made or read."""

from __future__ import annotations

from pathlib import Path

from analysis.errors import InputError
from explore_rl.lab import exact, logprobs
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
    loaded, tokenizer = logprobs.load_model(model)
    pairs, index = exact.sequences(asked, tokenizer)
    scored = logprobs.completion_logprobs(loaded, pairs, temperature=temperature, top_p=top_p, progress=progress)
    return exact.summarise(asked, index, logprobs=scored, settings=settings | {"model": str(model)})
