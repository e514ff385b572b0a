"""What starts have in common: they are counted (the tests' budget), and load libraries without looking for garbage."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

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
    never looked at again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
