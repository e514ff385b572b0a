"""Paths of a recipe: `~` is home, a file beside the recipe is that file, and what is there becomes absolute.

Actors run in folders of their own, on other nodes too, where a relative path means something else or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from analysis.errors import InputError
from explore_rl.config.schema import Config

# Settings that name a file or folder to be read. A name that is none (lab:base, chat, a Hub name) is left as it is.
READ = ("model.path", "model.template", "problems.train", "problems.heldout", "run.exact_problems")
OF_STRATEGIES = ("traces", "traces.file", "base")  # the same, of strategies
VARIABLE = re.compile(r"\$\{?(\w+)\}?")  # which no shell has filled in
ADDRESS = re.compile(r"[a-zA-Z][\w+.-]+:/")
SCHEMES = ("lab:", "real:", "gym:", "hub:", "hf:")


def resolve(layer: DictConfig, beside: Path | None) -> dict[str, Path | None]:
    """Makes the paths of a recipe or override absolute, in place. Returns, for `resolve_merged`, the keys whose values
    have other settings in them (`${name}`), which later layers may change, and the recipe's folder.

    layer: its settings.
    beside: the recipe's folder; None for what was typed: paths are then of the working directory alone.
    """
    late = {key: beside for key in (*READ, "run.output") if _stands_for_others(layer, key)}
    for key in READ:
        value = None if key in late else OmegaConf.select(layer, key, throw_on_missing=False)
        if isinstance(value, str):
            OmegaConf.update(layer, key, absolute(value, beside))
    output = None if "run.output" in late else OmegaConf.select(layer, "run.output", throw_on_missing=False)
    if isinstance(output, str):
        refuse_variables(output)
        OmegaConf.update(layer, "run.output", str(of_home(output)))
    for evaluation in _mappings(layer, "run", "evaluations"):
        if isinstance(problems := _own(evaluation, "problems"), str):
            evaluation["problems"] = absolute(problems, beside)
        _own_code(evaluation, "verifier", beside=beside)
    options = OmegaConf.select(layer, "verifiers.options", throw_on_missing=False)
    for of_one in options.values() if isinstance(options, DictConfig) else ():
        _own_code(of_one, "kind", beside=beside)
    for strategy in _mappings(layer, "strategies"):
        _own_code(strategy, "name", beside=beside)
        for key in OF_STRATEGIES:
            value = None if _stands_for_others(strategy, key) else OmegaConf.select(strategy, key)
            if isinstance(value, str):
                OmegaConf.update(strategy, key, absolute(value, beside))
    return late


def _stands_for_others(layer: DictConfig, key: str) -> bool:
    """Whether a value has other settings in it (`${name}`): what they are is known when all layers are merged."""
    section, _, name = key.rpartition(".")
    if section and _stands_for_others(layer, section):
        return True
    node = OmegaConf.select(layer, section, throw_on_missing=False) if section else layer
    return isinstance(node, DictConfig) and name in node and OmegaConf.is_interpolation(node, name)


def _own(mapping: DictConfig, key: str) -> Any:
    """What the mapping itself has under `key`; None where that stands for other settings."""
    return None if OmegaConf.is_interpolation(mapping, key) else mapping.get(key)


def resolve_merged(config: Config, late: dict[str, Path | None]) -> None:
    """The same as `resolve` for paths that stood for other settings, and are whole now. late: as `resolve` gave it."""
    for key, beside in late.items():
        section, name = key.split(".")
        value = getattr(getattr(config, section), name)
        if value is None:
            continue
        if key not in READ:
            refuse_variables(value)
        setattr(getattr(config, section), name, absolute(value, beside) if key in READ else str(of_home(value)))


def absolute(text: str, beside: Path | None) -> str:
    """The absolute path of what `text` names, beside the recipe or in the working directory; `text` if it is nowhere.

    >>> absolute("lab:base", None)
    'lab:base'
    """
    if text.startswith(SCHEMES) or "\n" in text or "\0" in text:
        return text
    path = of_home(text)
    for folder in [*([beside] if beside else []), Path()]:
        place = folder / path
        if _is_there(place):
            return str(place.resolve()) if "*" not in text else str(place.absolute())
    refuse_variables(text)
    return str(path)


def refuse_variables(text: str) -> None:
    """Raises InputError for a path with a variable that no shell has filled in: it would become a folder's name."""
    if (found := VARIABLE.search(text)) and not _is_there(Path(text)):
        raise InputError(
            f"{text}: {found[0]} is not filled in here; let the shell do it (no single quotes), or write"
            f" ${{oc.env:{found[1]}}}"
        )


def _own_code(mapping: Any, key: str, *, beside: Path | None) -> None:
    """Makes the file of "path.py:name" absolute, where a mapping has such a value under `key`."""
    name = _own(mapping, key) if isinstance(mapping, DictConfig) else None
    if isinstance(name, str) and ".py:" in name:
        file, _, within = name.rpartition(":")
        mapping[key] = f"{absolute(file, beside)}:{within}"


def of_home(text: str) -> Path:
    """The path with its home filled in. Raises InputError for the home of somebody who is not there, and for an address
    such as s3://bucket/x, which would become a folder's name.
    """
    if ADDRESS.match(text):
        raise InputError(f"{text}: an address; expected a path, of a disk or of what is mounted as one")
    try:
        return Path(text).expanduser() if text.startswith("~") else Path(text)
    except RuntimeError:
        raise InputError(f"{text}: there is no user of this name, whose home ~ would be") from None


def _is_there(place: Path) -> bool:
    try:
        if any(c in str(place) for c in "*?["):
            anchor = next(parent for parent in place.parents if not any(c in str(parent) for c in "*?["))
            return place.exists() or any(anchor.glob(str(place.relative_to(anchor))))
        return place.exists()
    except (OSError, ValueError, NotImplementedError):  # a name that no file can have
        return False


def _mappings(layer: DictConfig, *keys: str) -> Iterable[Any]:
    """The mappings of a list within a layer, for changing; none where there is no such list."""
    node: Any = layer
    for key in keys:
        if not isinstance(node, DictConfig) or OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key):
            return []
        node = node.get(key)
    if not OmegaConf.is_list(node):
        return []
    return [item for item in node if isinstance(item, DictConfig)]
