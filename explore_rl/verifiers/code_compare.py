"""Whether what a program printed or returned is what was expected."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")


def compare_output(printed: str, expected: str, *, tolerance: float = 0.0) -> str:
    """Why the outputs differ; empty if they agree: the same lines but for space at the ends, where numbers may be
    written differently.

    >>> compare_output("1.0 a\\n\\n", "1 a"), compare_output("2", "3")
    ('', "line 1: expected '3', got '2'")
    """
    got, want = ([line.strip() for line in text.strip().splitlines()] for text in (printed, expected))
    for number, (a, b) in enumerate(zip(got, want, strict=False), start=1):
        if a != b and not _same_tokens(a.split(), b.split(), tolerance=tolerance):
            return f"line {number}: expected {b[:60]!r}, got {a[:60]!r}"
    return "" if len(got) == len(want) else f"{len(got)} lines, expected {len(want)}"


def _same_tokens(got: list[str], want: list[str], *, tolerance: float) -> bool:
    return len(got) == len(want) and all(
        a == b or _same_number(a, b, tolerance=tolerance) for a, b in zip(got, want, strict=False)
    )


def _same_number(a: str, b: str, *, tolerance: float) -> bool:
    if not (NUMBER.fullmatch(a) and NUMBER.fullmatch(b)):
        return False
    return Decimal(a) == Decimal(b) or (tolerance > 0 and abs(float(a) - float(b)) <= tolerance)


def compare_result(got: Any, expected: Any, *, tolerance: float = 0.0) -> str:
    """Why a function's result differs from the expected JSON value; empty if it does not. Tuples count as lists.

    >>> compare_result((1, 2), [1, 2]), compare_result([1], [2])
    ('', 'expected [2], got [1]')
    """
    if _same_value(_as_json(got), _as_json(expected), tolerance=tolerance):
        return ""
    return f"expected {_short(expected)}, got {_short(got)}"


def _as_json(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):  # JSON has text keys alone
        return {str(key): _as_json(item) for key, item in value.items()}
    return value


def _same_value(a: Any, b: Any, *, tolerance: float) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same_value(x, y, tolerance=tolerance) for x, y in zip(a, b, strict=False))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same_value(a[key], b[key], tolerance=tolerance) for key in a)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)) and tolerance > 0:
        return a == b or math.isclose(a, b, rel_tol=0.0, abs_tol=tolerance)
    return a == b


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of too many digits, or too deep
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
