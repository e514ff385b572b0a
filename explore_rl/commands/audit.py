"""explore-rl audit: analysis' own command, with RUN@STEP for what a run drew at its evaluations."""

from __future__ import annotations

import argparse

from analysis.commands import audit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    audit.add_arguments(parser)
    parser.epilog = f"""{audit.EPILOG}

RUN@STEP[/SET] stands for the draws of a run's evaluation after so many steps, as runs/grpo-seed0@0/heldout (the
base) and runs/grpo-seed0@100/heldout. For more draws: explore-rl sample RUN@STEP; the whole curve: explore-rl
audit-run."""


def run(args: argparse.Namespace) -> int:
    from explore_rl.experiments.evaluation_draws import expanded

    for side in ("base", "tuned", "redraw"):
        setattr(args, side, expanded(getattr(args, side)))
    return audit.run(args)
