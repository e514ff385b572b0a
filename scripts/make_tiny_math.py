#!/usr/bin/env python3
"""Makes what the real-shaped recipe runs on, from nothing.

That is a byte-pair tokenizer with a chat template, a randomly initialised model of the Qwen2.5 family, and a file of
arithmetic problems with worked traces.

    scripts/make_tiny_math.py --out runs/tiny_math
    explore-rl train configs/math/tiny.yaml

The model knows nothing, so nothing is learnt in a few steps; what goes wrong with templates, end tokens and stop
strings goes wrong here.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_problems(count: int, seed: int) -> list[dict]:
    """Sums of three numbers, with a trace that reasons before it answers, in explore-rl's own JSON lines."""
    rng = random.Random(seed)
    problems = []
    for i in range(count):
        a, b, c = (rng.randint(2, 99) for _ in range(3))
        trace = f"First, {a} + {b} = {a + b}. Then {a + b} + {c} = {a + b + c}. The answer is \\boxed{{{a + b + c}}}."
        question = f"What is {a} + {b} + {c}? Please reason step by step, and put your final answer within \\boxed{{}}."
        problems.append(
            {
                "id": f"sum-{seed}-{i}",
                "prompt": [{"role": "user", "content": question}],
                "answer": str(a + b + c),
                "verifier": "math",
                "benchmark": "sums",
                "traces": [{"text": trace, "source": "generator"}],
            }
        )
    return problems


def make_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHAT_TEMPLATE
    )


def make(out: Path, problems: int = 64, *, seed: int = 0, vocabulary: int = 512) -> None:
    """Writes out/model, out/train.jsonl and out/heldout.jsonl."""
    train, heldout = make_problems(problems, seed), make_problems(max(8, problems // 4), seed + 1)
    texts = [p["prompt"][0]["content"] for p in train] + [p["traces"][0]["text"] for p in train]
    tokenizer: Any = make_tokenizer(texts, vocabulary)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    for name, lines in (("train", train), ("heldout", heldout)):
        (out / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    make(args.out, args.problems, seed=args.seed)
    print(f"model {args.out / 'model'}, problems {args.out / 'train.jsonl'} and {args.out / 'heldout.jsonl'}")
