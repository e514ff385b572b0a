"""explore-rl answer: distinct answers to problems, from a tuned model, from its base, or from both."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

from explore_rl.rollout.answering import MODES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  explore-rl answer runs/grpo-seed0/final --base lab:base --problems "lab:countdown?split=audit&size=5" \\
    --max-tokens 24 --mode exploratory --k 64 --out answers
  explore-rl answer TUNED --base BASE --problems math.jsonl --template chat --k 256 --mode split \\
    --audit audit/audit.json --out answers --unverified

focused draws from MODEL, exploratory from its base, split from both. A killed command goes on where it stopped."""
    parser.add_argument("model", help="a Hugging Face checkpoint folder, or an embedded model")
    parser.add_argument("--base", required=True, help="the model that it was trained from")
    parser.add_argument("--problems", required=True, help="a problem file, or a spec such as lab:countdown?split=audit")
    parser.add_argument("--out", required=True, type=Path, help="folder of the draws; it may hold earlier ones")
    parser.add_argument("--mode", default="focused", choices=MODES, help="default: %(default)s")
    parser.add_argument("--k", type=int, default=64, help="draws a problem, of both models together (default 64)")
    parser.add_argument("--audit", type=Path, help="audit.json whose advice says how to split; default: half and half")
    parser.add_argument("--unverified", action="store_true", help="rank by draws alone, as where nobody can verify")
    parser.add_argument("--show", type=int, default=5, help="answers a problem (default 5)")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--max-tokens", type=int, default=1024, help="response budget in tokens (default 1024)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--template", default="none", help="chat, qwen-boxed, r1, plain, none, line, or a file")
    parser.add_argument("--limit", type=int, help="only the first so many problems")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    from explore_rl.commands.reporting import reported
    from explore_rl.config.schema import VerifierConfig
    from explore_rl.models import resolve_model
    from explore_rl.problems import load_problems
    from explore_rl.rollout.answering import SIDES, answer, shares
    from explore_rl.rollout.sampling import SamplingSettings, at_least_1, engines
    from explore_rl.verifiers.pool import VerifierPool

    # Everything that was given is checked before an engine starts.
    split = shares(args.mode, args.k, audit=args.audit)
    at_least_1("show", args.show)
    settings = SamplingSettings(
        model=args.model,
        problems=args.problems,
        n=args.k,
        temperature=args.temperature,
        top_p=args.top_p,
        max_tokens=args.max_tokens,
        seed=args.seed,
        template=args.template,
        limit=args.limit,
    )
    models = dict(zip(SIDES, (args.model, args.base), strict=True))
    for model in models.values():
        resolve_model(model)
    problems = load_problems(args.problems, limit=args.limit)
    args.out.mkdir(parents=True, exist_ok=True)
    with reported("explore-rl answer", "what is complete is kept; give the command again to go on") as outcome:
        limits = VerifierConfig()
        drawing = {side: engines(replace(settings, model=model), device=args.device) for side, model in models.items()}
        with VerifierPool(time_limit_s=limits.time_limit_s, memory_limit_mb=limits.memory_limit_mb) as pool:
            found = answer(
                settings,
                args.base,
                split=split,
                out=args.out,
                drawing=drawing,
                pool=pool,
                verified=not args.unverified,
            )
        print(f"{args.mode}: {split['tuned']} draws of {args.model}, {split['base']} of {args.base}")
        for problem in problems:
            answers = found.get(problem.id, [])
            print(f"\n{problem.id}: {len(answers)} distinct answers")
            for one in answers[: args.show]:
                word = {None: "", True: "correct", False: "wrong"}[one.correct]
                print(f"  {one.votes:5} ({one.draws['tuned']} + {one.draws['base']})  {word:8} {one.text[-100:]!r}")
    return outcome.code
