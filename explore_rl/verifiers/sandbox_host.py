"""What the machine says about processes: how long they waited for a processor, and whether memory ran out."""

from __future__ import annotations

from pathlib import Path


def oom_kills() -> int:
    """How often the kernel has killed a process for memory since it started; 0 where it does not say."""
    for line in Path("/proc/vmstat").read_text().splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0


def runqueue_wait(ancestor: int) -> float:
    """Seconds that the living descendants of a process have spent ready to run but without a processor."""
    parents = {}
    waits = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                waits[int(folder.name)] = max(
                    int((task / "schedstat").read_text().split()[1]) for task in (folder / "task").iterdir()
                )
            except (OSError, ValueError):  # it has gone, or the kernel keeps no such count
                continue
    family = {ancestor}
    grown = True
    while grown:
        new = {child for child, parent in parents.items() if parent in family} - family
        family = family | new
        grown = bool(new)
    return sum(waits.get(pid, 0) for pid in family) / 1e9
