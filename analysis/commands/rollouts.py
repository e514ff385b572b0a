"""rollouts: the completions of a run, or of a file of samples, as one page to read."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.errors import InputError
from analysis.rollouts import Decode, Limits

EPILOG = """examples:
  %(prog)s runs/grpo-seed0                                  every step, runs/grpo-seed0/rollouts.html
  %(prog)s runs/grpo-seed0 --steps 0 20 --limit 20000       more of few steps
  %(prog)s samples.parquet --out samples.html               samples of any project that audit reads

The page opens from disk without a network: filter by verdict, source and step, sort, search, look at groups. It holds
at most --limit completions, the same number of each step, as whole groups drawn at random with --seed, and says what
it leaves out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    defaults = Limits()
    parser.add_argument("paths", nargs="+", metavar="RUN|FILE", help="a run folder, or files of samples")
    parser.add_argument(
        "--out", metavar="FILE", help="the page (default: rollouts.html in the run, NAME.html beside a file)"
    )
    parser.add_argument(
        "--limit", type=int, default=defaults.rows, help=f"completions in the page, at most (default: {defaults.rows})"
    )
    parser.add_argument(
        "--characters",
        type=int,
        default=defaults.characters,
        help=f"of each text, at most (default: {defaults.characters})",
    )
    parser.add_argument("--steps", type=int, nargs=2, metavar=("FIRST", "LAST"), help="only these steps of a run")
    parser.add_argument("--seed", type=int, default=defaults.seed, help=f"of the choice (default: {defaults.seed})")


def run(args: argparse.Namespace, *, decode: Decode | None = None) -> int:
    """decode: text of prompt tokens, which runs record in place of prompts (None: prompts are not shown)."""
    from analysis.report.viewer import left_out, write_viewer
    from analysis.rollouts import read

    first = Path(args.paths[0].partition("::")[0])
    out = Path(args.out) if args.out else first / "rollouts.html" if first.is_dir() else first.with_suffix(".html")
    limits = Limits(args.limit, args.characters, steps=tuple(args.steps) if args.steps else None, seed=args.seed)
    found = read(args.paths, limits, decode=decode)
    title = first.name + (f" and {len(args.paths) - 1} more" if len(args.paths) > 1 else "")
    try:
        write_viewer(found, out, title=title, limits=limits)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from None
    print(left_out(found, limits=limits))
    print(f"written: {out} ({out.stat().st_size / 2**20:.1f} MB)")
    return 0
