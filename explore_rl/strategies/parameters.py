"""What a recipe may give to a strategy's constructor, and checks of it.

Each check returns the value, or raises ValueError with one line.
"""

from __future__ import annotations

import inspect
import math
from typing import Any


def names_of(kind: type) -> list[str]:
    """What the class's constructor takes: where it passes **options on, those of the next class as well."""
    names: list[str] = []
    for cls in kind.__mro__:
        if "__init__" not in vars(cls):
            continue
        own = list(inspect.signature(cls.__init__).parameters.values())[1:]
        names += [p.name for p in own if p.kind is not p.VAR_KEYWORD and p.name not in names]
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    return names


def whole(name: str, value: Any, *, least: int, most: int | None = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        said = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}={value!r}: expected a whole number {said}")
    return value


def number(
    name: str, value: Any, *, least: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> float:
    """A finite number: at least `least`, and strictly between `above` and `below`.

    name: of the parameter, for the error.
    value: what the config gives.
    least: the smallest that is taken.
    above, below: what it has to lie between.
    Raises ValueError.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not (math.isfinite(value) and above < value < below and value >= least):
        if least > -math.inf:
            bounds = f" of at least {least:g}"
        elif above == -math.inf:
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


def rising(name: str, values: Any) -> list[float]:
    """Shares that do not fall, one at least. name: of one parameter, or of several in their order."""
    found = [share(name, value) for value in values] if isinstance(values, (list, tuple)) else []
    if not found or found != sorted(found):
        raise ValueError(f"{name}={values!r}: expected shares that do not fall, one at least")
    return found


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
