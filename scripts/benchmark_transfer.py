"""What sending weights costs: learner to one engine, against a fresh `clone()` of the same tensors. No GPU.

    .venv/bin/python scripts/benchmark_transfer.py                     # 0.5 B parameters in float32: 11 GB, minutes
    .venv/bin/python scripts/benchmark_transfer.py --size tiny         # to try the script

A model of Qwen2.5-0.5B's shape with random weights, and the real Learner, Engines and WeightSync. Gathering ZeRO-3
shards is reported apart. The engine's log-probabilities before the first send and after the last are held against
the learner's.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from explore_rl.cluster import placement
from explore_rl.config.loading import load_config
from explore_rl.learner.learner import Learner
from explore_rl.models import load_tokenizer
from explore_rl.objectives.readouts import logprob
from explore_rl.rollout.engines import Engines
from explore_rl.transfer.on_ranks import import_sender
from explore_rl.transfer.sync import WeightSync
from explore_rl.types import Request

SIZES = {  # hidden, intermediate, layers, heads, key-value heads, vocabulary
    "0.5b": (896, 4864, 24, 14, 2, 151936),
    "tiny": (128, 384, 3, 4, 4, 2000),
}


def random_model(size: str, tied: bool, *, folder: Path) -> None:
    tokenizer = load_tokenizer("lab:base")
    hidden, intermediate, layers, heads, key_value_heads, vocabulary = SIZES[size]
    config = Qwen2Config(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        vocab_size=vocabulary,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def clone_seconds(rank, rounds: int) -> tuple[float, int]:
    """Median seconds of a fresh clone() of every parameter, each once, and their bytes."""
    parameters = list(rank.model.parameters())
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        copies = [p.data.clone() for p in parameters]
        seconds.append(time.perf_counter() - began)
        del copies
    return statistics.median(seconds), sum(p.nbytes for p in parameters)


def gap(learner: Learner, rollouts: list) -> float:
    sequences = [(np.concatenate([r.request.prompt_ids, r.tokens]), len(r.request.prompt_ids)) for r in rollouts]
    read = learner.read(sequences, (logprob(),))
    return float(np.abs(np.concatenate([v - r.logprobs for (v,), r in zip(read, rollouts, strict=True)])).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="0.5b")
    parser.add_argument("--untied", action="store_true", help="an output matrix of its own instead of tied embeddings")
    parser.add_argument("--zero-stage", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        random_model(args.size, not args.untied, folder=Path(folder))
        settings = [f"model.path={folder}", f"learner.zero_stage={args.zero_stage}", "rollout.kv_cache_gib=0.25"]
        config = load_config(None, settings + ["devices.stall_timeout_s=300"])
        layout = placement.start(config, 0)
        learner = Learner(config, layout)
        group = Engines(config, layout)
        requests = [Request("p", 0, np.array([3, 5, 7], dtype=np.int32), seed=i, max_tokens=8) for i in range(4)]
        group.weights_arrived()  # draw once from the random weights of the start, to see that the check can fail
        print(f"mean |difference| of log-probabilities before a send: {gap(learner, group.generate(requests)):.1e}")
        learner.apply(import_sender)
        sync = WeightSync(learner, group)
        sync.send(0)  # opens the connection and touches the memory for the first time
        sends = [sync.send(1 + i) for i in range(args.rounds)]
        print(f"after the last: {gap(learner, group.generate(requests)):.1e}")
        group.close()  # its memory is needed for the copies
        print("sends:", ", ".join(f"{s['transfer_s']:.2f}" for s in sends), "s")
        transfer, gather = (statistics.median(s[key] for s in sends) for key in ("transfer_s", "gather_s"))
        if args.zero_stage < 3:
            clone, size = learner.apply(clone_seconds, args.rounds)[0]
            print(
                f"{size / 2**30:.2f} GiB, clone {clone:.2f} s, transfer {transfer:.2f} s"
                f" = {transfer / clone:.1f} clones (medians)"
            )
        else:
            print(f"transfer {transfer:.2f} s, gathering shards {gather:.2f} s ({args.rounds} rounds, medians)")
        learner.close()
        layout.close()


if __name__ == "__main__":
    main()
