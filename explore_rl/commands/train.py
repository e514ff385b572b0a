"""explore-rl train: one recipe, one run folder."""

from __future__ import annotations

import argparse
import logging


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl train lab/grpo
  explore-rl train lab/grpo seed=1 learner.ranks=2 run.output=runs/mine
  explore-rl train lab/grpo --resume          go on with a run that was stopped or killed
  explore-rl train lab/grpo --check           read and check everything, say what would run, start nothing
  explore-rl train --fields                                every setting, its default and what it does"""
    parser.add_argument("recipe", nargs="?", help="a YAML file of settings, or the name of one in configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that win over the recipe's")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last complete checkpoint")
    parser.add_argument(
        "--check", action="store_true", help="only read and check settings, model and problems, and say what would run"
    )
    parser.add_argument("--fields", action="store_true", help="list every setting and exit")


def run(args: argparse.Namespace) -> int:
    from explore_rl.config.loading import load_config
    from explore_rl.config.schema import all_settings

    # Without a run: the list of all settings.
    if args.fields:
        for name, known in all_settings().items():
            allowed = f" [{known.allowed}]" if known.allowed else ""
            print(f"{name:38} {known.default!s:24} {known.doc}{allowed}")
        return 0
    if args.recipe is None:
        from analysis.errors import InputError

        raise InputError("no recipe given; for example: explore-rl train lab/grpo")
    config = load_config(args.recipe, args.overrides)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")

    from explore_rl.commands.reporting import reported
    from explore_rl.experiments.runs import check, output_folder, summary
    from explore_rl.experiments.runs import run as run_once

    # Nothing starts before everything that was given is read and checked: `run_once` checks too.
    if args.check:
        print(summary(config, check(config, resume=args.resume)))
        return 0
    how_to_go_on = f"what is complete is in {output_folder(config)}; go on with --resume"
    with reported("explore-rl train", how_to_go_on) as outcome:
        path = run_once(config, resume=args.resume)
        print(f"run:         {path}\nfinal model: {path / 'final'}\ncurves:      {path / 'figures'}")
    return outcome.code
