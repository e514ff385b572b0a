"""Holds the token-level mixture of two models against exact enumeration: what it draws, and the density it records.

    python scripts/check_mixture.py --policy runs/grpo-seed0/final        20,000 draws of the first three tokens

The distribution of the completions' first tokens is computed by transformers, token by token, for both models, and
mixed; the draws come from two vLLM engines in this process. Also: the same seeds in other company give the same draws,
and requests without a limit are the policy's own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import Any

import numpy as np
from one_engine import OneEngine

from explore_rl.models import resolve_model
from explore_rl.types import Request


def exact(models: list[Any], prompt: list[int], *, length: int, limit: float, ends: set[int]) -> dict[tuple, float]:
    """log-probability under the mixture of every completion of up to `length` tokens that is not absurdly rare."""
    import torch

    from explore_rl.rollout.mixing import mix

    of_all = torch.tensor(limit)
    found: dict[tuple, float] = {}
    open_ = {(): 0.0}
    while open_:
        beginnings = list(open_)
        tokens = torch.tensor([[*prompt, *beginning] for beginning in beginnings])
        with torch.inference_mode():
            heard = [torch.log_softmax(model(tokens, use_cache=False).logits[:, -1].float(), -1) for model in models]
        mixed = mix(heard[0], heard[1], limits=of_all)[0].double().numpy()
        going = {}
        for beginning, row in zip(beginnings, mixed, strict=True):
            for token, logprob in enumerate(open_[beginning] + row):
                whole = (*beginning, token)
                is_whole = token in ends or len(whole) == length
                if is_whole:
                    found[whole] = float(logprob)
                elif logprob > np.log(1e-9):
                    going[whole] = float(logprob)
        open_ = going
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", required=True, help="a checkpoint with the base's tokenizer")
    parser.add_argument("--expert", default="lab:base")
    parser.add_argument("--prompt", default="5 3 10=8:")
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--length", type=int, default=3, help="tokens a completion (default 3)")
    parser.add_argument("--limit", type=float, default=1.0, help="entropy from which the expert speaks alone, nats")
    args = parser.parse_args()
    policy, expert = (str(resolve_model(name)) for name in (args.policy, args.expert))
    engine = OneEngine(
        policy,
        logits_processors=["explore_rl.rollout.mixture:TokenMixture"],
        additional_config={"expert": {"model": expert}},
        async_scheduling=False,
    )
    from transformers import AutoModelForCausalLM  # once the engine has set vLLM's environment

    ids = engine.prompt_ids(args.prompt)

    def drawn_by(seeds: range, limit: float | None) -> dict[int, tuple[tuple[int, ...], float]]:
        """Tokens and recorded log-probability by seed."""
        requests = [Request("p", 0, ids, max_tokens=args.length, seed=seed, limit=limit) for seed in seeds]
        began = time.perf_counter()
        found = {seeds[i]: (tokens, density) for i, tokens, density in engine.draw(requests)}
        print(f"{len(found)} completions at limit {limit}: {time.perf_counter() - began:.1f} s", flush=True)
        return found

    alone = drawn_by(range(args.draws), None)
    mixed = drawn_by(range(args.draws), args.limit)
    some = range(0, args.draws, max(1, args.draws // 50))
    again = drawn_by(some, args.limit)

    models = [AutoModelForCausalLM.from_pretrained(path).float().eval() for path in (policy, expert)]
    truth = exact(models, ids.tolist(), length=args.length, limit=args.limit, ends=engine.ends)
    of_policy = exact(models, ids.tolist(), length=args.length, limit=np.inf, ends=engine.ends)

    def variation(draws: dict[int, tuple[tuple[int, ...], float]], law: dict[tuple, float]) -> float:
        counts = Counter(tokens for tokens, _ in draws.values())
        return sum(abs(counts[whole] / len(draws) - np.exp(logprob)) for whole, logprob in law.items()) / 2

    far = variation(mixed, truth)
    difference = max(abs(logprob - truth[tokens]) for tokens, logprob in mixed.values())
    same = sum(again[seed][0] == mixed[seed][0] for seed in some)
    print(f"mass enumerated: {np.exp(list(truth.values())).sum():.6f} over {len(truth)} completions")
    by_policy = variation(alone, truth)
    print(f"total variation from the mixture's law: {far:.4f} of mixed draws, {by_policy:.4f} of the policy's")
    print(f"total variation from the policy's law: {variation(alone, of_policy):.4f} of draws without a limit")
    print(f"recorded density against the exact one: largest difference {difference:.1e} nats")
    print(f"the same seeds, {len(some)} at a time: {same} of {len(some)} the same")
    is_right = far < 0.02 and variation(alone, of_policy) < 0.02 and difference < 1e-3 and same == len(some)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
