"""The project's own Python files, each parsed once for all tests that read code."""

import ast
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@cache
def modules():
    """Path by name of the module, of both packages."""
    files = [path for package in ("analysis", "explore_rl") for path in sorted((REPOSITORY / package).rglob("*.py"))]
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in files]
    return {name.removesuffix(".__init__"): path for name, path in zip(names, files, strict=True)}


@cache
def text(path):
    return path.read_text()


@cache
def tree(path):
    return ast.parse(text(path))
