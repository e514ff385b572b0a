#!/usr/bin/env python3
"""What one step costs the driver: 4,096 completions of 4,096 tokens, with stub engines, ranks and verifiers.

    python scripts/benchmark_driver.py
    python scripts/benchmark_driver.py --completions 512 --tokens 512 --old-logprob score

Engines and ranks answer at once with arrays made beforehand; what the driver does with them is the project's own code:
checks, groups, advantages, rows, the plan of the micro-batches, the bytes that Ray would copy, metrics, and records
beside the step. Printed: CPU seconds of the step's own thread and of the writer's, by stage where there is one, and
the bytes that the driver holds a completion token.
"""

from __future__ import annotations

import argparse
import itertools
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from explore_rl import strategies
from explore_rl.cluster.placement import Layout
from explore_rl.config.loading import load_config
from explore_rl.experiments.run_folder import RunFolder
from explore_rl.experiments.runs import old_objects_left_alone
from explore_rl.learner.learner import Learner
from explore_rl.learner.messages import POLICY_ALONE, UpdateReport
from explore_rl.rollout.answers import Answer
from explore_rl.rollout.engines import Engine, Engines
from explore_rl.rollout.stream import Stream
from explore_rl.training.trainer import Trainer
from explore_rl.types import Problem, Status, Verdict

VOCABULARY = 21  # of the laboratory's tokenizer; what the ids are does not matter here


class StubHandle:
    """An engine's actor: nothing is asked of it."""

    class generate:
        @staticmethod
        def remote(requests: list, draw: int) -> list:
            return requests


class StubEngines(Engines):
    """Answers with arrays made beforehand; the checks of what came are the real ones."""

    def __init__(self, config: Any, answers: list[Answer]):
        self.config, self.answers = config, answers
        self.layout = Layout("cpu", [], [], [])
        self.families = {"policy": [Engine("rollout engine 0", {}, {}, StubHandle(), context=1 << 20)], "base": []}
        self.awaits_weights, self.suspects, self.asleep = False, set(), set()
        self.draws = itertools.count()

    def gather(self, engines: list, refs: list, **_: Any) -> list:
        return [self.answers[: len(refs[0])]]

    def logprobs_of(self, sequences: list) -> dict[str, list[np.ndarray]]:
        return {"rollout engine 0": [np.zeros(len(tokens) - prompt, np.float32) for tokens, prompt in sequences]}


class StubLearner(Learner):
    """Plans as for real, and answers with arrays made beforehand.

    copied: bytes that would have gone into Ray's object store.
    own_s: CPU seconds in which the answers were made up.
    """

    def __init__(self, config: Any, values: np.ndarray):
        self.config, self.needs, self.kind, self.hidden_size = config, POLICY_ALONE, "cpu", 128
        self.actors = [("learner rank 0", None)]
        self.values, self.copied, self.own_s = values, 0, 0.0

    def _all(self, method: str, arguments: list[tuple], **_: Any) -> list:
        buffers: list[pickle.PickleBuffer] = []
        packed = pickle.dumps(arguments, protocol=5, buffer_callback=buffers.append)
        store = bytearray(sum(buffer.raw().nbytes for buffer in buffers))  # what Ray copies them into
        at = 0
        for buffer in buffers:
            raw = buffer.raw()
            store[at : at + raw.nbytes] = raw
            at += raw.nbytes
        self.copied += len(packed) + len(store)
        begin = time.thread_time()
        answers = self._answers(method, arguments)
        self.own_s += time.thread_time() - begin
        return answers

    def _answers(self, method: str, arguments: list[tuple]) -> list:
        answers: list[Any] = []
        for argument in arguments:
            if method == "read":
                shard, _, readouts = argument
                lengths = [len(item.tokens) - item.prompt_length for item in shard.items]
                answers.append([tuple(self.values[:n].copy() for _ in readouts) for n in lengths])
            else:
                parts, _, readouts = argument
                answers.append([self._report(own, readouts) for own in parts])
        return answers

    def _report(self, parts: list, readouts: tuple) -> UpdateReport:
        rows = [row for part in parts for row in part.shard.items]
        read: list[tuple[np.ndarray, ...] | None]
        read = [tuple(self.values[: len(row.mask)].copy() for _ in readouts) for row in rows] if readouts else []
        return UpdateReport(True, 0.0, 1.0, 1e-6, {}, sum(len(row.mask) for row in rows), 0.0, read)


class StubVerifiers:
    def __init__(self, verdicts: list[Verdict]):
        self.verdicts = verdicts

    def verify_all(self, items: list) -> list[Verdict]:
        return self.verdicts[: len(items)]

    def begin(self, items: list) -> Callable[[], list[Verdict]]:
        return lambda: self.verify_all(items)


class StubSync:
    def send(self, version: int) -> dict[str, float]:
        return {"gather_s": 0.0, "transfer_s": 0.0}


class StubActors:
    def __init__(self, config: Any, *, engines: Any, learner: Any, verifiers: Any):
        self.config, self.engines, self.learner, self.verifiers = config, engines, learner, verifiers
        self.weights = StubSync()
        self.stream = Stream(engines)
        self.layout = engines.layout


def make_trainer(args: argparse.Namespace, folder: Path) -> Trainer:
    group = 16
    config = load_config(
        None,
        [
            f"rollout.max_new_tokens={args.tokens}", "model.max_prompt_tokens=512", "problems.heldout=null",
            f"algorithm.prompts_per_step={args.completions // group}", f"algorithm.group_size={group}",
            f"algorithm.old_logprob={args.old_logprob}", "learner.micro_batch_tokens=16384", "run.steps=1",
        ],
    )  # fmt: skip
    rng = np.random.default_rng(0)
    lengths = np.full(args.completions, args.tokens)
    values = np.full(args.tokens, -0.7, dtype=np.float32)
    answers = []
    for length in lengths:
        tokens = rng.integers(3, VOCABULARY, length, dtype=np.int32)
        logprobs = rng.normal(-0.7, 0.01, length).astype(np.float32)
        answers.append(Answer(tokens, "1" * (3 * length), "stop", logprobs, 0))
    verdicts = [
        Verdict(Status.CORRECT, 1.0, "1") if i % 2 else Verdict(Status.WRONG, 0.0, "2") for i in range(len(lengths))
    ]
    problems = [Problem(f"p{i}", f"{i % 10}=" * 50, 0, "text") for i in range(args.completions // group)]
    actors: Any = StubActors(
        config,
        engines=StubEngines(config, answers),
        learner=StubLearner(config, values),
        verifiers=StubVerifiers(verdicts),
    )
    run_folder = RunFolder.create(folder / "run", "{}\n", environment={})
    return Trainer(config, problems, evaluations=[], strategies=strategies.of(config), actors=actors, folder=run_folder)


def held_bytes(trainer: Trainer, groups: list) -> int:
    """Of the arrays that the samples hold, each buffer once."""
    buffers: dict[int, int] = {}
    for sample in (s for g in groups for s in g.samples):
        rollout = sample.rollout
        for array in (rollout.tokens, rollout.logprobs, rollout.given, *sample.columns.values()):
            if 0 not in array.strides:  # a constant takes no room
                buffers[array.__array_interface__["data"][0]] = array.nbytes
    return sum(buffers.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--completions", type=int, default=4096)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--old-logprob", choices=("none", "score", "engine"), default="none")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        trainer = make_trainer(args, Path(name))
        writer: list[float] = []
        recorder: Any = trainer.recorder
        learner: Any = trainer.actors.learner
        real = recorder._write

        def timed(*arguments: Any) -> None:
            begin = time.thread_time()
            real(*arguments)
            writer.append(time.thread_time() - begin)

        recorder._write = timed
        seen: list = []
        record = recorder.write
        recorder.write = lambda groups, dropped, *, step: (
            seen.append(groups),
            record(groups, dropped, step=step),
        )
        with old_objects_left_alone(), trainer.recorder:
            begin, clock = time.thread_time(), time.perf_counter()
            metrics = trainer.step(0)
            on_path = time.thread_time() - begin - learner.own_s
            wall = time.perf_counter() - clock
        tokens = args.completions * args.tokens
        stages = {k.split("/")[1]: v for k, v in metrics.items() if k.startswith("seconds/")}
        print(f"{args.completions:,} completions of {args.tokens:,} tokens, algorithm.old_logprob={args.old_logprob}")
        print(f"  on the path      {on_path:.2f} CPU s ({wall:.2f} s of wall time)")
        print("  by stage (wall)  " + ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in stages.items()))
        print(f"  writer, beside   {writer[0]:.2f} CPU s")
        print(f"  held             {held_bytes(trainer, seen[0]) / tokens:.1f} bytes a completion token")
        print(f"  to the ranks     {learner.copied / tokens:.1f} bytes a completion token")


if __name__ == "__main__":
    main()
