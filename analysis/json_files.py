"""Documents as JSON text: dense, as the fast encoder writes no indents, and by lines where people look things up."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np


def dense(document: Any) -> str:
    return json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"


def by_lines(document: dict[str, Any]) -> str:
    """One line an entry of what stands below the top, so that a problem or a setting is found with grep.

    >>> print(by_lines({"seed": 0, "rows": [{"a": 1}, {"a": 2}]}), end="")
    {
    "seed": 0,
    "rows": [
     {"a": 1},
     {"a": 2}
    ]
    }
    """

    def line(value: Any) -> str:
        return json.dumps(value, allow_nan=False, ensure_ascii=False)

    def entry(value: Any) -> str:
        if isinstance(value, dict) and value:
            inside = ",\n ".join(f"{line(str(key))}: {line(one)}" for key, one in value.items())
            return f"{{\n {inside}\n}}"
        if isinstance(value, list) and value:
            inside = ",\n ".join(map(line, value))
            return f"[\n {inside}\n]"
        return line(value)

    inside = ",\n".join(f"{line(str(key))}: {entry(value)}" for key, value in document.items())
    return f"{{\n{inside}\n}}\n"


def plain(value: Any) -> Any:
    """JSON-ready: numpy becomes Python; NaN and infinity, which JSON does not know, become null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.tolist() if _is_finite(value) else plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _is_finite(value: np.ndarray) -> bool:
    return value.dtype.kind in "biu" or (value.dtype.kind == "f" and bool(np.isfinite(value).all()))
