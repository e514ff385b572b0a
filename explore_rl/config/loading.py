"""Reading a recipe: defaults <- the recipe its `base` names <- the recipe <- overrides."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from analysis.errors import InputError
from explore_rl.config import paths
from explore_rl.config.aliases import meant
from explore_rl.config.checks import check
from explore_rl.config.paths import of_home
from explore_rl.config.recipes import find
from explore_rl.config.schema import Config, all_settings

Layer = tuple[str, Any, Path | None]  # where it stands, its settings, and the folder that its paths may be beside

# What OmegaConf and YAML raise for text that is no setting:
# TypeError where containers do not fit, IndexError for a key like "[".
UNREADABLE = (OmegaConfBaseException, yaml.YAMLError, TypeError, ValueError, IndexError)


def load_config(recipe: str | Path | None, overrides: Sequence[str] = (), *, beside: Path | None = None) -> Config:
    """Defaults <- recipe <- overrides, checked. Later ones win.

    recipe: a file, or the name of one that comes with the project, such as "lab/grpo".
    overrides: such as "learner.ranks=2".
    beside: a folder that paths of overrides may be relative to; None: the working directory alone.
    Raises InputError that names the file, the key and the nearest right key.
    """
    merged = copy.deepcopy(_defaults())
    layers = _recipe_layers(find(recipe), ()) if recipe is not None else []
    late: dict[str, Path | None] = {}
    where = str(recipe) if recipe else "config"
    try:
        for override in overrides:
            where = f"override {override!r}"
            layers.append((where, _override(override), beside))
        for where, layer, beside in layers:
            if not isinstance(layer, DictConfig):
                raise InputError(f"{where}: expected a mapping of settings at the top level, got a list")
            _refuse_unknown(layer, Config, where=where)
            if missing := next(_missing(OmegaConf.to_container(layer)), None):
                raise InputError(f"{where}: {missing}: ??? stands for a value yet to be given; give one")
            late |= paths.resolve(layer, beside)
            merged.merge_with(layer)  # in place: OmegaConf.merge would copy what there is so far, layer by layer
        where = str(recipe) if recipe else "config"
        config = cast(Config, OmegaConf.to_object(merged))
        paths.resolve_merged(config, late)
    except UNREADABLE as error:
        key = getattr(error, "full_key", None)
        said = _stands_for(error) or _expected(key, layers) or _one_line(error)
        raise InputError(f"{where}: " + (f"{key}: " if key else "") + said) from None
    check(config, where)
    return config


def _missing(content: Any, above: str = "") -> Iterator[str]:
    """Dotted keys whose value is yet to be given. OmegaConf's own list would fill in `${name}` from one layer alone."""
    if content == "???":
        yield above
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _missing(value, f"{above}.{key}" if above else str(key))
    elif isinstance(content, list):
        for i, value in enumerate(content):
            yield from _missing(value, f"{above}[{i}]")


@cache
def _defaults() -> DictConfig:
    """What is written in the schema; reading it takes five times as long as a copy."""
    return OmegaConf.structured(Config)


INTERPOLATIONS = {
    r"Interpolation key '([^']*)' not found": "${{{}}}: there is no such setting; ${{name}}, ${{seed}}, ${{run.steps}} "
    "and the like stand for settings, ${{oc.env:NAME}} for a variable",
    r"Environment variable '([^']*)' not found": "the variable {} is not set",
    r"'(\$\{[^']*\})': Value '[^']*' of type 'str' could not be converted to (?:Float|Integer)": "{} stands for text, "
    "and a number is expected",
    r"(Recursive interpolation) detected": "stands for itself",
}


def _stands_for(error: Exception) -> str | None:
    """What is wrong with a `${...}`, instead of OmegaConf's words; None for any other error."""
    for pattern, said in INTERPOLATIONS.items():
        if found := re.search(pattern, str(error)):
            return said.format(found[1])
    return None


KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _expected(key: str | None, layers: list[Layer]) -> str | None:
    """What a setting of one value, or an entry of a list, wants, and what it got, instead of OmegaConf's words; None
    for any other."""
    kind = _kind_of(key) if key is not None else None
    if key is None or kind is None:
        return None
    nodes = [node for _, layer, _ in layers if (node := _node(layer, key)) is not None]
    if not nodes or nodes[-1]._is_interpolation():
        return None
    several = "; several sets go into run.evaluations" if key == "problems.heldout" else ""
    return f"expected {KINDS[kind]}, got {_shown(_plain(nodes[-1]))}{several}"


ENTRY = re.compile(r"\[(\d+)\]$")  # the key of a list's entry ends so


def _node(layer: Any, key: str) -> Any:
    """What a layer says of a dotted key, as OmegaConf holds it; None if nothing."""
    entry = ENTRY.search(key)
    for word in ENTRY.sub("", key).split("."):
        layer = layer._get_node(word) if isinstance(layer, DictConfig) else None
    if entry is None:
        return layer
    number = int(entry[1])
    return layer._get_node(number) if isinstance(layer, ListConfig) and number < len(layer) else None


def _kind_of(key: str) -> type | None:
    """The type of a setting of one value, or of a list's entry; None for lists, mappings and what is no setting."""
    schema: Any = Config
    for word in ENTRY.sub("", key).split("."):
        hints = _hints(schema) if is_dataclass(schema) else {}
        schema = hints.get(word)
    if ENTRY.search(key):
        schema = get_args(schema)[0] if get_origin(schema) is list else None
    members = (
        (schema,) if get_origin(schema) is None else get_args(schema) if None.__class__ in get_args(schema) else ()
    )
    kinds = [kind for kind in KINDS if kind in members]
    return kinds[0] if len(kinds) == 1 else None


_hints = cache(get_type_hints)

NOT_AS_TYPED = re.compile(r"""(null|Null|NULL|~|\?\?\?|[\[{"'].*|.*\$\{.*)?""", re.S)


def _override(text: str) -> DictConfig:
    """The setting that one override gives.

    What is a text or a number is taken as it is typed: YAML would make 1000.0 of the name 1e3, and 8 of the seed 010.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    value = value.strip()
    if not equals or not key:
        raise InputError(f"override {text!r}: expected key=value, for example learner.ranks=2")
    if _kind_of(key) in (str, int, float) and not NOT_AS_TYPED.fullmatch(value):
        layer = OmegaConf.create()
        OmegaConf.update(layer, key, value)
        return layer
    try:
        return OmegaConf.from_dotlist([text])
    except yaml.YAMLError:
        bare = value.removeprefix("[").removesuffix("]")
        is_list = isinstance(getattr(all_settings().get(key), "default", None), list)
        like = f'["{bare}"]' if is_list else f'"{value}"'
        raise InputError(
            f"override {text!r}: YAML cannot read the value {value!r}, or takes it for a mark of its own; such text"
            f" stands in quotes, as in '{key}={_one_line(like)}'"
        ) from None


def _recipe_layers(path: Path, below: tuple[Path, ...]) -> list[Layer]:
    """The recipe at `path` after the one that its `base` key names: a file beside it, or a recipe of the project."""
    if not path.is_file():
        raise InputError(f"{path}: no such recipe")
    if path.resolve() in below:
        raise InputError(f"{path}: base: recipes name each other in a circle")
    try:
        layer = OmegaConf.load(path)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, OSError) as error:
        raise InputError(f"{path}: not readable as YAML: {_one_line(error)}") from None
    if isinstance(layer, DictConfig) and isinstance(layer._get_node("runs"), ListConfig):
        raise InputError(f"{path}: a sweep of several runs and no recipe; explore-rl sweep {path}")
    if isinstance(layer, DictConfig) and "base" in layer:
        base = str(layer.pop("base"))
        beside = path.parent / of_home(base)
        try:
            named = beside if beside.is_file() else find(base)
        except InputError as error:
            raise InputError(f"{path}: base: {error}") from None
        return _recipe_layers(named, (*below, path.resolve())) + [(str(path), layer, path.parent)]
    return [(str(path), layer, path.parent)]


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
            full = _full_key(layer, str(key), prefix=prefix)
            hint = _hint(full, known)
            raise InputError(f"{where}: unknown key {_one_line(full)}{hint}")
        section = known[key].default_factory
        value = layer._get_node(key)
        default = section() if callable(section) else None
        if isinstance(value, DictConfig) and isinstance(default, list):
            raise InputError(
                f"{where}: {prefix}{key} is a list, given as a whole: expected [...], "
                f"got {OmegaConf.to_container(value)}"
            )
        is_mapping = isinstance(value, DictConfig) or (value is not None and value._is_interpolation())
        hints = get_args(_hints(schema)[key])
        maybe = any(get_origin(hint) is dict for hint in hints) and _plain(value) is not None
        if (isinstance(default, dict) or maybe) and not is_mapping:
            raise InputError(f"{where}: {prefix}{key}: expected a mapping, {{...}}, got {_plain(value)}")
        is_given = not isinstance(value, ListConfig) and not (value and value._is_interpolation())
        if isinstance(default, list) and is_given:
            like = default or all_settings()[f"{prefix}{key}"].example
            raise InputError(f"{where}: {prefix}{key}: expected a list, such as {like}, got {_shown(_plain(value))}")
        if isinstance(value, ListConfig) and not value._is_none() and not value._is_interpolation():
            _refuse_nested(value, kind=_kind_of(f"{prefix}{key}[0]"), where=f"{where}: {prefix}{key}")
        if isinstance(section, type) and is_dataclass(section):
            if not isinstance(value, DictConfig):
                raise InputError(f"{where}: {prefix}{key} is a section: expected a mapping, got {value}")
            _refuse_unknown(value, section, where=where, prefix=f"{prefix}{key}.")


def _refuse_nested(entries: ListConfig, *, kind: type | None, where: str) -> None:
    """Raises InputError for a list or mapping within a list of `kind`, which OmegaConf would take for text."""
    for i in range(len(entries) if kind is not None else 0):
        entry = entries._get_node(i)
        if OmegaConf.is_config(entry):
            raise InputError(f"{where}[{i}]: expected {KINDS[kind]}, got {_shown(_plain(entry))}")


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else getattr(value, "_value", lambda: value)()


def _full_key(layer: DictConfig, key: str, *, prefix: str) -> str:
    """The dotted name that was written: of a key that we do not know, with the only keys below it."""
    words = [prefix + key]
    value: Any = layer._get_node(key)
    while isinstance(value, DictConfig) and not value._is_missing() and not value._is_none() and len(value) == 1:
        if value._is_interpolation():
            break
        (below,) = value
        words.append(str(below))
        value = value._get_node(below)
    return ".".join(words)


def _hint(full: str, known: Iterable[str]) -> str:
    """What to say of an unknown name. known: the names that there are in its place.

    It is what other trainers call so, else the setting with the same last word, else the most alike.
    """
    everywhere = list(all_settings())
    setting, instead = meant(full)
    same = [name for name in everywhere if name.split(".")[-1] == full.split(".")[-1]]
    if setting is None and instead is not None:
        return f"; here {instead}"
    nearest = setting or (same[0] if len(same) == 1 else None)
    if nearest is None:
        nearest = next(iter(difflib.get_close_matches(full, everywhere, n=1, cutoff=0.6) or same), None)
    return f"; did you mean {nearest}?" if nearest else f"; known here: {', '.join(known)}"
