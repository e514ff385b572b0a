"""explore-rl train: one recipe, one run folder."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from explore_rl.commands.reporting import reported, talk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl train lab/grpo
  explore-rl train lab/grpo seed=1 learner.ranks=2 run.output=runs/mine
  explore-rl train lab/grpo --check           read and check everything, say what would run, start nothing
  explore-rl train --fields                   every setting, its default and what it does; with a recipe, its values
  explore-rl resume runs/grpo-seed0           go on with a run that was stopped or killed
  explore-rl train mine.yaml model.path=runs/grpo-seed0/final        a new run from a finished one's weights"""
    parser.add_argument("recipe", nargs="?", help="a YAML file of settings, or the name of one in configs/")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="settings that win over the recipe's"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the run's last complete checkpoint")
    add_allowed(parser)
    parser.add_argument(
        "--check", action="store_true", help="only read and check settings, model and problems, and say what would run"
    )
    parser.add_argument("--fields", action="store_true", help="list every setting and exit")


def add_allowed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-changed",
        action="append",
        default=[],
        metavar="KEY",
        help="a setting that a resumed run may have changed, of those that do not change the mathematics (memory, "
        "workers, timeouts, evaluation); may be repeated; what changed is kept in changes.jsonl",
    )


def run(args: argparse.Namespace) -> int:
    from analysis.errors import InputError

    args.recipe, args.overrides = thing_and_settings(args.recipe, args.overrides)
    if args.fields:
        print_fields(args.recipe, args.overrides)
        return 0
    if args.recipe is None:
        raise InputError("no recipe given; for example: explore-rl train lab/grpo")
    return train(args.recipe, args.overrides, resume=args.resume, allowed=args.allow_changed, check_only=args.check)


def thing_and_settings(first: str | None, others: list[str]) -> tuple[str | None, list[str]]:
    """What a command is about, and the settings: these may stand before it too.

    >>> thing_and_settings("run.steps=3", ["lab/grpo", "seed=1"])
    ('lab/grpo', ['run.steps=3', 'seed=1'])
    """
    words = [word for word in (first, *others) if word is not None]
    names = [word for word in words if "=" not in word or Path(word).exists()]
    if first is None or first in names or not names:
        return first, others
    words.remove(names[0])
    return names[0], words


def train(recipe: str, overrides: list[str], *, resume: bool, allowed: list[str], check_only: bool) -> int:
    """What `train` and `resume` share.

    recipe: a YAML file, or the name of one of configs/.
    overrides: "key=value" each; they win over the recipe's.
    resume: whether to go on with the run that the folder holds.
    allowed: settings that may have changed since then, as in `resuming.refuse_other_settings`.
    check_only: whether to stop once everything has been read and checked.
    Returns the exit code. Raises InputError, also for `allowed` without `resume`.
    """
    from analysis.errors import InputError
    from explore_rl.cluster.starts import loading
    from explore_rl.config.loading import load_config

    config = load_config(recipe, overrides)
    if allowed and not resume:
        raise InputError("--allow-changed: for a run that is resumed; add --resume")
    log = talk()
    if resume and not check_only:
        from explore_rl.experiments.resuming import finished

        # At once, without the libraries that train.
        if (done := finished(config, allowed)) is not None:
            print(f"{done}: finished already, {config.run.steps} of {config.run.steps} steps")
            print_end(done)
            return 0
    elif not resume and not check_only:
        from explore_rl.experiments.run_folder import RunFolder

        RunFolder.refuse_existing(Path(config.run.output))  # told at once too

    log.info("loading Ray, DeepSpeed and transformers")
    began = time.monotonic()
    with loading():
        from explore_rl.experiments.preflight import check, output_folder, summary
        from explore_rl.experiments.runs import how_to_go_on
        from explore_rl.experiments.runs import run as run_once

    log.info("loaded in %.1f s", time.monotonic() - began)

    # Nothing starts before everything that was given is read and checked: `run_once` checks too.
    if check_only:
        print(summary(config, check(config, resume=resume, allowed=allowed)))
        return 0
    path = output_folder(config)
    with reported("explore-rl train", lambda: how_to_go_on(path)) as outcome:
        run_once(config, resume=resume, allowed=allowed)
        print_end(path)
    return outcome.code


def print_end(path) -> None:
    """What a finished run leaves, and what it did."""
    from explore_rl.experiments.progress import before_and_after
    from explore_rl.experiments.run_folder import RunFolder

    print(f"run:         {path}\nfinal model: {path / 'final'}\ncurves:      {path / 'figures'}")
    for line in before_and_after(RunFolder.open(path)):
        print(line)


def print_fields(recipe: str | None, overrides: list[str]) -> None:
    """Every setting with its default, or with its value under a recipe."""
    from explore_rl.config.checks import value_of
    from explore_rl.config.loading import load_config
    from explore_rl.config.schema import all_settings

    config = load_config(recipe, overrides) if recipe is not None else None
    shown = {}
    for name, known in all_settings().items():
        value = known.default if config is None else value_of(config, name)
        shown[name] = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    names = max(map(len, shown))
    for name, known in all_settings().items():
        allowed = f" [{known.allowed}]" if known.allowed else ""
        # A value that is too long for its column has the explanation on the next line.
        value = f"{name:{names}}  {shown[name]:24}"
        gap = "  " if len(value) <= names + 26 else "\n" + " " * (names + 28)
        print(f"{value}{gap}{known.doc}{allowed}")
