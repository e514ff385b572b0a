"""How a command that works for long ends: its faults in one line, its exit code, and how to go on."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from explore_rl.cluster.faults import RunStopped


@dataclass
class Outcome:
    """How the work ended; code: the command's exit code."""

    code: int = 0


@contextmanager
def reported(command: str, how_to_go_on: str) -> Iterator[Outcome]:
    """Around a command's work: its faults become lines for people and an exit code, which it puts into the outcome.

    A fault or a full disk is exit code 1, Ctrl-C is 130. Bad input (InputError) passes through; the caller makes it 2.

    command: as the lines name it.
    how_to_go_on: told after every fault.
    """
    outcome = Outcome()
    try:
        yield outcome
    except RunStopped as error:
        print(f"{command}: stopped: {error}", file=sys.stderr)
        print(f"{command}: {how_to_go_on}", file=sys.stderr)
        outcome.code = 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" ({error.filename})" if error.filename else ""
        print(f"{command}: stopped: the disk is full{where}; free some room", file=sys.stderr)
        print(f"{command}: {how_to_go_on}", file=sys.stderr)
        outcome.code = 1
    except KeyboardInterrupt:
        print(f"{command}: interrupted; {how_to_go_on}", file=sys.stderr)
        outcome.code = 130
