"""explore-rl score: log-probability, token entropy and perplexity of given texts under a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from explore_rl.commands.reporting import reported, talk
from explore_rl.commands.sample import template_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl score lab:base --problems "lab:countdown?split=audit" --samples tuned.parquet \\
    --at own --out base_on_tuned.parquet
  explore-rl score runs/grpo-seed0 --problems "lab:countdown?split=train" --traces --out grpo_on_traces.parquet

A killed command goes on where it stopped when it is given again."""
    parser.add_argument("model", help="a checkpoint folder, a model by name (docs/real.md), RUN or RUN@STEP")
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
    parser.add_argument(
        "--template",
        help="chat, qwen-boxed, r1, plain, none, line, or a file (default: the run's, else none; a model with a chat "
        "template has to be told)",
    )
    parser.add_argument("--out", required=True, type=Path, help="the Parquet file to write")
    # On what it runs.
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: the run's, else float32")
    parser.add_argument("--ranks", type=int, default=1, help="processes that share the work, one GPU each")
    parser.add_argument(
        "--zero-stage", type=int, default=0, choices=(0, 1, 2, 3), help="3: the ranks share the model's weights too"
    )
    parser.add_argument(
        "--micro-batch-tokens", type=int, default=8192, help="tokens of one forward pass; a longer text has its own"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--ray-address", default="local", help="auto joins a running cluster")
    parser.add_argument("--part", type=int, default=256, help="texts written at a time (what a kill can lose)")


def run(args: argparse.Namespace) -> int:
    log = talk()
    from analysis.errors import InputError
    from explore_rl.experiments.run_models import run_model
    from explore_rl.learner import scoring
    from explore_rl.learner.fitting import check_fits
    from explore_rl.models import load_model_config, resolve_model
    from explore_rl.weight_files import check_weights

    for name in ("ranks", "micro_batch_tokens", "part"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')}={getattr(args, name)}: expected at least 1")
    run = run_model(args.model)
    model = args.model if run is None else str(run.path())
    folder = resolve_model(model)
    stored = check_weights(folder)
    for said in check_fits(folder, load_model_config(folder), stored=stored, attention="sdpa", drawn_from=False):
        log.warning("%s", said)
    settings = scoring.ScoringSettings(
        model=model,
        problems=args.problems,
        samples=args.samples,
        at=args.at,
        template=template_of(args.template, run, model=model),
        dtype=args.dtype or ("float32" if run is None else run.config.model.dtype),
        part=args.part,
    )
    with reported("explore-rl score", "what is complete is kept; give the command again to go on") as outcome:
        reading = scoring.reader(
            settings,
            ranks=args.ranks,
            zero_stage=args.zero_stage,
            micro_batch_tokens=args.micro_batch_tokens,
            device=args.device,
            ray_address=args.ray_address,
        )
        found = scoring.score(settings, args.out, reading=reading)
    if outcome.code:
        return outcome.code

    # What was scored, at which settings, and the typical figures.
    at = "temperature 1 and top-p 1 (raw)"
    if args.at == "own" and args.samples:
        at = "each sample's own temperature and top-p"
    print(f"{args.out}: {found['texts']} texts under {found['model']}, at {at}")
    if found["perplexity"] is not None:
        print(f"mean log-probability {found['logprob']:.3f} nats, median perplexity {found['perplexity']:.4f}")
    return 0
