"""explore-rl compare: finished runs against their base, one board and one report."""

from __future__ import annotations

import argparse
from pathlib import Path

from explore_rl.commands.reporting import reported, talk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl compare runs/board/*-seed* --out runs/board
  explore-rl compare runs/grpo-seed0 runs/mine-seed0 --samples 1024 --problems heldout.jsonl --out runs/mine

Runs of one name are seeds of one method. Samples that are there already are used again.
To compare samples of other projects: python -m analysis compare --help"""
    parser.add_argument("runs", nargs="+", type=Path, help="run folders with a final model, of one base model")
    parser.add_argument("--out", type=Path, required=True, help="folder of the board and the report")
    parser.add_argument("--samples", type=int, default=256, help="completions a problem (default 256)")
    parser.add_argument("--replicates", type=int, help="bootstrap replicates of the audits (default 2000)")
    parser.add_argument("--problems", help="audit problems; default: 100 of the recipe's")


def run(args: argparse.Namespace) -> int:
    talk()
    from analysis.errors import InputError
    from explore_rl.config.loading import load_config
    from explore_rl.experiments.comparison import Comparison
    from explore_rl.experiments.pooling import refuse_other_content

    # The runs have to be finished, and to share their base model.
    configs = []
    bases = {}
    for folder in args.runs:
        if not (folder / "final" / "config.json").exists():
            raise InputError(f"{folder}: no finished run (final/config.json is missing)")
        config = load_config(folder / "config.yaml")
        configs.append(config)
        bases[config.model.path] = folder
    if len(bases) > 1:
        said = ", ".join(f"{base} ({folder})" for base, folder in bases.items())
        raise InputError(f"the runs have different base models: {said}; compare one base at a time")

    refuse_other_content(args.runs)

    # Mistakes in the audit problems are found before any engine starts.
    comparison = Comparison(args.out, args.samples, problems=args.problems, replicates=args.replicates)
    comparison.check(configs)
    args.out.mkdir(parents=True, exist_ok=True)
    with reported("explore-rl compare", "samples are kept; give the command again to go on") as outcome:
        comparison.sample_missing(args.runs)
        comparison.write(args.runs)
    return outcome.code
