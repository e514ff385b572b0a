"""`python -m analysis audit ...`, `plan ...`, `compare ...` and `rollouts ...`: the measuring half alone, without the
training dependencies."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import NoReturn

from analysis.errors import InputError

COMMANDS = {
    "audit": ("analysis.commands.audit", "one base against one tuned model: support, pass@k, verdict, report"),
    "plan": ("analysis.commands.plan", "the verdict at any look, and how many more draws would decide it"),
    "compare": ("analysis.commands.compare", "many methods and seeds against one base"),
    "rollouts": ("analysis.commands.rollouts", "completions of a run or a file, as one page to read"),
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m analysis", description="Did the tuned model break the leash, and how sure are we?"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        importlib.import_module(module).add_arguments(commands.add_parser(name, help=summary, description=summary))
    args = parser.parse_args(argv)
    if getattr(args, "out", None):
        args.out = os.path.expanduser(args.out)  # a shell leaves ~ alone in quotes and behind =
    try:
        return importlib.import_module(COMMANDS[args.command][0]).run(args)
    except InputError as error:
        print(f"python -m analysis {args.command}: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        return 0


def leave(code: int) -> NoReturn:
    """Ends the process without taking the interpreter down: Arrow's reading threads now and then abort one that is
    taken down right behind them (apache/arrow 43604)."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = 0
    os._exit(code)


if __name__ == "__main__":
    leave(main())
