"""Reading a recipe: defaults <- the recipe its `base` names <- the recipe <- overrides."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from analysis.errors import InputError
from explore_rl.config.checks import check
from explore_rl.config.recipes import find
from explore_rl.config.schema import Config, all_settings

# What OmegaConf and YAML raise for text that is no setting:
# TypeError where containers do not fit, IndexError for a key like "[".
UNREADABLE = (OmegaConfBaseException, yaml.YAMLError, TypeError, ValueError, IndexError)


def load_config(recipe: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """Defaults <- recipe <- overrides, checked. Later ones win.

    recipe: a file, or the name of one that comes with the project, such as "lab/grpo".
    overrides: such as "learner.ranks=2".
    Raises InputError that names the file, the key and the nearest right key.
    """
    merged = OmegaConf.structured(Config)
    layers = _recipe_layers(find(recipe), ()) if recipe is not None else []
    where = str(recipe) if recipe else "config"
    try:
        for override in overrides:
            where = f"override {override!r}"
            layers.append((where, _override(override)))
        for where, layer in layers:
            if not isinstance(layer, DictConfig):
                raise InputError(f"{where}: expected a mapping of settings at the top level, got a list")
            _refuse_unknown(layer, Config, where=where)
            if missing := OmegaConf.missing_keys(layer):
                raise InputError(f"{where}: {min(missing)}: ??? stands for a value yet to be given; give one")
            merged = OmegaConf.merge(merged, layer)
        where = str(recipe) if recipe else "config"
        config = cast(Config, OmegaConf.to_object(merged))
    except UNREADABLE as error:
        key = getattr(error, "full_key", None)
        raise InputError(f"{where}: " + (f"{key}: " if key else "") + _one_line(error)) from None
    check(config, where)
    return config


def _override(text: str) -> DictConfig:
    if "=" not in text:
        raise InputError(f"override {text!r}: expected key=value, for example learner.ranks=2")
    return OmegaConf.from_dotlist([text])


def _recipe_layers(path: Path, below: tuple[Path, ...]) -> list[tuple[str, Any]]:
    """The recipe at `path` after the one that its `base` key names (relative to it), as (where, settings)."""
    if not path.is_file():
        raise InputError(f"{path}: no such recipe")
    if path.resolve() in below:
        raise InputError(f"{path}: base: recipes name each other in a circle")
    try:
        layer = OmegaConf.load(path)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, OSError) as error:
        raise InputError(f"{path}: not readable as YAML: {_one_line(error)}") from None
    if isinstance(layer, DictConfig) and "base" in layer:
        base = layer.pop("base")
        return _recipe_layers(path.parent / str(base), (*below, path.resolve())) + [(str(path), layer)]
    return [(str(path), layer)]


def to_yaml(config: Config) -> str:
    return OmegaConf.to_yaml(OmegaConf.structured(config), resolve=True)


def _one_line(error: object) -> str:
    """OmegaConf's and YAML's messages go over several lines; the ones that repeat key and type are left out."""
    hidden = ("full_key", "object_type", "reference_type")
    return " ".join(
        line.strip() for line in str(error).splitlines() if line.strip() and not line.strip().startswith(hidden)
    )


def _refuse_unknown(layer: DictConfig, schema: type, *, where: str, prefix: str = "") -> None:
    known = {f.name: f for f in fields(schema)}
    for key in layer:
        if key not in known:
            everywhere = list(all_settings())
            nearest = difflib.get_close_matches(f"{prefix}{key}", everywhere, n=1, cutoff=0.5)
            nearest = nearest or [name for name in everywhere if name.split(".")[-1] == str(key)]
            hint = f"; did you mean {nearest[0]}?" if nearest else f"; known here: {', '.join(known)}"
            raise InputError(f"{where}: unknown key {_one_line(f'{prefix}{key}')}{hint}")
        section = known[key].default_factory
        value = layer._get_node(key)
        if isinstance(value, DictConfig) and callable(section) and isinstance(section(), list):
            raise InputError(
                f"{where}: {prefix}{key} is a list, given as a whole: expected [...], "
                f"got {OmegaConf.to_container(value)}"
            )
        if isinstance(section, type) and is_dataclass(section):
            if not isinstance(value, DictConfig):
                raise InputError(f"{where}: {prefix}{key} is a section: expected a mapping, got {value}")
            _refuse_unknown(value, section, where=where, prefix=f"{prefix}{key}.")
