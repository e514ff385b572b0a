"""Holds flat draws against exact enumeration: what the engine draws uniformly, and the density it records.

    python scripts/check_flat.py --policy lab:base        20,000 draws of the first three tokens

The distribution of the completions' first tokens is computed by transformers, token by token, and flattened. Also:
requests beside them that ask for nothing are the policy's own.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import Any

import numpy as np
from one_engine import OneEngine

from explore_rl.models import resolve_model
from explore_rl.types import Flat, Request

Law = dict[tuple[int, ...], float]  # log-probability of every beginning of a completion


def exact(model: Any, prompt: list[int], *, length: int, flat: Flat | None, ends: set[int]) -> Law:
    """Of every completion of up to `length` tokens that is not absurdly rare."""
    import torch

    from explore_rl.rollout.mixing import flatten

    found: Law = {}
    open_: Law = {(): 0.0}
    for place in range(length):
        tokens = torch.tensor([[*prompt, *beginning] for beginning in open_])
        with torch.inference_mode():
            rows = torch.log_softmax(model(tokens, use_cache=False).logits[:, -1].float(), -1)
        if flat is not None and place >= flat.plain:
            rows = flatten(rows, top=flat.top, least=flat.least)
        going: Law = {}
        for (beginning, so_far), row in zip(open_.items(), rows.double().numpy(), strict=True):
            for token in np.flatnonzero(row > np.log(1e-9)):
                whole = (*beginning, int(token))
                is_whole = token in ends or len(whole) == length
                (found if is_whole else going)[whole] = so_far + float(row[token])
        open_ = {whole: logprob for whole, logprob in going.items() if logprob > np.log(1e-9)}
    return found


def variation(drawn: list[tuple[int, ...]], law: Law) -> float:
    counts = Counter(drawn)
    return sum(abs(counts[whole] / len(drawn) - np.exp(logprob)) for whole, logprob in law.items()) / 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="lab:base", help="a checkpoint")
    parser.add_argument("--prompt", default="5 3 10=8:")
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--length", type=int, default=3, help="tokens a completion (default 3)")
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--least", type=float, default=0.03)
    parser.add_argument("--plain", type=int, default=1)
    args = parser.parse_args()
    policy = str(resolve_model(args.policy))
    engine = OneEngine(policy, logits_processors=["explore_rl.rollout.flat:FlatDraws"], async_scheduling=False)
    from transformers import AutoModelForCausalLM  # once the engine has set vLLM's environment

    prompt = engine.prompt_ids(args.prompt)
    flat = Flat(args.top, args.least, args.plain)
    # In turn, so that both kinds stand in every batch.
    requests = [
        Request("p", 0, prompt, max_tokens=args.length, seed=seed, flat=(flat, None)[seed % 2])
        for seed in range(2 * args.draws)
    ]
    drawn: tuple[list[tuple[int, ...]], ...] = ([], [])
    densities: list[float] = []
    for i, tokens, density in engine.draw(requests):
        drawn[i % 2].append(tokens)
        if i % 2 == 0:
            densities.append(density)

    model = AutoModelForCausalLM.from_pretrained(policy).float().eval()
    beginning = prompt.tolist()
    law, plain = (exact(model, beginning, length=args.length, flat=how, ends=engine.ends) for how in (flat, None))
    far, own = variation(drawn[0], law), variation(drawn[1], plain)
    strangers = sum(tokens not in law for tokens in drawn[0])
    said = zip(drawn[0], densities, strict=True)
    difference = max((abs(logprob - law[tokens]) for tokens, logprob in said if tokens in law), default=np.inf)
    print(f"{len(law)} flat completions of mass {np.exp(list(law.values())).sum():.6f}, {len(plain)} of the policy")
    print(f"total variation from the flat law: {far:.4f} of flat draws, {variation(drawn[1], law):.4f} of the others")
    print(f"total variation from the policy's law: {own:.4f} of draws that ask for nothing")
    print(f"draws outside the flat law: {strangers}; largest difference of a density: {difference:.1e} nats")
    # What so many draws of so many kinds are apart from their own law by chance, three times over.
    chance = 3 * sum(np.sqrt(np.exp(x) / (2 * np.pi * args.draws)) for x in law.values())
    return 0 if far < chance and own < 0.02 and not strangers and difference < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
