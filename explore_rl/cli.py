"""The command line: one word a command, one file a command. Nothing heavy is imported before the command is known."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import NoReturn

from analysis.__main__ import leave
from analysis.errors import InputError

# command -> (module with add_arguments(parser) and run(args) -> int, one line of help)
COMMANDS = {
    "train": ("explore_rl.commands.train", "train a model: explore-rl train configs/lab/grpo.yaml [key=value ...]"),
    "sweep": (
        "explore_rl.commands.sweep",
        "run a list of overrides over seeds: explore-rl sweep configs/ablations/trace_rate.yaml",
    ),
    "sample": ("explore_rl.commands.sample", "draw completions from a model and verify them, resumably"),
    "score": ("explore_rl.commands.score", "log-probabilities, entropy and perplexity of given texts under a model"),
    "audit": ("analysis.commands.audit", "one base against one tuned model: support, pass@k, verdict, report"),
    "compare": ("explore_rl.commands.compare", "methods x seeds against the base: one board, one report"),
    "rollouts": ("explore_rl.commands.rollouts", "completions of a run or a file, as one page to read"),
    "lab": ("explore_rl.commands.lab", "the laboratory: build its base model, make problems, audit exactly"),
    "problems": ("explore_rl.commands.problems", "show what was read from a problem file, as the model will see it"),
    "verify": ("explore_rl.commands.verify", "grade completions again with a verifier"),
}


MIXED = ("train", "sweep")  # key=value may stand before and behind options


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands; `only` that one's arguments are known.

    Of a command in MIXED it is the command's own parser, since argparse mixes words and options in no other.
    """
    if only in MIXED:
        module, summary = COMMANDS[only]
        command = argparse.ArgumentParser(prog=f"explore-rl {only}", description=summary)
        importlib.import_module(module).add_arguments(command)
        command.set_defaults(command=only)
        return command
    parser = argparse.ArgumentParser(
        prog="explore-rl", description="Exploration-augmented RLVR, and an honest measure of what it did."
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        if only is None or only == name:
            command = commands.add_parser(name, help=summary, description=summary)
            if only == name:
                importlib.import_module(module).add_arguments(command)
    return parser


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    # Without a GPU DeepSpeed, which transformers imports, would say on stdout that it found none.
    if not os.path.exists("/dev/nvidiactl"):
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    # The hub's progress bar for every small checkpoint would drown our own.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

    # Only the named command's module is imported, for its arguments and then to run it.
    named = argv[0] if argv and argv[0] in COMMANDS else None
    parser = build_parser(named)
    args = parser.parse_intermixed_args(argv[1:]) if named in MIXED else parser.parse_args(argv)
    try:
        return importlib.import_module(COMMANDS[args.command][0]).run(args)
    except InputError as error:
        print(f"explore-rl {args.command}: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        return 0


def console() -> NoReturn:
    """What the installed command runs."""
    code = main()
    if sys.argv[1:2] in (["audit"], ["rollouts"]):
        leave(code)
    sys.exit(code)


if __name__ == "__main__":
    console()
