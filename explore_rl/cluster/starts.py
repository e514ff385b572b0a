"""What starts have in common: they are counted (the tests' budget), and load libraries without looking for garbage."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

VARIABLE = "EXPLORE_RL_COUNT_STARTS"


def count(kind: str, number: int = 1) -> None:
    """Notes starts of a Ray cluster ("ray"), an "engine" or a "rank", if EXPLORE_RL_COUNT_STARTS names a file."""
    path = os.environ.get(VARIABLE)
    if path:
        with open(path, "a") as file:
            file.write(f"{kind}\n" * number)


@contextmanager
def loading() -> Iterator[None]:
    """Around imports of large libraries, and what else makes millions of objects that stay.

    Python would look through all of them for garbage again and again: a fifth of the time. What is there afterwards is
    never looked at again. transformers asks which distribution each package is of, and gets it in a third of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    asked = importlib.metadata.packages_distributions
    if sys.version_info < (3, 12):
        importlib.metadata.packages_distributions = packages_distributions
    try:
        yield
    finally:
        importlib.metadata.packages_distributions = asked
        gc.freeze()
        if was_on:
            gc.enable()


def packages_distributions() -> dict[str, list[str]]:
    """What importlib.metadata says under this name in Python 3.11, without a path object for each installed file.

    Package -> the distributions that it is of.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for one in importlib.metadata.distributions():
        declared = (one.read_text("top_level.txt") or "").split()
        for package in declared or _modules_of(one):
            found[package].append(one.metadata["Name"])
    return dict(found)


def _modules_of(distribution: importlib.metadata.Distribution) -> set[str]:
    """The packages and modules that a distribution's list of files begins with."""
    record = distribution.read_text("RECORD")
    if record and '"' not in record:  # a name with a comma is quoted
        files = [line.partition(",")[0] for line in record.splitlines()]
    else:
        files = [str(file) for file in distribution.files or ()]
    names = set()
    for file in files:
        first, below, _ = file.partition("/")
        if file.endswith(".py") and not f"/{file}".endswith("/.py"):
            names.add(first if below else first.removesuffix(".py"))
    return names


@contextmanager
def absent(*modules: str) -> Iterator[None]:
    """While it lasts, `modules` cannot be imported: for what another library takes along if it is there.

    modules: those that are imported already stay.
    """
    new = [module for module in modules if module not in sys.modules]
    for module in new:
        sys.modules[module] = None  # pyright: ignore[reportArgumentType] - Python's own way of saying so
    try:
        yield
    finally:
        for module in new:
            del sys.modules[module]


@contextmanager
def uncompiled() -> Iterator[None]:
    """While it lasts, `torch.compile` gives back what it gets, if TORCH_COMPILE_DISABLE is set: it would run as it is
    all the same, after PyTorch's compiler was loaded for it (.7 s).
    """
    if compiles():
        yield
        return
    import torch

    real = torch.compile
    torch.compile = cast(Any, lambda model=None, **_: (lambda function: function) if model is None else model)
    try:
        yield
    finally:
        torch.compile = real


def compiles() -> bool:
    """Whether PyTorch compiles anything in this process."""
    return os.environ.get("TORCH_COMPILE_DISABLE") != "1"
