"""What the rollout actors cost: tokens per second through them against a bare `LLM.generate` on the same requests.

    .venv/bin/python scripts/benchmark_rollout.py                       # the laboratory's model, 512 requests
    .venv/bin/python scripts/benchmark_rollout.py --requests 2048 --max-tokens 48 --rounds 9

Both engines live through the whole benchmark and take turns, so that what else the machine does falls on both. One
engine each. The bare engine has the same settings and sampling parameters (seed and log-probability of every token
included) and returns nothing.
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np
import ray

from explore_rl.cluster import placement
from explore_rl.config.loading import load_config
from explore_rl.models import load_tokenizer
from explore_rl.rollout.engines import Engines
from explore_rl.rollout.seeds import hashed_seed
from explore_rl.rollout.settings import engine_environment
from explore_rl.types import Request


@ray.remote
class Bare:
    """`LLM.generate` and nothing else, timed where it runs."""

    def __init__(self, settings: dict[str, Any]):
        from explore_rl.rollout import vllm_compat

        self.settings = vllm_compat.EngineSettings(**settings)
        self.llm = vllm_compat.make_engine(self.settings)

    def generate(self, requests):
        from explore_rl.rollout.vllm_compat import sampling_params

        began = time.perf_counter()
        prompts: Any = [{"prompt_token_ids": r.prompt_ids.tolist()} for r in requests]
        outputs = self.llm.generate(prompts, [sampling_params(r, self.settings) for r in requests], use_tqdm=False)
        seconds = time.perf_counter() - began
        return seconds, [tuple(o.outputs[0].token_ids) for o in outputs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lab:base")
    parser.add_argument("--prompt", default="3 5 7=22:")
    parser.add_argument("--requests", type=int, default=512)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()

    config = load_config(None, [f"model.path={args.model}", "rollout.actors=2"])
    layout = placement.start(config, 0)
    place = placement.with_environment(layout.policy.pop(), engine_environment(config, layout.kind))
    config.rollout.actors = 1
    group = Engines(config, layout, load_format="auto")
    engine = group.families["policy"][0]
    bare = Bare.options(**place).remote(engine.settings)

    prompt = np.array(load_tokenizer(args.model).encode(args.prompt), dtype=np.int32)
    seconds = {"actors": [], "bare": []}
    for round in range(args.rounds + 1):  # the first one warms up
        requests = [
            Request("p", 0, prompt, seed=hashed_seed(round, i), max_tokens=args.max_tokens)
            for i in range(args.requests)
        ]
        began = time.perf_counter()
        rollouts = group.generate(requests)
        through = time.perf_counter() - began
        alone, tokens = ray.get(bare.generate.remote(requests), timeout=600)
        assert tokens == [tuple(r.tokens.tolist()) for r in rollouts], "the two engines drew different tokens"
        count = sum(map(len, tokens))
        if round:
            seconds["actors"].append(through)
            seconds["bare"].append(alone)
            speeds = f"actors {count / through:,.0f} tokens/s, bare {count / alone:,.0f} tokens/s"
            print(f"round {round}: {count} tokens, {speeds}, ratio {alone / through:.3f}")
    ratios = [b / a for a, b in zip(seconds["actors"], seconds["bare"], strict=True)]
    print(
        f"median ratio {statistics.median(ratios):.3f}"
        f" (smallest {min(ratios):.3f}, largest {max(ratios):.3f}, {args.rounds} rounds)"
    )
    group.close()
    layout.close()


if __name__ == "__main__":
    main()
