"""explore-rl audit-run: support over training, of a run's checkpoints against its base."""

from __future__ import annotations

import argparse
from pathlib import Path

from explore_rl.commands.reporting import reported, talk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl audit-run runs/mine-seed0                       from the draws that its evaluations kept: nothing is drawn
  explore-rl audit-run runs/mine-seed0 --set aime24 --every 100
  explore-rl audit-run runs/mine-seed0 --every 50 --samples 256 --problems math500.jsonl     draws from its checkpoints

Checkpoints are kept by run.keep_checkpoints (the last two, by default), draws of evaluations all of them.
Samples that are there already are used again."""
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("--every", type=int, help="steps that are multiples of this alone, and the last (default: all)")
    parser.add_argument("--set", help="the evaluated set, where the run has several")
    parser.add_argument("--samples", type=int, help="draw so many completions a problem from the kept checkpoints")
    parser.add_argument("--problems", help="with --samples: what to draw on (default: the recipe's held-out problems)")
    parser.add_argument("--replicates", type=int, help="bootstrap replicates of the audits (default 2000)")
    parser.add_argument("--out", type=Path, help="where curve.csv, curve.png and the audits go (default: RUN/support)")


def run(args: argparse.Namespace) -> int:
    talk()
    from analysis.errors import InputError
    from explore_rl.experiments import support_curve

    for name in ("every", "samples"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: expected at least 1")
    if args.problems and not args.samples:
        raise InputError("--problems: has an effect with --samples alone; else what the run's evaluations drew is read")
    out = args.out or args.run / "support"
    with reported("explore-rl audit-run", "samples are kept; give the command again to go on") as outcome:
        if args.samples:
            files = support_curve.draw(args.run, out, samples=args.samples, problems=args.problems, every=args.every)
        else:
            files = support_curve.drawn(args.run, of_set=args.set, every=args.every)
        rows = support_curve.audit_all(files, out, replicates=args.replicates)
        for line in support_curve.table(rows):
            print(line)
        print(f"curve: {out / 'curve.csv'}, {out / 'curve.png'}")
        print(f"after {rows[-1]['step']} steps: {rows[-1]['verdict']}")
    return outcome.code
