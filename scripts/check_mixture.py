"""Holds the token-level mixture of two engines against exact enumeration: what it draws, and the density it records.

    python scripts/check_mixture.py --policy runs/grpo-seed0/final        20,000 draws of the first three tokens

The distribution of the completions' first tokens is computed by transformers, token by token, for both models, and
mixed; the draws come from two vLLM engines of this process. Also: the same seeds in other company give the same draws.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from typing import Any

import numpy as np

from explore_rl.config.loading import load_config
from explore_rl.models import end_token_ids, resolve_model
from explore_rl.rollout.settings import engine_environment, engine_settings
from explore_rl.types import Request


def exact(models: list[Any], prompt: list[int], *, length: int, limit: float, ends: set[int]) -> dict[tuple, float]:
    """log-probability under the mixture of every completion of up to `length` tokens that is not absurdly rare."""
    import torch

    from explore_rl.rollout.mixing import mix

    found: dict[tuple, float] = {}
    open_ = {(): 0.0}
    while open_:
        beginnings = list(open_)
        tokens = torch.tensor([[*prompt, *beginning] for beginning in beginnings])
        with torch.inference_mode():
            heard = [torch.log_softmax(model(tokens, use_cache=False).logits[:, -1].float(), -1) for model in models]
        mixed = mix(heard[0], heard[1], limit)[0].double().numpy()
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
    # vLLM reads its settings when it is imported. (Intel's OpenMP, which only makes it quicker, had to be there before.)
    config = load_config(None, ["rollout.threads=1"])
    os.environ |= {k: v for k, v in engine_environment(config, "cpu").items() if k != "LD_PRELOAD"}
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from explore_rl.rollout.mixture import MixtureEngine
    from explore_rl.rollout.vllm_compat import EngineSettings

    paths = [str(resolve_model(name)) for name in (args.policy, args.expert)]
    settings = [
        EngineSettings(
            model=path, dtype="float32", load_format="auto", max_num_seqs=256, end_tokens=tuple(end_token_ids(path)),
            stop=(), device=engine_settings(config, "cpu"),
        )
        for path in paths
    ]  # fmt: skip
    began = time.perf_counter()
    engine = MixtureEngine(*settings)
    print(f"two engines in one process: {time.perf_counter() - began:.1f} s")
    codes: Any = AutoTokenizer.from_pretrained(paths[0])
    prompt = codes(args.prompt).input_ids
    ids = np.array(prompt, dtype=np.int32)
    requests = [Request("p", 0, ids, max_tokens=args.length, seed=i) for i in range(args.draws)]
    began = time.perf_counter()
    drawn = dict(engine.draw(requests, limit=args.limit))
    print(f"{len(drawn)} completions in {time.perf_counter() - began:.1f} s")

    models = [AutoModelForCausalLM.from_pretrained(path).float().eval() for path in paths]
    truth = exact(models, prompt, length=args.length, limit=args.limit, ends=set(settings[0].end_tokens))
    counts = Counter(tuple(mixed.tokens.tolist()) for mixed in drawn.values())
    far = sum(abs(counts[whole] / len(drawn) - np.exp(logprob)) for whole, logprob in truth.items()) / 2
    differences = [abs(float(m.logprobs.sum()) - truth[tuple(m.tokens.tolist())]) for m in drawn.values()]
    alone = exact([models[0]] * 2, prompt, length=args.length, limit=args.limit, ends=set(settings[0].end_tokens))
    of_policy = sum(abs(np.exp(alone[w]) - np.exp(truth[w])) for w in truth.keys() & alone.keys()) / 2
    some = requests[:: max(1, args.draws // 50)]
    again = dict(engine.draw(some, limit=args.limit))
    same = sum(bool((again[i].tokens == drawn[request.seed].tokens).all()) for i, request in enumerate(some))
    print(f"mass enumerated: {np.exp(list(truth.values())).sum():.6f} over {len(truth)} completions")
    print(f"total variation of the draws from the mixture: {far:.4f} (of the policy from it: {of_policy:.4f})")
    print(f"recorded density against the exact one: largest difference {max(differences):.1e} nats")
    print(f"the expert's mean share: {np.mean(np.concatenate([m.weights for m in drawn.values()])):.3f}")
    print(f"the same seeds, {len(some)} at a time: {same} of {len(some)} the same")
    return 0 if far < 0.02 and max(differences) < 1e-3 and same == len(some) else 1


if __name__ == "__main__":
    sys.exit(main())
