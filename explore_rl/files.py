"""Files that are whole or not there, and folders that one process has at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from analysis.errors import InputError

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


LOCK = ".lock"


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Has `folder` for this process alone, for as long as the block lasts; a process that dies gives it back.

    A POSIX record lock: it holds between nodes on NFS too, and children do not inherit it.
    Raises InputError, with who has it, where another process does.

    what: how the message calls the folder, such as "run".
    """
    mine = {"host": socket.gethostname(), "process": os.getpid()}
    with open(folder / LOCK, "a+", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise  # a file system without locks says so, and is not silently trusted
            file.seek(0)
            raise InputError(f"{folder}: another process has this {what} ({_holder(file.read())})") from None
        file.truncate(0)
        file.write(json.dumps(mine))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _holder(text: str) -> str:
    try:
        known = json.loads(text)
        return f"process {known['process']} on {known['host']}"
    except (ValueError, KeyError, TypeError):
        return "it has not said which"


def refuse_unwritable(folder: Path, setting: str) -> None:
    """Tries to write where `folder` is or will be, and leaves nothing behind. Raises InputError.

    setting: how the message calls the folder, such as "run.output".
    """
    made: list[Path] = []
    place = folder.absolute()
    try:
        for parent in [*reversed(place.parents), place]:
            if not parent.exists():
                parent.mkdir()
                made.append(parent)
        mark = place / f".writable-{uuid.uuid4().hex}"
        mark.touch()
        mark.unlink()
    except OSError as error:
        raise InputError(f"{setting}={folder}: cannot be written ({error.strerror})") from None
    finally:
        for parent in reversed(made):
            with suppress(OSError):  # somebody else has put something into it meanwhile
                parent.rmdir()
