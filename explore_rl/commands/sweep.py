"""explore-rl sweep: a list of runs over seeds on shared actors, then the board that compares them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.errors import InputError

if TYPE_CHECKING:
    from explore_rl.experiments.sweeps import Sweep

from explore_rl.commands.reporting import reported, talk
from explore_rl.commands.train import thing_and_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl sweep ablations/trace_rate
  explore-rl sweep lab/board --seeds 0 --output runs/quick run.steps=40
  explore-rl sweep lab/board --parallel 2     two processes, each with actors of its own

Finished runs are not run again and stopped ones are resumed: after a kill, give the same command again."""
    parser.add_argument(
        "sweep", type=Path, help="a YAML file with base, seeds, output and runs, or the name of one in configs/"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="key=value",
        help="settings for all runs; they win over those of the file",
    )
    parser.add_argument("--seeds", type=_seed_or_setting, nargs="+", help="instead of the file's")
    parser.add_argument("--output", help="instead of the file's")
    parser.add_argument(
        "--check", action="store_true", help="only read and check every run, and say what is left to do"
    )
    parser.add_argument("--parallel", type=int, default=1, help="processes that share the runs (default 1)")
    parser.add_argument("--helper", type=int, help=argparse.SUPPRESS)  # one of the processes that --parallel starts
    parser.add_argument("--no-compare", action="store_true", help="only train")
    parser.add_argument(
        "--samples", type=int, default=256, help="completions a problem of the sampled audits (default 256)"
    )
    parser.add_argument("--replicates", type=int, help="bootstrap replicates of the audits (default 2000)")
    parser.add_argument(
        "--problems", help="audit problems of the samples; default: the recipe's run.exact_problems, 100 of them"
    )


def _seed_or_setting(word: str) -> int | str:
    """A seed, or a setting that stands behind the seeds."""
    if "=" in word:
        return word
    try:
        return int(word)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers, got {word!r} (the sweep's file stands before --seeds)"
        ) from None


def run(args: argparse.Namespace) -> int:
    talk()
    named, args.overrides = thing_and_settings(str(args.sweep), args.overrides)
    args.sweep = Path(str(named))
    args.overrides += [word for word in args.seeds or () if isinstance(word, str)]
    args.seeds = [seed for seed in args.seeds or () if isinstance(seed, int)] or None
    from explore_rl.experiments.sweeps import load_sweep, run_sweep
    from explore_rl.lab.names import is_final

    if args.parallel < 1:
        raise InputError(f"--parallel={args.parallel}: expected at least 1")
    if is_final(args.problems):
        raise InputError(
            f"--problems={args.problems}: the split final is kept for the last audit, which no sweep may see"
            " (explore-rl lab exact MODEL --split final); use audit"
        )
    sweep = load_sweep(args.sweep, args.overrides, seeds=args.seeds, output=args.output)
    if args.check:
        from explore_rl.experiments.sweeps import check_runs, finished

        waiting = [config for config in sweep.configs if not finished(config)]
        check_runs(waiting)
        print(f"{sweep.output}: {len(sweep.configs)} runs, {len(sweep.configs) - len(waiting)} finished already")
        for config in waiting:
            print(f"{config.name}, seed {config.seed}: {config.run.steps} steps, {config.run.output}")
        return 0
    with reported("explore-rl sweep", "finished runs are kept; give the command again to go on") as outcome:
        after_each = None
        comparison = None
        if not args.no_compare:
            from explore_rl.experiments.comparison import Comparison

            # Each run is sampled while its weights are in the engines; what a kill left without samples comes last.
            comparison = Comparison(sweep.output, args.samples, problems=args.problems, replicates=args.replicates)
            comparison.check(sweep.configs)
            after_each = partial(comparison.sample_run, base=args.helper is None)
        if args.helper is not None:
            run_sweep(sweep, after_each, is_helper=True)
            return outcome.code
        if args.parallel > 1:
            _run_beside_helpers(sweep, after_each, args=args)
        # What is left: everything, or what a helper that failed has not done.
        folders = run_sweep(sweep, after_each)
        if comparison is None:
            print(f"runs: {sweep.output}")
        else:
            comparison.sample_missing(folders)
            comparison.write(folders)
    return outcome.code


def _run_beside_helpers(sweep: Sweep, after_each: Callable[..., Any] | None, *, args: argparse.Namespace) -> None:
    """Takes runs of the sweep beside helpers, and waits for them."""
    from explore_rl.experiments.parallel import Helpers
    from explore_rl.experiments.sweeps import run_sweep

    # The same command, but for what concerns all processes together.
    words = ["sweep", str(args.sweep), *args.overrides, "--output", str(sweep.output), "--samples", str(args.samples)]
    words += ["--no-compare"] if args.no_compare else []
    words += ["--problems", args.problems] if args.problems else []
    words += ["--seeds", *map(str, args.seeds)] if args.seeds else []
    started: list[Helpers] = []
    with ExitStack() as stack:

        def start(waiting: int) -> None:
            count = min(args.parallel, waiting) - 1
            if count > 0:
                started.append(stack.enter_context(Helpers(words, count=count, output=sweep.output)))

        run_sweep(sweep, after_each, begin=start)
        for helpers in started:
            helpers.wait()
