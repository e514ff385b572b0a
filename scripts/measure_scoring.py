"""What `explore-rl score` takes for one long text: memory and seconds of a rank on the CPU, beyond the loaded model.

    python scripts/measure_scoring.py                          # 16,384 tokens, vocabulary 152,064: a minute or two
    python scripts/measure_scoring.py --tokens 2048 --top-p 1

A random model of 2 layers, 256 wide. The peak is the kernel's high-water mark of the rank's resident memory, set back
after loading.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from explore_rl.learner.scoring import ScoringSettings, Text, _read, reader
from explore_rl.models import load_tokenizer

GIB = 2**30


def random_model(folder: Path, vocabulary: int, *, tokens: int) -> None:
    tokenizer = load_tokenizer("lab:base")
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=tokens,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def resident(_rank: Any, begin: bool) -> int:
    """Bytes: resident now, and the high-water mark set back to it (begin); or the high-water mark since."""
    if begin:
        Path("/proc/self/clear_refs").write_text("5")
    key = "VmRSS:" if begin else "VmHWM:"
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--vocabulary", type=int, default=152_064)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--temperature", type=float, default=0.6)
    parser.add_argument("--zero-stage", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        random_model(Path(name), args.vocabulary, tokens=args.tokens)
        drawn = np.random.default_rng(0).integers(0, args.vocabulary, args.tokens).tolist()
        text = Text("p", tuple(drawn[:16]), tuple(drawn[16:]), args.temperature, args.top_p, {})
        settings = ScoringSettings(name, "", dtype=args.dtype)
        with reader(settings, ranks=args.ranks, zero_stage=args.zero_stage, device="cpu") as learner:
            learner.config.devices.stall_timeout_s = 3600.0  # a busy machine is no fault here
            before = learner.apply(resident, True)
            began = time.perf_counter()
            [(logprobs, _)] = _read(learner, [text])
            seconds = time.perf_counter() - began
            after = learner.apply(resident, False)
    assert len(logprobs) == args.tokens - 16
    print(
        f"one text of {args.tokens} tokens, vocabulary {args.vocabulary}, {args.dtype}, top-p {args.top_p}, "
        f"{args.ranks} rank(s), ZeRO {args.zero_stage}: {seconds:.0f} s"
    )
    for rank, (loaded, peak) in enumerate(zip(before, after, strict=True)):
        print(
            f"rank {rank}: {loaded / GIB:.2f} GiB after loading, {peak / GIB:.2f} GiB at most, "
            f"difference {(peak - loaded) / GIB:.2f} GiB"
        )


if __name__ == "__main__":
    main()
