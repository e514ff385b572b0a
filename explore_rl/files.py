"""Files that are whole or not there."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

VISIBLE_S = 10.0  # in which a file has to be seen from another node


def write_atomic(path: Path, text: str) -> None:
    aside = path.with_name(path.name + ".tmp")
    with open(aside, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def sees(rank: Any, path: Path) -> bool:
    """Whether the process that runs this sees a file that another one wrote. rank: who runs it, for `Learner.apply`."""
    deadline = time.monotonic() + VISIBLE_S
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
