"""The recipes that come with the project: the files of configs/, by name from anywhere."""

from __future__ import annotations

import difflib
from pathlib import Path

from analysis.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1]


def folder() -> Path:
    """Where the project's recipes are: in an installed package, or beside it in a checkout."""
    installed = PACKAGE / "configs"
    return installed if installed.is_dir() else PACKAGE.parent / "configs"


def names() -> list[str]:
    """Every recipe and sweep that comes with the project, such as "lab/grpo"."""
    return sorted(str(path.relative_to(folder()).with_suffix("")) for path in folder().glob("*/*.yaml"))


def find(recipe: str | Path) -> Path:
    """The file of a recipe: `recipe` itself, or the one of that name which comes with the project. Raises InputError.

    >>> find("lab/grpo").name
    'grpo.yaml'
    """
    path = Path(recipe)
    if path.is_file():
        return path
    name = str(recipe).removesuffix(".yaml").removeprefix("configs/")
    own = folder() / f"{name}.yaml"
    if name in names():
        return own
    if (path / "config.yaml").is_file():
        raise InputError(f"{recipe}: the folder of a run and no recipe; explore-rl resume {recipe} goes on with it")
    raise InputError(f"{recipe}: no such recipe; {_hint(name)}")


def _hint(name: str) -> str:
    """The recipe that was most likely meant, those of a group, or the groups."""
    by_lower = {known.lower(): known for known in names()}
    of_group = [known for known in names() if known.startswith(f"{name.lower().rstrip('/')}/")]
    if of_group:
        return f"of {name} there are {', '.join(of_group)}"
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1)
    if near:
        return f"did you mean {by_lower[near[0]]}?"
    groups = sorted({known.split("/")[0] for known in names()})
    return f"the project's own begin with {', '.join(f'{group}/' for group in groups)} (all are in {folder()})"
