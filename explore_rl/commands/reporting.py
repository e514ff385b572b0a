"""How a command that works for long ends: its faults in one line, its exit code, and how to go on."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Loggers of libraries that tell of themselves at each start.
CHATTY = ("matplotlib", "DeepSpeed", "filelock", "fsspec")


def talk() -> logging.Logger:
    """Lets log lines of the project through, with the time; libraries' own only from a warning on."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    return logging.getLogger("explore_rl")


@dataclass
class Outcome:
    """How the work ended; code: the command's exit code."""

    code: int = 0


@contextmanager
def reported(command: str, how_to_go_on: str | Callable[[], str]) -> Iterator[Outcome]:
    """Around a command's work: its faults become lines for people and an exit code, which it puts into the outcome.

    A fault or a full disk is exit code 1, Ctrl-C is 130. Bad input (InputError) passes through; the caller makes it 2.

    command: as the lines name it.
    how_to_go_on: told after every fault; a function is asked when there is one.
    """
    from explore_rl.cluster.faults import RunStopped

    def advice() -> str:
        return how_to_go_on if isinstance(how_to_go_on, str) else how_to_go_on()

    outcome = Outcome()
    try:
        yield outcome
    except RunStopped as error:
        print(f"{command}: stopped: {error}", file=sys.stderr)
        print(f"{command}: {advice()}", file=sys.stderr)
        outcome.code = 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" ({error.filename})" if error.filename else ""
        print(f"{command}: stopped: the disk is full{where}; free some room", file=sys.stderr)
        print(f"{command}: {advice()}", file=sys.stderr)
        outcome.code = 1
    except KeyboardInterrupt:
        print(f"{command}: interrupted; {advice()}", file=sys.stderr)
        outcome.code = 130
