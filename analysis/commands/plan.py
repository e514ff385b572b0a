"""plan: the word so far, whenever one looks, and how many more draws on which problems would decide it."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.commands.audit import told_apart, write_json
from analysis.errors import InputError
from analysis.sequential import WITHIN
from analysis.verdict import DEFAULT_RULES, Rules

EPILOG = """example:
  %(prog)s --base base.parquet --tuned grpo.parquet --out plan.json

After each batch of draws, append it and run the command again: the chance of a false word is --level a direction, over
all looks together. Only problems that it calls open need further draws, as many of the base as of the tuned model."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for side in ("base", "tuned"):
        parser.add_argument(
            f"--{side}", nargs="+", required=True, metavar="FILE", help=f"samples of the {side} model, in their order"
        )
    parser.add_argument(
        "--within",
        type=int,
        default=WITHIN,
        help="draws a problem that the word is about; choose it before the first look (default: %(default)s)",
    )
    rules = DEFAULT_RULES
    parser.add_argument(
        "--level", type=float, default=rules.level, help="error of each direction (default: %(default)s)"
    )
    parser.add_argument(
        "--margin", type=float, default=rules.margin, help="share that does not matter (default: %(default)s)"
    )
    parser.add_argument(
        "--fold", type=float, default=rules.fold, help="speed-up that is tested besides (default: %(default)g)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the futures that are played through (default: 0)")
    parser.add_argument("--common", action="store_true", help="drop problems that only one side has")
    parser.add_argument("--out", metavar="FILE", help="write the plan here too, as JSON")


def run(args: argparse.Namespace) -> int:
    from analysis.readers import align, load
    from analysis.verdict_plan import plan, sentences

    if args.within < 1:
        raise InputError(f"--within {args.within}: a number of draws is at least 1")
    base, tuned, warnings = align(*told_apart(load(args.base), load(args.tuned)), common=args.common)
    rules = Rules(level=args.level, margin=args.margin, fold=args.fold)
    document = plan(base, tuned, within=args.within, rules=rules, seed=args.seed)
    for line in warnings:
        print(f"warning: {line}")
    for line in sentences(document, (base.name, tuned.name)):
        print(line)
    if args.out:
        write_json(Path(args.out), document | {"warnings": warnings})
        print(f"written: {args.out}")
    return 0
