"""A sweep in several processes: each claims a run before it begins it, and passes over what another one has."""

from __future__ import annotations

import errno
import fcntl
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

SILENT_S = 1800.0  # a helper that has written nothing for so long is stopped
STOP_S = 120.0  # that a helper gets to save a checkpoint


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process has the claim while the block runs; the claim ends with the process, however it ends.

    path: the file of the claim, in a folder that is there.
    """
    with open(path, "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise  # a file system without locks says so, and is not silently trusted
            yield False
            return
        yield True


class Helpers:
    """Processes of the same command that take runs beside this one.

    command: the command's words after `explore-rl`; each helper gets --helper NUMBER as well.
    count: how many.
    output: the sweep's folder; what a helper prints goes to output/helper-NUMBER.log.
    """

    def __init__(self, command: Sequence[str], *, count: int, output: Path):
        self.logs = [output / f"helper-{number}.log" for number in range(1, count + 1)]
        self.processes: list[subprocess.Popen] = []
        for number, path in enumerate(self.logs, start=1):
            words = [sys.executable, "-m", "explore_rl.cli", *command, "--helper", str(number)]
            with open(path, "w", encoding="utf-8") as file:
                self.processes.append(subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT))

    def __enter__(self) -> Helpers:
        return self

    def __exit__(self, *_: object) -> None:
        """Stops those that still run, as Ctrl-C does: after their step, with a checkpoint."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)

    def wait(self) -> None:
        """Until all have ended. One that failed, or was silent for long, is told; its runs are still to be done."""
        for process, path in zip(self.processes, self.logs, strict=True):
            log.info("waiting for the helper that writes %s", path)
            while process.poll() is None:
                if time.time() - path.stat().st_mtime > SILENT_S:
                    log.error("%s: nothing was written for %.0f s; this helper is stopped", path, SILENT_S)
                    process.kill()
                try:
                    process.wait(5.0)
                except subprocess.TimeoutExpired:
                    continue
            if process.returncode:
                log.error("%s: this helper ended with exit code %d", path, process.returncode)
