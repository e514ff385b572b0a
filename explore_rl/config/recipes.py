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
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"the project's own are {', '.join(names())}"
    raise InputError(f"{recipe}: no such recipe; {hint}")
