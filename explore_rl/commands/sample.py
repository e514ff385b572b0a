"""explore-rl sample: completions of any checkpoint on any problem file, verified."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl sample lab:base --problems "lab:countdown?split=audit&size=100" --n 256 --max-tokens 24 --out base.parquet
  explore-rl sample runs/grpo-seed0/final --problems math500.jsonl --template chat --n 1024 \\
    --temperature 0.6 --top-p 0.95 --out tuned.parquet

A killed command goes on where it stopped when it is given again. Both sides of an audit want the same settings."""
    # What is drawn.
    parser.add_argument("model", help="a Hugging Face checkpoint folder, or lab:base")
    parser.add_argument("--problems", required=True, help="a problem file, or a spec such as lab:countdown?split=audit")
    parser.add_argument("--out", required=True, type=Path, help="the Parquet file to write")
    parser.add_argument("--n", type=int, default=256, help="completions a problem (default 256)")
    # How it is drawn.
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--max-tokens", type=int, default=1024, help="response budget in tokens (default 1024)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the whole file; each completion's own seed is made from it (default 0)"
    )
    parser.add_argument(
        "--template", default="none", help="chat, qwen-boxed, r1, plain, none, or a file with a {prompt} slot"
    )
    parser.add_argument(
        "--stop", action="append", default=[], help="a stop string, besides the end token; may be repeated"
    )
    # How the problems are read and verified.
    parser.add_argument("--format", help="adapter of the problem file by name; found from its columns otherwise")
    parser.add_argument(
        "--verifier-options", default="{}", metavar="JSON", help='verifier -> options: {"math": {"extract": "boxed"}}'
    )
    parser.add_argument("--limit", type=int, help="only the first so many problems")
    # On what it runs.
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--actors", type=int, default=1, help="engines that share the work")
    parser.add_argument("--tensor-parallel", type=int, default=1, help="GPUs of one engine")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--ray-address", default="local", help="auto joins a running cluster")
    parser.add_argument("--part", type=int, default=4096, help="completions written at a time (what a kill can lose)")


def read_options(text: str) -> dict[str, dict[str, Any]]:
    """verifier -> options, from the JSON of --verifier-options. Raises InputError."""
    from analysis.errors import InputError

    try:
        options = json.loads(text)
    except ValueError as error:
        raise InputError(f"--verifier-options: not JSON: {error}") from None
    if not isinstance(options, dict) or not all(isinstance(value, dict) for value in options.values()):
        raise InputError(
            '--verifier-options: expected a mapping of verifiers to options, such as {"math": {"extract": "boxed"}}'
        )
    return options


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    from explore_rl.commands.reporting import reported
    from explore_rl.config.schema import VerifierConfig
    from explore_rl.rollout.sampling import SamplingSettings, at_least_1, engines, sample
    from explore_rl.verifiers.pool import VerifierPool

    # Everything that was given is checked before an engine starts.
    settings = SamplingSettings(
        model=args.model,
        problems=args.problems,
        n=args.n,
        temperature=args.temperature,
        top_p=args.top_p,
        max_tokens=args.max_tokens,
        seed=args.seed,
        template=args.template,
        stop=tuple(args.stop),
        dtype=args.dtype,
        format=args.format,
        limit=args.limit,
        verifier_options=read_options(args.verifier_options),
        part=args.part,
    )
    at_least_1("actors", args.actors)
    at_least_1("tensor_parallel", args.tensor_parallel)

    with reported("explore-rl sample", "what is complete is kept; give the command again to go on") as outcome:
        drawing = engines(
            settings,
            actors=args.actors,
            tensor_parallel=args.tensor_parallel,
            device=args.device,
            ray_address=args.ray_address,
        )
        limits = VerifierConfig()
        with VerifierPool(
            settings.verifier_options, time_limit_s=limits.time_limit_s, memory_limit_mb=limits.memory_limit_mb
        ) as pool:
            counts = sample(settings, args.out, drawing=drawing, pool=pool)

        # Verdicts of the whole file, what earlier commands drew included.
        total = sum(counts.values())
        shares = ", ".join(f"{name} {count} ({count / total:.1%})" for name, count in sorted(counts.items()))
        print(f"{args.out}: {total} completions: {shares}")
    return outcome.code
