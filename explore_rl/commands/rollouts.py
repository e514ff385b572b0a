"""explore-rl rollouts: the completions of a run, or of a file of samples, as one page to read."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.commands import rollouts
from analysis.errors import InputError
from analysis.rollouts import Decode

add_arguments = rollouts.add_arguments


def run(args: argparse.Namespace) -> int:
    return rollouts.run(args, decode=decoder(Path(args.paths[0])))


def decoder(run: Path) -> Decode | None:
    """Text of the prompt tokens that a run recorded, by its own tokenizer; None where it is no run or has none left."""
    if not (run / "config.yaml").exists():
        return None
    from explore_rl.config.loading import load_config
    from explore_rl.models import load_tokenizer

    final = run / "final"
    try:
        return load_tokenizer(final if final.is_dir() else load_config(run / "config.yaml").model.path).decode
    except InputError as error:
        print(f"prompts are not shown: {error}")
        return None
