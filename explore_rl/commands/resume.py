"""explore-rl resume: goes on with the run that a folder holds, under the settings that it began with."""

from __future__ import annotations

import argparse
from pathlib import Path

from explore_rl.commands.train import add_allowed, thing_and_settings, train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl resume runs/grpo-seed0
  explore-rl resume runs/grpo-seed0 run.steps=200                     further than it was meant to go
  explore-rl resume runs/grpo-seed0 learner.micro_batch_tokens=8192 --allow-changed learner.micro_batch_tokens

What it began with is in its config.yaml. A finished run is left as it is, at once."""
    parser.add_argument("folder", type=Path, help="the folder of a run that was stopped or killed")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="settings that may change on the way"
    )
    add_allowed(parser)
    parser.add_argument("--check", action="store_true", help="only read and check everything, and say what would run")


def run(args: argparse.Namespace) -> int:
    from analysis.errors import InputError

    folder, args.overrides = thing_and_settings(str(args.folder), args.overrides)
    args.folder = Path(str(folder))
    recipe = args.folder / "config.yaml"
    if not recipe.is_file():
        raise InputError(f"{args.folder}: holds no run (no config.yaml); expected a run's folder")
    if not recipe.stat().st_size:
        raise InputError(f"{recipe}: is empty; the run's folder is not whole")
    # The folder may have been moved since.
    overrides = [f"run.output={args.folder}", *args.overrides]
    return train(str(recipe), overrides, resume=True, allowed=args.allow_changed, check_only=args.check)
