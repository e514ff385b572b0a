"""Checks of what a recipe gives to a strategy's constructor.

Each returns the value, or raises ValueError with one line.
"""

from __future__ import annotations

import math
from typing import Any


def whole(name: str, value: Any, *, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}={value!r}: expected a whole number of at least {least}")
    return value


def number(name: str, value: Any, *, above: float = -math.inf, below: float = math.inf) -> float:
    """A finite number, strictly between `above` and `below`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not (math.isfinite(value) and above < value < below):
        if above == -math.inf:
            bounds = ""
        elif below == math.inf:
            bounds = f" above {above:g}"
        else:
            bounds = f" between {above:g} and {below:g}, both excluded"
        raise ValueError(f"{name}={value!r}: expected a finite number{bounds}")
    return float(value)


def share(name: str, value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"{name}={value!r}: expected a share between 0 and 1")
    return float(value)


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r}: expected true or false")
    return value


def choice(name: str, value: Any, *, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(choices)}")
    return value


def text(name: str, value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and value):
        raise ValueError(f"{name}={value!r}: expected text, or null")
    return value


def labels(name: str, value: Any) -> list[str] | None:
    """A list of names; None where none is given."""
    if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise ValueError(f"{name}={value!r}: expected a list of names, for example [division], or null")
    return value
