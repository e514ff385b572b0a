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
    code: int = 0


@contextmanager
def reported(command: str, how_to_go_on: str) -> Iterator[Outcome]:
    """Around a command's work: a fault or a full disk becomes one line and exit code 1, Ctrl-C becomes 130. Bad input passes through (exit code 2)."""
    outcome = Outcome()
    try:
        yield outcome
    except RunStopped as error:
        print(f"{command}: stopped: {error}\n{command}: {how_to_go_on}", file=sys.stderr)
        outcome.code = 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" ({error.filename})" if error.filename else ""
        print(
            f"{command}: stopped: the disk is full{where}; free some room\n{command}: {how_to_go_on}", file=sys.stderr
        )
        outcome.code = 1
    except KeyboardInterrupt:
        print(f"{command}: interrupted; {how_to_go_on}", file=sys.stderr)
        outcome.code = 130
