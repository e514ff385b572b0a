"""The interpreter that a benchmark's tests were made for: what it imports before a program, and how deep and how long
things may get.

LiveCodeBench's harness (and its copies in Skywork-OR1 and others) puts star imports in front of every program and
raises the recursion limit to 50,000; the starters of LeetCode problems use `List`, `Counter` or `inf` without importing
them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

_STARS = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json"
).split()
LIVECODEBENCH = (
    "".join(f"from {name} import *\n" for name in _STARS)
    + "from builtins import *\nfrom typing import *\n"
    + "".join(f"import {name}\n" for name in (*_STARS, "typing"))
)
RECURSION_LIMIT = 50_000


@dataclass(frozen=True)
class Interpreter:
    """How a program is run. prelude: source that runs before it, in its names. recursion_limit: None leaves Python's
    own. max_digits: of a whole number that is converted to or from decimal text; 0 for no limit, as time and memory are
    limited anyway."""

    prelude: str = ""
    recursion_limit: int | None = None
    max_digits: int = 0


DEFAULT = Interpreter()


@cache
def _offered() -> frozenset[str]:
    """The names that the prelude of LiveCodeBench brings, beside the built-in ones."""
    names: dict = {}
    exec(compile(LIVECODEBENCH, "<prelude>", "exec", dont_inherit=True), names)
    builtin = __builtins__ if isinstance(__builtins__, dict) else vars(__builtins__)
    return frozenset(
        name for name, value in names.items() if builtin.get(name, names) is not value and not name.startswith("_")
    )


def needed(code: str) -> str:
    """The prelude, if the program has a word that it would bring: importing all of it costs 15 ms.

    >>> needed("print(1)"), needed("print(gcd(4, 6))") == LIVECODEBENCH
    ('', True)
    """
    return LIVECODEBENCH if _offered().intersection(re.findall(r"[A-Za-z_]\w*", code)) else ""
