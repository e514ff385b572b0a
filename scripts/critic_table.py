#!/usr/bin/env python3
"""How well the critic of a run foretells scores: a Markdown table by steps done, as docs/methods/ppo.md has it.

scripts/critic_table.py runs/ppo-seed0
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from analysis.errors import InputError
from explore_rl.experiments.run_folder import RunFolder

FIGURES = ("explained_variance", "explained_variance_last", "pass@1")


def table(folder: RunFolder) -> str:
    """A line for each evaluation of the held-out problems. Raises InputError where no critic was read.

    Beside it the mean explained variance of the training draws, before any update on them, of the steps since.
    """
    steps = folder.records("metrics.jsonl")
    found = [record for record in folder.records("evaluations.jsonl") if "explained_variance" in record]
    if not found:
        raise InputError(f"{folder.path}: no evaluation with a critic; give run.evaluate_every and a strategy with one")
    lines = [
        "| steps done | held out, all tokens | last token | pass@1 held out | training draws since |",
        "|---|---|---|---|---|",
    ]
    before = -1
    for record in found:
        own = [s["ppo/explained_variance"] for s in steps if before <= s["step"] < record["step"]]
        known = [value for value in own if value is not None]
        since = f"{sum(known) / len(known):.2f}" if known else ""
        figures = " | ".join(f"{record[name]:.3f}" for name in FIGURES)
        lines.append(f"| {record['step']} | {figures} | {since} |")
        before = record["step"]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    try:
        print(table(RunFolder.open(parser.parse_args().run)))
    except InputError as error:
        print(f"critic_table: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
