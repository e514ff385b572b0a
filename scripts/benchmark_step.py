#!/usr/bin/env python3
"""Samples per second of a whole GRPO step, against TRL's GRPOTrainer, in one run.

Both have the same machine, model, prompts, group size and lengths.

    scripts/benchmark_step.py                      16 and 128 new tokens, 256 samples a step in groups of 16
    scripts/benchmark_step.py --new-tokens 16 --steps 12 --threads 2

Both sides start from one randomly initialised Qwen2 of 0.8M parameters with a vocabulary of 512 (so that an end
token is rare and lengths are alike), train without KL at a fixed learning rate, and run one after the other, each
in a process of its own. Printed: the median over steps after two warm-up steps, and our stages. TRL generates with
transformers (its own vLLM mode needs a GPU).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

WARM_UP = 2


def make_model(folder: Path, threads: int) -> list[dict]:
    """The model, its tokenizer and 64 problems in `folder`."""
    import torch
    from make_tiny_math import make_problems, make_tokenizer
    from transformers import Qwen2Config, Qwen2ForCausalLM

    problems = make_problems(64, 0)
    tokenizer = make_tokenizer([p["prompt"][0]["content"] + p["traces"][0]["text"] for p in make_problems(256, 1)], 512)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "problems.jsonl").write_text(
        "".join(
            json.dumps({k: v for k, v in p.items() if k != "traces"} | {"verifier": "text"}) + "\n" for p in problems
        )
    )
    return problems


def ours(folder: Path, new_tokens: int, args: argparse.Namespace) -> dict:
    from explore_rl.config.loading import load_config
    from explore_rl.experiments.runs import run

    out = folder / f"ours-{new_tokens}"
    config = load_config(
        None,
        [
            "name=benchmark",
            f"model.path={folder}/model",
            "model.template=chat",
            f"problems.train={folder}/problems.jsonl",
            "problems.heldout=null",
            f"rollout.max_new_tokens={new_tokens}",
            f"rollout.threads={args.threads}",
            f"learner.threads={args.threads}",
            "learner.learning_rate=1e-5",
            f"algorithm.prompts_per_step={args.samples // args.group}",
            f"algorithm.group_size={args.group}",
            f"run.steps={args.steps + WARM_UP}",
            f"run.output={out}",
            "run.checkpoint_every=100000",
            "run.max_silent_steps=100000",
            "verifiers.workers=1",
        ],
    )
    run(config)
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()][WARM_UP:]
    stages = {
        k.split("/")[1]: float(np.median([m[k] for m in metrics])) for k in metrics[0] if k.startswith("seconds/")
    }
    return {"step": stages.pop("step"), "length": float(np.mean([m["length/mean"] for m in metrics])), "stages": stages}


def trl(folder: Path, new_tokens: int, args: argparse.Namespace) -> dict:
    import time

    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(args.threads)
    lengths, times = [], []

    def reward(completions, completion_ids, **_):
        lengths.append(np.mean([len(ids) for ids in completion_ids]))
        return [float("1" in c[0]["content"]) for c in completions]

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.begin = time.perf_counter()

        def on_step_end(self, *_, **__):
            times.append(time.perf_counter() - self.begin)

    prompts = [json.loads(line)["prompt"] for line in (folder / "problems.jsonl").read_text().splitlines()]
    config = GRPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=args.samples,
        num_generations=args.group,
        max_completion_length=new_tokens,
        max_steps=args.steps + WARM_UP,
        learning_rate=1e-5,
        lr_scheduler_type="constant",
        beta=0.0,
        temperature=1.0,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        logging_steps=10_000,
        disable_tqdm=True,
        gradient_checkpointing=False,
    )
    trainer = GRPOTrainer(
        str(folder / "model"),
        reward_funcs=reward,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": prompts * 64}),
        callbacks=[Clock()],
    )
    trainer.train()
    return {"step": float(np.median(times[WARM_UP:])), "length": float(np.mean(lengths[WARM_UP:]))}


def in_own_process(side: str, folder: Path, *, new_tokens: int, args: argparse.Namespace) -> dict:
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--new-tokens", str(new_tokens)]
    for name in ("steps", "samples", "group", "threads"):
        command += [f"--{name}", str(getattr(args, name))]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(args.threads)}, timeout=3600
    )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--new-tokens", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--side", choices=("ours", "trl"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps({"ours": ours, "trl": trl}[args.side](args.folder, args.new_tokens[0], args)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_model(folder, args.threads)
        for new_tokens in args.new_tokens:
            found = {side: in_own_process(side, folder, new_tokens=new_tokens, args=args) for side in ("ours", "trl")}
            print(
                f"\n{new_tokens} new tokens, {args.samples} samples a step"
                f" in groups of {args.group}, {args.threads} threads"
            )
            for side, name in (("ours", "explore-rl"), ("trl", "TRL GRPOTrainer")):
                f = found[side]
                print(
                    f"  {name:16} {f['step']:.3f} s a step   {args.samples / f['step']:7.1f} samples/s"
                    f"   mean length {f['length']:.1f}"
                )
            print("  our stages:      " + ", ".join(f"{k} {v:.3f} s" for k, v in found["ours"]["stages"].items()))
            print(
                f"  ratio            {found['trl']['step'] / found['ours']['step']:.2f} x TRL's samples/s", flush=True
            )


if __name__ == "__main__":
    main()
