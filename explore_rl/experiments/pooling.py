"""Which runs are seeds of one method: those whose settings agree in all but the seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.errors import InputError
from explore_rl.config.checks import value_of
from explore_rl.config.loading import load_config
from explore_rl.config.schema import Config, all_settings
from explore_rl.experiments.run_folder import RunFolder

# Where a run lies, how it is laid out and how it is watched makes no method.
APART = ("name", "seed", "run.output", "run.tracker", "run.checkpoint_every", "run.checkpoint_minutes")
APART_SECTIONS = ("devices", "tracking")


def method_settings(config: Config) -> dict[str, Any]:
    """What makes a method: every setting but the seed, and but those of how a run is made and not of what it learns."""
    return {
        key: value_of(config, key)
        for key, known in all_settings().items()
        if key not in (*APART, "run.keep_checkpoints")
        and key.split(".")[0] not in APART_SECTIONS
        and not known.harmless
    }


def differing(configs: Sequence[Config]) -> dict[str, list[Any]]:
    """Setting -> its value in each of the configs, for the settings in which they differ."""
    of_each = [method_settings(config) for config in configs]
    return {
        key: [one[key] for one in of_each] for key in of_each[0] if any(one[key] != of_each[0][key] for one in of_each)
    }


def method_names(configs: Sequence[Config]) -> list[str]:
    """The method of each config: its name, and behind it the settings in which runs of that name differ, if they do.

    Runs of one name and of different settings are different methods.
    """
    names = []
    for config in configs:
        of_name = [other for other in configs if other.name == config.name]
        settings = method_settings(config)
        said = ", ".join(f"{key}={settings[key]}" for key in differing(of_name))
        names.append(f"{config.name} ({said})" if said else config.name)
    return names


def refuse_other_content(folders: Sequence[Path]) -> None:
    """Settings that agree name files, and these may have changed between two runs.

    Raises InputError where runs of one method were trained on other problems, or runs began from other models, under
    the same names. What an older run did not write down is not held against it.
    """
    names = method_names([load_config(folder / "config.yaml") for folder in folders])
    runs = [RunFolder(folder) for folder in folders]
    facts = [run.environment() if (run.path / "environment.json").exists() else {} for run in runs]
    seen: dict[tuple[str, str], tuple[Any, Path]] = {}
    for name, fact, folder in zip(names, facts, folders, strict=True):
        said = {("model", ""): fact.get("model"), ("problems.train", name): fact.get("problems", {}).get("train")}
        for key, now in said.items():
            before, first = seen.setdefault(key, (now, folder))
            if now is not None and before is not None and now != before:
                raise InputError(
                    f"{folder}: {key[0]} has the name that it has in {first}, and another content ({now}, there"
                    f" {before}); such runs are not compared"
                )


def differences(configs: Sequence[Config]) -> list[str]:
    """One line for each setting in which the methods differ, for the reader of a comparison."""
    names = method_names(configs)
    first = dict(zip(names, configs, strict=True))
    lines = []
    for key, values in differing(list(first.values())).items():
        said = "; ".join(f"{name}: {_short(value)}" for name, value in zip(first, values, strict=True))
        lines.append(f"{key} differs: {said}")
    return lines


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
