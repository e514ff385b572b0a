"""Paths of a recipe: `~` is home, a file beside the recipe is that file, and what is there becomes absolute.

Actors run in folders of their own, on other nodes too, where a relative path means something else or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

# Settings that name a file or folder to be read. A name that is none (lab:base, chat, a Hub name) is left as it is.
READ = ("model.path", "model.template", "problems.train", "problems.heldout", "run.exact_problems")
OF_STRATEGIES = ("traces", "traces.file", "base")  # the same, of strategies
SCHEMES = ("lab:", "real:", "gym:", "hub:", "hf:")


def resolve(layer: DictConfig, beside: Path | None) -> None:
    """Makes the paths of a recipe or override absolute, in place.

    layer: its settings.
    beside: the recipe's folder; None for what was typed: paths are then of the working directory alone.
    """
    for key in READ:
        value = OmegaConf.select(layer, key, throw_on_missing=False)
        if isinstance(value, str):
            OmegaConf.update(layer, key, absolute(value, beside))
    output = OmegaConf.select(layer, "run.output", throw_on_missing=False) if "run" in layer else None
    if isinstance(output, str) and output.startswith("~"):
        OmegaConf.update(layer, "run.output", str(Path(output).expanduser()))
    for evaluation in _mappings(layer, "run", "evaluations"):
        if isinstance(evaluation.get("problems"), str):
            evaluation["problems"] = absolute(evaluation["problems"], beside)
    for strategy in _mappings(layer, "strategies"):
        name = strategy.get("name")
        if isinstance(name, str) and ".py:" in name:
            file, _, kind = name.rpartition(":")
            strategy["name"] = f"{absolute(file, beside)}:{kind}"
        for key in OF_STRATEGIES:
            value = OmegaConf.select(strategy, key, throw_on_missing=False)
            if isinstance(value, str):
                OmegaConf.update(strategy, key, absolute(value, beside))


def absolute(text: str, beside: Path | None) -> str:
    """The absolute path of what `text` names, beside the recipe or in the working directory; `text` if it is nowhere.

    >>> absolute("lab:base", None)
    'lab:base'
    """
    if text.startswith(SCHEMES) or "\n" in text or "\0" in text:
        return text
    path = Path(text).expanduser() if text.startswith("~") else Path(text)
    for folder in [*([beside] if beside else []), Path()]:
        place = folder / path
        if _is_there(place):
            return str(place.resolve()) if "*" not in text else str(place.absolute())
    return str(path)


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
