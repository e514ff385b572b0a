#!/usr/bin/env python3
"""Samples per second of a whole GRPO step, against TRL's GRPOTrainer, in one run.

    scripts/benchmark_step.py                      16, 128 and ragged new tokens, 256 samples a step in groups of 16
    scripts/benchmark_step.py --lengths ragged --pairs 3 --steps 5
    scripts/benchmark_step.py --overlap            ten steps of stubs that take 2 s for a draw and 2 s for an update

The sides take turns, each time in a process of its own: TRL, then explore-rl with run.ahead=0, with run.ahead=1, and
with rollout.streaming. All start from one randomly initialised Qwen2 of 0.8M parameters, train without KL at a fixed
learning rate on the same reward (a coin that the text decides, so that every group has signal), with one thread for the
engine and one for the rank, and two for TRL. At 16 and 128 the vocabulary is 512, so that an end token is rare and
lengths are alike; ragged has a vocabulary of 30 and a cap of 128, so that the end comes with a chance of 1/30
everywhere. Printed: medians over the pairs of seconds a step (after two warm-up steps) and of CPU seconds, and the
ratio to TRL with a 95 % interval. TRL generates with transformers (its own vLLM mode needs a GPU).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np

WARM_UP = 2
SIDES = {
    "trl": "TRL GRPOTrainer",
    "ahead-0": "explore-rl, ahead 0",
    "ahead-1": "explore-rl, ahead 1",
    "streaming": "explore-rl, streaming",
}
OURS = {"ahead-0": "run.ahead=0", "ahead-1": "run.ahead=1", "streaming": "rollout.streaming=true"}
RAGGED = "ragged"
VOCABULARY = {RAGGED: 30}
CAP = {RAGGED: 128}


def coin(prompts: list, completions: list, **_: Any) -> list[float]:
    """The reward of both sides: a bit of the text's checksum."""
    texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
    return [float(zlib.crc32(text.encode()) & 1) for text in texts]


def make_model(folder: Path, vocabulary: int) -> None:
    """A model, its tokenizer and 64 problems in `folder`."""
    import torch
    from make_tiny_math import make_problems, make_tokenizer
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from explore_rl.models import load_tokenizer

    problems = make_problems(64, seed=0)
    if vocabulary >= 512:
        texts = [p["prompt"][0]["content"] + p["traces"][0]["text"] for p in make_problems(256, seed=1)]
        tokenizer: Any = make_tokenizer(texts, vocabulary)
        prompts = [p["prompt"][0]["content"] for p in problems]
    else:
        tokenizer = load_tokenizer("lab:base")
        tokenizer.add_tokens([f"<{i}>" for i in range(vocabulary - len(tokenizer))])
        prompts = [f"{1 + i % 9} {1 + i // 9} 7={i % 40}:" for i in range(64)]
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
    verifier = f"{Path(__file__).resolve()}:coin"
    lines = [{"id": str(i), "prompt": p, "answer": "none", "verifier": verifier} for i, p in enumerate(prompts)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def cpu_seconds() -> float:
    """Of this process and of all that it started, as long as they live."""
    import psutil

    me = psutil.Process()
    total = 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


class Clock:
    """Wall and CPU seconds of every step, and mean lengths."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def mark(self) -> None:
        self.marks.append((time.perf_counter(), cpu_seconds()))

    def result(self, lengths: list[float]) -> dict[str, float]:
        """A step is what lies between two marks, the warm-up left out."""
        steps = np.diff(np.array(self.marks), axis=0)[WARM_UP:]
        wall, cpu = np.median(steps, axis=0)
        return {"step": float(wall), "cpu": float(cpu), "length": float(np.mean(lengths[WARM_UP:]))}


def ours(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    from explore_rl.config.loading import load_config
    from explore_rl.experiments.runs import run
    from explore_rl.training.trainer import Trainer

    out = folder / f"ours-{args.side}-{os.getpid()}"
    config = load_config(
        None,
        [
            "name=benchmark",
            f"model.path={folder}/model",
            f"problems.train={folder}/problems.jsonl",
            "problems.heldout=null",
            f"rollout.max_new_tokens={args.new_tokens}",
            "learner.learning_rate=1e-5",
            f"algorithm.prompts_per_step={args.samples // args.group}",
            f"algorithm.group_size={args.group}",
            OURS[args.side],
            # One step more than is measured, so that a batch is drawn ahead in each of them.
            f"run.steps={args.steps + WARM_UP + 1}",
            f"run.output={out}",
            "run.checkpoint_every=100000",
            "run.max_silent_steps=100000",
            "verifiers.workers=1",
        ],
    )
    clock = Clock()
    step = Trainer.step

    def timed(self: Trainer, number: int) -> dict[str, float]:
        clock.mark()
        return step(self, number)

    Trainer.step = timed
    run(config)
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return clock.result([m["length/mean"] for m in metrics])


def trl(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer  # pyright: ignore[reportPrivateImportUsage]  # which its pages name

    torch.set_num_threads(2)
    clock, lengths = Clock(), []

    def reward(prompts: list, completions: list, completion_ids: list, **_: Any) -> list[float]:
        lengths.append(np.mean([len(ids) for ids in completion_ids]))
        return coin(prompts, completions)

    class Marks(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.mark()

    prompts = [json.loads(line)["prompt"] for line in (folder / "problems.jsonl").read_text().splitlines()]
    config = GRPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=args.samples,
        num_generations=args.group,
        max_completion_length=args.new_tokens,
        max_steps=args.steps + WARM_UP + 1,
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
        reward_funcs=cast(Any, reward),  # it declares more than it passes
        args=config,
        train_dataset=Dataset.from_dict({"prompt": prompts * 64}),
        callbacks=[Marks()],
    )
    trainer.train()
    return clock.result(lengths)


def in_own_process(side: str, folder: Path, args: argparse.Namespace, new_tokens: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--new-tokens", str(new_tokens)]
    for name in ("steps", "samples", "group"):
        command += [f"--{name}", str(getattr(args, name))]
    threads = "2" if side == "trl" else "1"
    environment = os.environ | {"OMP_NUM_THREADS": threads}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=3600)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def interval(ratios: np.ndarray) -> tuple[float, float, float]:
    """The median, and a 95 % interval of it: percentiles of the medians of 10,000 resamples."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (10_000, len(ratios))), axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(np.median(ratios)), float(low), float(high)


def compare(length: str, args: argparse.Namespace) -> None:
    new_tokens = CAP[length] if length in CAP else int(length)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_model(folder, VOCABULARY.get(length, 512))
        found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for _ in range(args.pairs):
            for side in SIDES:
                found[side].append(in_own_process(side, folder, args, new_tokens))
    seconds = {side: np.array([f["step"] for f in each]) for side, each in found.items()}
    print(f"\n{length} new tokens, {args.samples} samples a step in groups of {args.group}, {args.pairs} pairs")
    for side, name in SIDES.items():
        cpu = np.median([f["cpu"] for f in found[side]])
        mean_length = np.mean([f["length"] for f in found[side]])
        line = f"  {name:20} {np.median(seconds[side]):.3f} s a step, {cpu:.3f} CPU s, mean length {mean_length:.1f}"
        if side != "trl":
            median, low, high = interval(seconds["trl"] / seconds[side])
            line += f", {median:.2f} x TRL's samples/s ({low:.2f} to {high:.2f})"
        print(line, flush=True)


def show_overlap() -> None:
    """Ten steps of the real Trainer in which a draw and an update take 2 s each, and nothing else takes any."""
    from explore_rl.testing import digits_config, make_trainer

    for side, override in OURS.items():
        with tempfile.TemporaryDirectory() as folder:
            trainer = make_trainer(Path(folder) / "run", config=digits_config("run.steps=10", override))
            trainer.start()
            slow(trainer.actors.engines, "generate")
            slow_stream(trainer.actors.stream)
            slow(trainer.actors.learner, "update")
            begin = time.perf_counter()
            trainer.run()
            print(f"{side}: ten steps of 2 s + 2 s took {time.perf_counter() - begin:.1f} s", flush=True)


def slow_stream(stream: Any) -> None:
    """An engine that draws one batch after the other, 2 s each, from when they are admitted."""
    begin, finish = stream.begin, stream.finish
    free_at = 0.0
    ready_at: dict[int, float] = {}

    def begins(*arguments: Any) -> int:
        nonlocal free_at
        free_at = max(free_at, time.perf_counter()) + 2.0
        number = begin(*arguments)
        ready_at[number] = free_at
        return number

    def finishes(number: int) -> Any:
        time.sleep(max(0.0, ready_at[number] - time.perf_counter()))
        return finish(number)

    stream.begin, stream.finish = begins, finishes


def slow(actor: Any, method: str) -> None:
    real = getattr(actor, method)

    def later(*arguments: Any, **options: Any) -> Any:
        time.sleep(2.0)
        return real(*arguments, **options)

    setattr(actor, method, later)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", nargs="+", default=["16", "128", RAGGED])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--overlap", action="store_true", help="show that a step costs the longer of draw and update")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--new-tokens", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps((trl if args.side == "trl" else ours)(args.folder, args)))
    elif args.overlap:
        show_overlap()
    else:
        for length in args.lengths:
            compare(length, args)


if __name__ == "__main__":
    main()
