#!/usr/bin/env python3
"""What a step would take on 8, 64 and 512 GPUs, calculated: synchronous, ahead and streaming, at the best split.

    python scripts/simulate_layout.py                                  a 7B model, with costs that are assumed
    python scripts/simulate_layout.py --run runs/a --run runs/b        costs and lengths of runs, and how well they fit
    python scripts/simulate_layout.py --lengths lognormal:900:0.8:3072 --gpus 8 --samples 4096
    python scripts/simulate_layout.py --check                          on steps of the real Trainer whose stages sleep

Nothing here was run on a GPU: it is arithmetic on stage times and lengths. An engine decodes up to max_num_seqs
sequences at a time, each decoding step costs  step + sequence x (sequences that run),  and a finished one makes room
for the next. A rank learns  token x tokens / ranks + fixed.  Then

    synchronous  a draw, its verification, the update and all else, one after the other
    ahead        run.ahead=1: the next batch is drawn and verified beside the update
    streaming    rollout.streaming: engines never wait, since 1 + run.max_staleness batches are admitted and not learnt

--run takes runs with one engine and one rank. The first one's metrics and rollouts give the costs (non-negative least
squares over its steps); each run's mean step is then compared with what is calculated for its mode. The
first one cannot be one that streams: its seconds of drawing are those that a step waits.
"""

from __future__ import annotations

import argparse
import heapq
import json
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml
from scipy.optimize import nnls

MODES = ("synchronous", "ahead", "streaming")
WARM_UP = 3  # steps before those that count
PIECE = 16  # requests that are dealt to an engine together
FEWEST = 4  # steps of a run that costs can be fitted to


@dataclass(frozen=True)
class Costs:
    """Seconds.

    step: of a decoding step, besides its sequences.
    sequence: of a decoding step for each sequence that runs.
    draw: of a draw, besides its decoding steps.
    verify: from the last text to the last verdict.
    token: of an update, a token and rank.
    update: of an update, besides its tokens.
    serial: of all that stands between an update and the next draw: transfer, parity, columns, records.
    """

    step: float
    sequence: float
    draw: float
    verify: float
    token: float
    update: float
    serial: float

    def learn(self, tokens: float, ranks: int) -> float:
        return self.update + self.token * tokens / ranks


# bfloat16 on 80 GB cards, by arithmetic: weights are read in 8 ms, 256 sequences make it 12; 40 % of the card's 989
# TFLOP/s for the 6 x 7.6e9 operations a token; 15 GB of weights, and what goes with them, in 3 s.
ASSUMED = Costs(step=8e-3, sequence=1.6e-5, draw=0.5, verify=1.0, token=1.15e-4, update=1.0, serial=3.0)


@dataclass
class EngineQueue:
    """An engine that decodes what is admitted to it, first come first served.

    now: its clock.
    ticks: decoding steps so far.
    running: (the tick at which it ends, its batch).
    left: how many completions of a batch have not ended.
    ended: when the last one did that has.
    """

    costs: Costs
    most: int
    now: float = 0.0
    ticks: int = 0
    running: list[tuple[int, int]] = field(default_factory=list)
    waiting: deque[tuple[int, int]] = field(default_factory=deque)
    left: dict[int, int] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)

    def admit(self, lengths: np.ndarray, batch: int, at: float) -> None:
        if not self.running and not self.waiting:
            self.now = max(self.now, at)
        self.waiting.extend((int(length), batch) for length in lengths)
        self.left[batch] = len(lengths)

    def advance(self, until: float = np.inf, batch: int | None = None) -> None:
        """Decodes until then, or until `batch` has ended."""
        while batch is None or self.left.get(batch, 0):
            while self.waiting and len(self.running) < self.most:
                length, owner = self.waiting.popleft()
                heapq.heappush(self.running, (self.ticks + length, owner))
            if not self.running:
                self.now = until if np.isfinite(until) else self.now
                return
            each = self.costs.step + self.costs.sequence * len(self.running)
            steps = self.running[0][0] - self.ticks
            if self.now + steps * each > until:
                fit = max(0, int((until - self.now) / each))
                self.ticks += fit
                self.now += fit * each
                return
            self.ticks += steps
            self.now += steps * each
            while self.running and self.running[0][0] <= self.ticks:
                owner = heapq.heappop(self.running)[1]
                self.left[owner] -= 1
                self.ended[owner] = self.now


def deal(lengths: np.ndarray, engines: int) -> list[np.ndarray]:
    """Pieces of a batch in turn; an engine does not know how long they will get."""
    pieces = [lengths[at : at + PIECE] for at in range(0, len(lengths), PIECE)]
    return [np.concatenate(pieces[i::engines]) if pieces[i::engines] else np.zeros(0, int) for i in range(engines)]


def draw_s(lengths: np.ndarray, costs: Costs, *, engines: int, most: int) -> float:
    """Seconds of a draw on engines that have nothing else to do."""
    longest = 0.0
    for share in deal(lengths, engines):
        queue = EngineQueue(costs, most)
        queue.admit(share, 0, 0.0)
        queue.advance(batch=0)
        longest = max(longest, queue.now)
    return costs.draw + longest


@dataclass(frozen=True)
class Layout:
    ranks: int
    engines: int
    most: int  # sequences that an engine decodes at a time


def step_s(
    mode: str, batches: list[np.ndarray], costs: Costs, layout: Layout, *, share: float, staleness: int
) -> float:
    """Mean seconds of a step.

    batches: of each step the lengths of its completions.
    share: of the completions' tokens that an update computes; the rest cannot pull.
    staleness: batches admitted beyond the one that is learnt next, when streaming.
    """
    learn = [costs.learn(share * lengths.sum(), layout.ranks) for lengths in batches]
    if mode == "streaming":
        return _streaming(batches, learn, costs, layout, staleness=staleness)
    drawn = [draw_s(lengths, costs, engines=layout.engines, most=layout.most) + costs.verify for lengths in batches]
    if mode == "synchronous":
        steps = [d + t + costs.serial for d, t in zip(drawn, learn, strict=True)]
    else:
        steps = [max(d, t) + costs.serial for d, t in zip(drawn[1:], learn[:-1], strict=True)]
    return float(np.mean(steps[WARM_UP:]))


def _streaming(batches: list[np.ndarray], learn: list[float], costs: Costs, layout: Layout, *, staleness: int) -> float:
    queues = [EngineQueue(costs, layout.most) for _ in range(layout.engines)]
    now, admitted, ends = 0.0, 0, []
    for number in range(len(batches)):
        while admitted < min(number + 1 + staleness, len(batches)):
            for queue, lengths in zip(queues, deal(batches[admitted], layout.engines), strict=True):
                queue.admit(lengths, admitted, now)
            admitted += 1
        for queue in queues:
            queue.advance(batch=number)
        ended = max(queue.ended.get(number, 0.0) for queue in queues)
        now = max(now, ended + costs.verify) + learn[number]
        for queue in queues:
            queue.advance(until=now)
            queue.now = max(queue.now, now) + costs.serial  # weights arrive; what was drawn is kept
        now += costs.serial
        ends.append(now)
    # The last batches are drawn without company, which no step of a long run is.
    counted = np.diff(ends)[WARM_UP - 1 : len(ends) - 1 - staleness]
    return float(counted.mean())


# --- costs and lengths ------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """What a run left: its settings, seconds by stage, and the lengths of each step's completions."""

    folder: Path
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    lengths: list[np.ndarray]
    learnt: list[float]  # tokens of the completions that pull, a step

    @classmethod
    def read(cls, folder: Path) -> Run:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        lengths, learnt = [], []
        for record in metrics:
            table = pq.read_table(
                folder / f"rollouts/step-{record['step']:06d}.parquet", columns=["tokens", "advantage"]
            )
            own = np.array([len(tokens) for tokens in table["tokens"].to_pylist()])
            pulls = np.array([bool(a) for a in table["advantage"].to_pylist()])
            lengths.append(own)
            learnt.append(float(own[pulls].sum()))
        return cls(folder, config, metrics, lengths, learnt)

    @property
    def mode(self) -> str:
        if self.config["rollout"].get("streaming"):
            return "streaming"
        return "ahead" if self.config["run"].get("ahead") else "synchronous"

    @property
    def layout(self) -> Layout:
        rollout = self.config["rollout"]
        return Layout(self.config["learner"]["ranks"], rollout["actors"], rollout["max_num_seqs"])

    def seconds(self, *stages: str) -> np.ndarray:
        return np.array([sum(record.get(f"seconds/{stage}", 0.0) for stage in stages) for record in self.metrics])

    @property
    def share(self) -> float:
        return sum(self.learnt) / sum(int(lengths.sum()) for lengths in self.lengths)


def fit(run: Run) -> Costs:
    """Costs of an engine and a rank. Raises SystemExit for too few steps, and for a run that streams."""
    if run.mode == "streaming":
        raise SystemExit(f"{run.folder}: streams, which tells nothing of a draw; give one with run.ahead 0 or 1 first")
    if len(run.metrics) < FEWEST + WARM_UP:
        raise SystemExit(f"{run.folder}: {len(run.metrics)} steps; expected at least {FEWEST + WARM_UP}")
    kept = slice(WARM_UP, None)
    decoded = []  # decoding steps and the sequences in them, of each draw
    for lengths in run.lengths[kept]:
        queue = EngineQueue(Costs(0.0, 1.0, 0, 0, 0, 0, 0), run.layout.most)
        queue.admit(lengths, 0, 0.0)
        queue.advance(batch=0)
        decoded.append((queue.ticks, queue.now, 1.0))
    (step, sequence, draw), _ = nnls(np.array(decoded), run.seconds("generate")[kept])
    learnt = np.array([(tokens, 1.0) for tokens in run.learnt[kept]])
    (token, update), _ = nnls(learnt, run.seconds("train")[kept])
    verify = float(np.median(run.seconds("verify")[kept]))
    serial = float(np.median(run.seconds("read", "transfer", "parity", "other")[kept]))
    return Costs(*map(float, (step, sequence, draw, verify, token, update, serial)))


def compare(run: Run, costs: Costs, steps: int) -> float:
    """Prints a run's mean step beside the calculated one. Returns calculated / measured."""
    rng = np.random.default_rng(0)
    batches = [run.lengths[i] for i in rng.integers(WARM_UP, len(run.lengths), steps)]
    mode, staleness = run.mode, run.config["run"].get("max_staleness", 1)
    calculated = step_s(mode, batches, costs, run.layout, share=run.share, staleness=staleness)
    last = None if mode == "synchronous" else -1  # beside the last update nothing is drawn
    measured = float(run.seconds("step")[WARM_UP:last].mean())
    off = calculated / measured
    print(f"  {run.folder}: {mode}, {measured:.3f} s a step measured, {calculated:.3f} calculated ({off - 1:+.0%})")
    return off


SLEEPS = Costs(step=0.3, sequence=0.02, draw=0.2, verify=0.0, token=0.03, update=0.5, serial=0.0)


def slept(folder: Path, ahead: int) -> Run:
    """Steps of the real Trainer over a table of logits, with an engine and a rank that sleep as SLEEPS says."""
    from explore_rl.config.loading import to_yaml
    from explore_rl.testing import digits_config, make_trainer

    config = digits_config(f"run.ahead={ahead}", "run.steps=14", "run.checkpoint_every=100", "rollout.max_num_seqs=8")
    trainer = make_trainer(folder, config=config)
    trainer.start()
    engines: Any = trainer.actors.engines
    learner: Any = trainer.actors.learner
    generate, update = engines.generate, learner.update

    def draws(requests: list, **options: Any) -> list:
        rollouts = generate(requests, **options)
        time.sleep(draw_s(np.array([len(r.tokens) for r in rollouts]), SLEEPS, engines=1, most=8))
        return rollouts

    def updates(minibatches: list, *arguments: Any, **options: Any) -> list:
        time.sleep(SLEEPS.learn(sum(len(row.mask) for rows in minibatches for row in rows), 1))
        return update(minibatches, *arguments, **options)

    engines.generate, learner.update = draws, updates
    trainer.run()
    (folder / "config.yaml").write_text(to_yaml(config))
    return Run.read(folder)


def check() -> int:
    """Whether both modes are met to 20 % where the stages' times are known. Returns an exit code."""
    with tempfile.TemporaryDirectory() as temporary:
        runs = [slept(Path(temporary) / f"ahead-{ahead}", ahead) for ahead in (0, 1)]
        costs = fit(runs[0])
        print(f"slept with  {SLEEPS}\nfitted      {costs}")
        worst = max(abs(compare(run, costs, 200) - 1) for run in runs)
    print(f"  at most {worst:.0%} off")
    return int(worst > 0.2)


def lengths_of(text: str, rng: np.random.Generator, count: int) -> np.ndarray:
    """Lengths by "lognormal:MEDIAN:SIGMA:CAP"."""
    try:
        kind, median, sigma, cap = text.split(":")
        drawn = float(median) * np.exp(float(sigma) * rng.standard_normal(count))
        most = int(cap)
    except ValueError:
        raise SystemExit(f"--lengths {text}: expected lognormal:MEDIAN:SIGMA:CAP") from None
    if kind != "lognormal":
        raise SystemExit(f"--lengths {text}: expected lognormal:MEDIAN:SIGMA:CAP")
    return np.clip(drawn.astype(int), 1, most)


def splits(gpus: int) -> list[int]:
    """Numbers of ranks to try: eighths of the GPUs."""
    return [gpus * part // 8 for part in range(1, 8)]


def show(args: argparse.Namespace, costs: Costs, batches: list[np.ndarray], share: float) -> None:
    print(f"\n{len(batches[0])} samples a step, mean length {np.mean(batches):.0f}; CALCULATED, run on no GPU")
    print(f"  {'GPUs':>4} {'':12} {'ranks + engines':>16} {'s a step':>9} {'against synchronous':>20}")
    for gpus in args.gpus:
        first = 0.0
        for mode in MODES:
            found = {}
            for ranks in splits(gpus):
                layout = Layout(ranks, gpus - ranks, args.max_num_seqs)
                found[ranks] = step_s(mode, batches, costs, layout, share=share, staleness=args.staleness)
            ranks = min(found, key=lambda r: found[r])
            first = first or found[ranks]
            split = f"{ranks} + {gpus - ranks}"
            print(f"  {gpus:4} {mode:12} {split:>16} {found[ranks]:9.2f} {first / found[ranks]:19.2f}x")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, action="append", default=[], help="a run folder; the first gives the costs")
    parser.add_argument("--lengths", default="lognormal:900:0.9:3072", help="where there is no --run")
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--samples", type=int, default=8192, help="of a step")
    parser.add_argument("--max-num-seqs", type=int, default=256)
    parser.add_argument("--staleness", type=int, default=1, help="batches that streaming admits ahead")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument(
        "--check", action="store_true", help="on steps of the real Trainer whose stages sleep (some minutes)"
    )
    args = parser.parse_args()
    if args.check:
        return check()
    rng = np.random.default_rng(0)
    if args.run:
        runs = [Run.read(folder) for folder in args.run]
        costs, share = fit(runs[0]), runs[0].share
        print(f"costs of {runs[0].folder}: {costs}")
        worst = max(abs(compare(run, costs, 10 * args.steps) - 1) for run in runs)
        print(f"  at most {worst:.0%} off")
        every = np.concatenate(runs[0].lengths)
        batches = [rng.choice(every, args.samples) for _ in range(args.steps)]
    else:
        costs, share = ASSUMED, 0.5
        print(f"costs that are ASSUMED for a 7B model: {costs}; half of the tokens pull")
        batches = [lengths_of(args.lengths, rng, args.samples) for _ in range(args.steps)]
    show(args, costs, batches, share)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
