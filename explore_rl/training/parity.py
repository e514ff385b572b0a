"""Whether every policy engine computes what the learner computes, asked anew after each transfer of weights.

A few fixed sequences are scored by the learner and, as prompts, by every engine, before it draws. Weights that did not
arrive, or not whole, would otherwise be drawn from to the end of the run without a word.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from explore_rl.objectives.readouts import logprob
from explore_rl.training.actors import PARITY, Actors, ParityError
from explore_rl.training.rows import sequence_of
from explore_rl.types import Rollout

log = logging.getLogger(__name__)

# In the laboratory they cost the engine and the learner some 10 ms of CPU each. Both answer while the driver writes
# down the step (`ask`): of a step of .46 s 18 ms are waited for (4 %), one after the other it is 28 ms. Most of it is
# what a request costs, whatever the model's size: scripts/measure_parity.py.
SEQUENCES = 8
TOKENS = 32  # of a completion that are scored; the rest is cut off
PATIENCE = 2  # bad transfers in a row that stop the run
STILL = 0.01  # share of the tolerance by which the learner has to move before engines that did not are suspected


class Parity:
    """The probe, and what it found at the last transfer.

    `expect` is called when the learner holds the weights that are sent, and `check` when they were sent. `ask` lets
    both be answered beside what the driver does meanwhile.

    sequences: (token ids int32 [L], prompt length) each.
    """

    def __init__(self, actors: Actors):
        self.actors = actors
        self.sequences: list[tuple[np.ndarray, int]] = []
        self.bad: dict[str, int] = {}  # engine -> bad transfers in a row
        self.by_learner = np.empty(0, dtype=np.float32)  # log-probabilities under the weights that are sent
        # What was said at the last check, by the learner and by each engine.
        self.last_of_learner = self.by_learner
        self.last_of_engines: dict[str, np.ndarray] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._by_learner: Future[None] | None = None  # what was asked, and is not awaited yet
        self._by_engines: Future[dict[str, list[np.ndarray]]] | None = None

    def choose(self, rollouts: list[Rollout]) -> None:
        """Takes the first draws of SEQUENCES problems, cut, as the fixed sequences."""
        first = {rollout.request.group: rollout for rollout in reversed(rollouts)}
        for group in sorted(first)[:SEQUENCES]:
            rollout = first[group]
            tokens, prompt_length = sequence_of(rollout)
            # An engine always draws a token behind what it scores, so that room for it has to be left.
            kept = max(1, min(TOKENS, rollout.request.max_tokens - 1))
            self.sequences.append((tokens[: prompt_length + kept], prompt_length))

    def expect(self) -> None:
        """Has the learner score the sequences under its present weights. On shared GPUs the engines still sleep."""
        scores = self.actors.learner.read(self.sequences, (logprob(),))
        self.by_learner = np.concatenate([np.empty(0, dtype=np.float32), *(values for (values,) in scores)])

    def ask(self, *, learner: bool) -> None:
        """Asks the engines, which hold the weights that were sent; `check` waits for the answers.

        learner: whether the learner is asked too, at the same time; else `expect` was called.
        """
        if not self.sequences:
            return
        self._threads = self._threads or ThreadPoolExecutor(2, "parity")
        self._by_learner = self._threads.submit(self.expect) if learner else None
        self._by_engines = self._threads.submit(self.actors.engines.logprobs_of, self.sequences)

    def await_learner(self) -> None:
        """Waits for the learner's answer, where it was asked. Its ActorFault is raised here, and is no engine's."""
        asked, self._by_learner = self._by_learner, None
        if asked is not None:
            asked.result()

    def _of_engines(self) -> dict[str, list[np.ndarray]]:
        """What the engines say of the sequences: as they were asked, else they are asked now."""
        asked, self._by_engines = self._by_engines, None
        return self.actors.engines.logprobs_of(self.sequences) if asked is None else asked.result()

    def forget_asked(self) -> None:
        """Drops what engines say whose weights are to be sent anew."""
        if self._by_engines is not None:
            wait([self._by_engines])
            self._by_engines = None

    def check(self, step: int, patience: int = PATIENCE) -> dict[str, float]:
        """Holds every policy engine to the learner.

        Raises ParityError for an engine whose gap is above PARITY for the `patience`-th transfer in a row, or that
        gives a NaN; ActorFault for one that dies.

        step: for messages.
        patience: bad transfers in a row that are too many.
        Returns mean and largest |engine - learner| over all engines and tokens; NaN where the learner's own are not
        finite, which is not the engines' fault. Nothing before `choose`.
        """
        if not self.sequences:
            return {}
        gaps = []
        for name, scores in self._of_engines().items():
            by_engine = np.concatenate(scores)
            gap = np.abs(by_engine - self.by_learner)[np.isfinite(self.by_learner)]
            if why := self._fault(name, by_engine, gap=gap):
                self.bad[name] = self.bad.get(name, 0) + 1
                line = f"step {step}: {name} does not compute what the learner computes: {why}"
                if self.bad[name] >= patience or np.isnan(gap).any():
                    raise ParityError(f"{line}, {self._advice(name)}")
                log.warning("%s; the run stops if it is so after the next transfer too", line)
            else:
                self.bad.pop(name, None)
            self.last_of_engines[name] = by_engine
            gaps.append(gap)
        self.last_of_learner = self.by_learner
        every = np.concatenate(gaps)
        if not len(every):
            return {"engine/parity_mean": float("nan"), "engine/parity_max": float("nan")}
        return {"engine/parity_mean": float(every.mean()), "engine/parity_max": float(every.max())}

    def _fault(self, name: str, by_engine: np.ndarray, *, gap: np.ndarray) -> str:
        """What is wrong with an engine's answer; empty if nothing is. gap: where the learner's is finite."""
        tolerance = PARITY[self.actors.config.model.dtype]
        if not len(gap):
            return ""
        if np.isnan(gap).any():
            return f"{np.isnan(gap).sum()} of {len(gap)} log-probabilities of the fixed sequences are NaN"
        if not gap.mean() < tolerance:
            return (
                f"mean |difference| of log-probabilities {gap.mean():.2e} on {len(gap)} tokens of"
                f" {len(self.sequences)} fixed sequences, expected below {tolerance:.0e}"
                f" for model.dtype={self.actors.config.model.dtype}"
            )
        # Small steps move the learner by less than the tolerance. But an engine that got new weights says nothing
        # bit for bit as before.
        if np.array_equal(self.last_of_engines.get(name, []), by_engine):
            moved = float(np.abs(self.by_learner - self.last_of_learner).mean())
            if moved > STILL * tolerance:
                return (
                    "its log-probabilities of the fixed sequences are bit for bit those before the transfer, while the"
                    f" learner's moved by {moved:.2e} on average"
                )
        return ""

    def _advice(self, name: str) -> str:
        return (
            f"after {self.bad[name]} transfer(s) in a row; either its weights did not arrive whole (look at"
            " engine/parity_mean and transfer/* of metrics.jsonl over the steps), or the two implement the model"
            " differently (model.dtype, model.attention, the model's own config); go on with --resume from the last"
            " checkpoint when the cause is gone"
        )

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def state(self) -> list[Any]:
        """The sequences, for a checkpoint: a resumed run asks the same."""
        return [[tokens.tolist(), prompt_length] for tokens, prompt_length in self.sequences]

    def load_state(self, state: list[Any]) -> None:
        self.sequences = [(np.array(tokens, dtype=np.int32), prompt_length) for tokens, prompt_length in state]
