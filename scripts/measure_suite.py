#!/usr/bin/env python
"""Wall and CPU seconds of a command with every process that it starts, daemons included.

    python scripts/measure_suite.py                          the test suite
    python scripts/measure_suite.py tests/objectives -x      the suite with arguments of pytest
    python scripts/measure_suite.py -- COMMAND...            any command

Processes that leave their parent (Ray's daemons do) are counted as well: by a control group of the command's own where
root may make one (cpuacct of version 1, or cpu.stat of version 2), which loses nothing; else this process adopts what
is orphaned below it, and counts what has ended soon after the command. The last line says which way it was.

The exit status is the command's, but 1 where the whole suite passed and took more than tests/budget.json allows.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
PR_SET_CHILD_SUBREAPER = 36
BUDGET = Path(__file__).resolve().parent.parent / "tests" / "budget.json"
HARMLESS = re.compile(r"-[qvs]+|-r\w+|--durations=\d+|--tb=\w+|--color=\w+")  # words that select no tests
LEAVE_S = 10.0  # how long processes that were left behind may take to end


@dataclass(frozen=True)
class Meter:
    """way: of counting, in words. enter: what the command's process does first. seconds: CPU time so far."""

    way: str
    enter: Callable[[], object]
    seconds: Callable[[], float]


@contextlib.contextmanager
def meter() -> Iterator[Meter]:
    """The best that this machine lets us have."""
    for way, parent, read in WAYS:
        group = parent / f"measure-{os.getpid()}"
        if not _made(group, read):
            continue
        enter = partial((group / "cgroup.procs").write_text, "0")
        try:
            yield Meter(way, enter, partial(read, group))
        finally:
            _remove(group)
        return
    adopt = ctypes.CDLL(None, use_errno=True).prctl
    if adopt(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    yield Meter("children and adopted orphans that have ended (RUSAGE_CHILDREN)", lambda: None, _of_ended_children)


def _made(group: Path, read: Callable[[Path], float]) -> bool:
    try:
        group.mkdir()
        read(group)
    except (OSError, KeyError):
        if group.is_dir():
            group.rmdir()
        return False
    return True


def _from_cpuacct(group: Path) -> float:
    return int((group / "cpuacct.usage").read_text()) / 1e9


def _from_cpu_stat(group: Path) -> float:
    values = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(values["usage_usec"]) / 1e6


WAYS = (
    ("control group, cpuacct (version 1)", GROUPS / "cpuacct", _from_cpuacct),
    ("control group, cpu.stat (version 2)", GROUPS, _from_cpu_stat),
)


def _of_ended_children() -> float:
    deadline = time.monotonic() + LEAVE_S
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if not pid:
            time.sleep(0.05)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _remove(group: Path) -> None:
    """A group with a process in it stays: the kernel refuses, for as long as somebody still runs there."""
    deadline = time.monotonic() + LEAVE_S
    while group.is_dir():
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                print(f"{group} still holds a process and was left behind", file=sys.stderr)
                return
            time.sleep(0.1)


def command_of(words: list[str]) -> list[str]:
    if words[:1] == ["--"]:
        return words[1:]
    return [sys.executable, "-m", "pytest", *words]


def is_whole_suite(words: list[str]) -> bool:
    """Whether these arguments leave nothing of the suite out."""
    return all(HARMLESS.fullmatch(word) for word in words)


def above_budget(words: list[str], cpu: float) -> str | None:
    """What is wrong with a run that took so many CPU seconds; None: nothing, or it was not the whole suite."""
    most = json.loads(BUDGET.read_text())["suite_cpu_seconds"]
    if not is_whole_suite(words) or cpu <= most:
        return None
    return f"the whole suite took {cpu:.0f} CPU seconds; tests/budget.json allows {most:g} (suite_cpu_seconds)"


def main() -> int:
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    command = command_of(sys.argv[1:])
    with meter() as used:
        began = time.monotonic()
        ended = subprocess.run(command, preexec_fn=used.enter)
        wall = time.monotonic() - began
        cpu = used.seconds()
    print(f"{wall:.1f} s wall, {cpu:.1f} CPU seconds of all processes; counted by {used.way}")
    dear = above_budget(sys.argv[1:], cpu)
    if dear:
        print(dear, file=sys.stderr)
    return ended.returncode or int(dear is not None)


if __name__ == "__main__":
    sys.exit(main())
