"""The exact audit of a checkpoint, made or read."""

from __future__ import annotations

from pathlib import Path

from analysis.errors import InputError
from explore_rl.lab import exact, logprobs


def audit_of(
    model: str | Path, asked: list, temperature: float = 1.0, top_p: float = 1.0, progress: bool = False
) -> exact.ExactAudit:
    """The ExactAudit of a checkpoint folder, or one read from a .json file, which has to be of the same problems and settings."""
    settings = {"temperature": temperature, "top_p": top_p}
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
    found = logprobs.completion_logprobs(loaded, pairs, temperature, top_p, progress=progress)
    return exact.summarise(asked, index, found, settings | {"model": str(model)})
