"""Modules of a user's own: a file by its path, or a name that may lie in the working directory."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType


def load_module(place: str) -> ModuleType:
    """The module that "path.py" or "package.module" names, loaded once. Raises OSError, ImportError, and what its code
    raises."""
    return _from_file(Path(place)) if place.endswith(".py") else _from_name(place)


def line_of(error: BaseException) -> str:
    """Where an error was raised: "line 3 of file.py"."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"line {last.lineno} of {last.filename}"


def _from_file(path: Path) -> ModuleType:
    try:
        path = path.expanduser().resolve()
    except RuntimeError as error:  # ~ of somebody who is not there
        raise FileNotFoundError(f"no file {path}: {error}") from None
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    name = f"_own_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:  # a link to a file of another kind
            raise ImportError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickle look modules up there
        try:
            spec.loader.exec_module(module)
        except SystemExit as error:
            del sys.modules[name]
            raise ImportError(f"{path} ends the process when it is imported (sys.exit)") from error
        except BaseException:  # whatever it is leaves no half of a module behind
            del sys.modules[name]
            raise
    return sys.modules[name]


def _from_name(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    return importlib.import_module(name)
