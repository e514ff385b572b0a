"""explore-rl score: log-probability, token entropy and perplexity of given texts under a model."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl score lab:base --problems "lab:countdown?split=audit" --samples tuned.parquet \\
    --at own --out base_on_tuned.parquet
  explore-rl score runs/grpo-seed0/final --problems "lab:countdown?split=train" --traces --out grpo_on_traces.parquet"""
    parser.add_argument("model", help="a Hugging Face checkpoint folder, or lab:base")
    parser.add_argument("--problems", required=True, help="the problem file or spec that the texts belong to")
    # Which texts, and at which settings.
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--samples", type=Path, help="score the completions of this file (as explore-rl sample writes it)"
    )
    what.add_argument("--traces", action="store_true", help="score the traces that the problems carry")
    parser.add_argument(
        "--at",
        choices=("raw", "own"),
        default="raw",
        help="raw: temperature 1, top-p 1 (default); own: each sample's own",
    )
    parser.add_argument("--template", default="none", help="chat, qwen-boxed, r1, plain, none, or a file")
    parser.add_argument("--out", required=True, type=Path, help="the Parquet file to write")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    import numpy as np
    import torch

    from analysis.errors import InputError
    from explore_rl.commands.reporting import reported
    from explore_rl.learner import scoring

    if args.out.exists():
        raise InputError(f"{args.out}: is there already; choose another --out")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: there is no GPU here")
    device = args.device if args.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    with reported("explore-rl score", "nothing was written; give the command again") as outcome:
        records = scoring.run(
            model=args.model,
            samples=args.samples,
            problems_path=args.problems,
            at=args.at,
            template_name=args.template,
            out=args.out,
            dtype=args.dtype,
            device=device,
        )
    if outcome.code:
        return outcome.code

    # What was scored, at which settings, and the typical figures.
    at = "temperature 1 and top-p 1 (raw)"
    if args.at == "own" and args.samples:
        at = "each sample's own temperature and top-p"
    perplexity = [r["perplexity"] for r in records if r["perplexity"] is not None]
    print(f"{args.out}: {len(records)} texts under {records[0]['model']}, at {at}")
    if perplexity:
        logprobs = [r["logprob"] for r in records if r["logprob"] is not None]
        print(f"mean log-probability {np.mean(logprobs):.3f} nats, median perplexity {np.median(perplexity):.4f}")
    return 0
