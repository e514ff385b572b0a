"""explore-rl sample: completions of any checkpoint on any problem file, verified."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explore_rl.commands.reporting import reported, talk

if TYPE_CHECKING:
    from explore_rl.experiments.run_models import RunModel
    from explore_rl.rollout.sampling import SamplingSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl sample lab:base --problems "lab:countdown?split=audit&size=100" --n 256 --max-tokens 24 --out base.parquet
  explore-rl sample runs/grpo-seed0 --problems math500.jsonl --n 1024 --out tuned.parquet
  explore-rl sample runs/grpo-seed0@50 --problems math500.jsonl --out after50.parquet
  explore-rl sample models/Qwen2.5-7B-Instruct --problems math500.jsonl --template chat --n 1024 \\
    --temperature 0.6 --top-p 0.95 --out tuned.parquet

Of a run (RUN, or RUN@STEP for a checkpoint) template, temperature, length, stop strings, dtype and verifier options
are the run's own, unless they are given.
A killed command goes on where it stopped when it is given again. Both sides of an audit want the same settings."""
    # What is drawn.
    parser.add_argument("model", help="a checkpoint folder, a model by name (docs/real.md), RUN or RUN@STEP")
    parser.add_argument(
        "--problems",
        required=True,
        help="a problem file, a spec such as lab:countdown?split=audit, or a data set of the hub: openai/gsm8k:test",
    )
    parser.add_argument("--out", required=True, type=Path, help="the Parquet file to write")
    parser.add_argument("--n", type=int, default=256, help="completions a problem (default 256)")
    # How it is drawn.
    parser.add_argument("--temperature", type=float, help="0: greedy (default: the run's, else 1)")
    parser.add_argument("--top-p", type=float, default=1.0, help="nucleus that is drawn from (default 1)")
    parser.add_argument("--max-tokens", type=int, help="response budget in tokens (default: the run's, else 1024)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the whole file; each completion's own seed is made from it (default 0)"
    )
    parser.add_argument(
        "--template",
        help="chat, qwen-boxed, r1, plain, none, line, or a file with a {prompt} slot (default: the run's, else none; "
        "a model with a chat template has to be told)",
    )
    parser.add_argument(
        "--stop", action="append", help="a stop string, besides the end token; may be repeated (default: the run's)"
    )
    # How the problems are read and verified.
    parser.add_argument("--format", help="adapter of the problem file by name; found from its columns otherwise")
    parser.add_argument(
        "--verifier-options",
        metavar="JSON",
        help='verifier -> options: {"math": {"extract": "boxed"}} (default: the run\'s)',
    )
    parser.add_argument("--limit", type=int, help="only the first so many problems")
    # On what it runs.
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: the run's, else float32")
    parser.add_argument("--actors", type=int, default=1, help="engines that share the work (default 1)")
    parser.add_argument("--tensor-parallel", type=int, default=1, help="GPUs of one engine (default 1)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="default auto")
    parser.add_argument("--ray-address", default="local", help="auto joins a running cluster (default local)")
    parser.add_argument(
        "--stall-timeout",
        type=float,
        default=45.0,
        metavar="S",
        help="seconds without progress after which an engine is stuck; more for a large model on a CPU (default 45)",
    )
    parser.add_argument(
        "--part", type=int, default=4096, help="completions written at a time, what a kill can lose (default 4096)"
    )


def template_of(given: str | None, run: RunModel | None, *, model: str) -> str:
    """The template that was given, or the run's, or "none". Raises InputError for a chat model without either."""
    from analysis.errors import InputError
    from explore_rl.models import load_tokenizer

    if given is not None:
        return given
    if run is not None:
        return run.config.model.template
    if load_tokenizer(model).chat_template:
        raise InputError(
            f"{model}: has a chat template; say how it is to be asked: --template chat for an instruct model, or none, "
            "plain, qwen-boxed, r1 or a file for a base model"
        )
    return "none"


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


def of_run(run: RunModel, args: argparse.Namespace) -> SamplingSettings:
    """How a run draws itself."""
    from explore_rl.rollout.sampling import SamplingSettings

    config = run.config
    return SamplingSettings(
        model=str(run.path()),
        problems=args.problems,
        n=args.n,
        temperature=config.rollout.temperature,
        max_tokens=config.rollout.max_new_tokens,
        stop=tuple(config.rollout.stop),
        dtype=config.model.dtype,
        verifier_options=config.verifiers.options,
    )


def run(args: argparse.Namespace) -> int:
    talk()
    from explore_rl.config.schema import VerifierConfig
    from explore_rl.experiments.run_models import run_model
    from explore_rl.models import resolve_model
    from explore_rl.rollout.sampling import SamplingSettings, at_least_1, engines, sample
    from explore_rl.verifiers.pool import VerifierPool
    from explore_rl.weight_files import check_weights

    # Everything that was given is checked before an engine starts.
    at_least_1("actors", args.actors)
    at_least_1("tensor_parallel", args.tensor_parallel)
    at_least_1("stall_timeout", args.stall_timeout)
    options = None if args.verifier_options is None else read_options(args.verifier_options)
    run = run_model(args.model)
    model = args.model if run is None else str(run.path())
    check_weights(resolve_model(model))
    own = SamplingSettings(model=model, problems=args.problems, n=args.n) if run is None else of_run(run, args)
    given = {
        "temperature": args.temperature,
        "top_p": args.top_p,
        "max_tokens": args.max_tokens,
        "stop": None if args.stop is None else tuple(args.stop),
        "dtype": args.dtype,
        "format": args.format,
        "limit": args.limit,
        "verifier_options": options,
    }
    settings = replace(
        own,
        template=template_of(args.template, run, model=model),
        seed=args.seed,
        part=args.part,
        **{name: value for name, value in given.items() if value is not None},
    )

    with reported("explore-rl sample", "what is complete is kept; give the command again to go on") as outcome:
        drawing = engines(
            settings,
            actors=args.actors,
            tensor_parallel=args.tensor_parallel,
            device=args.device,
            ray_address=args.ray_address,
            stall_timeout_s=args.stall_timeout,
        )
        limits = VerifierConfig() if run is None else run.config.verifiers
        with VerifierPool(
            settings.verifier_options, time_limit_s=limits.time_limit_s, memory_limit_mb=limits.memory_limit_mb
        ) as pool:
            counts = sample(settings, args.out, drawing=drawing, pool=pool)

        # Verdicts of the whole file, what earlier commands drew included.
        total = sum(counts.values())
        shares = ", ".join(f"{name} {count} ({count / total:.1%})" for name, count in sorted(counts.items()))
        print(f"{args.out}: {total} completions: {shares}")
    return outcome.code
