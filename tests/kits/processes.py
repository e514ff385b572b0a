"""The processes of this machine, for tests of what must not outlive its verdict."""

from __future__ import annotations

import time
from pathlib import Path


def family(ancestor: int) -> set[int]:
    """The living descendants of a process."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    found = {ancestor}
    for _ in parents:
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found - {ancestor}


def alive(pids: set[int]) -> set[int]:
    return {
        pid
        for pid in pids
        if Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    }


def gone(pids: set[int], within_s: float = 20.0) -> bool:
    end = time.monotonic() + within_s
    while alive(pids) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pids)
