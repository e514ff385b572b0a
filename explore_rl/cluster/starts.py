"""Counting what is started, for whoever has to keep it few: the tests' budget."""

from __future__ import annotations

import os

VARIABLE = "EXPLORE_RL_COUNT_STARTS"


def count(kind: str, number: int = 1) -> None:
    """Notes starts of a Ray cluster ("ray"), an "engine" or a "rank", if EXPLORE_RL_COUNT_STARTS names a file."""
    path = os.environ.get(VARIABLE)
    if path:
        with open(path, "a") as file:
            file.write(f"{kind}\n" * number)
