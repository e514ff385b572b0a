"""Everything a run keeps alive: the Ray layout, learner ranks, rollout engines, the weight channel and the verifier pool.

They outlive a run: between the methods of a sweep the ranks are re-initialised in place and the engines get new weights.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np

from explore_rl.cluster import placement
from explore_rl.cluster.faults import RunStopped
from explore_rl.config.schema import Config
from explore_rl.learner.learner import Learner
from explore_rl.rollout.engines import Engines
from explore_rl.transfer.on_ranks import import_sender
from explore_rl.transfer.sync import WeightSync
from explore_rl.types import Rollout
from explore_rl.verifiers.pool import VerifierPool

log = logging.getLogger(__name__)

PARITY = {
    "float32": 1e-4,
    "bfloat16": 5e-2,
}  # largest mean |engine - learner| log-probability that still means "the same weights"


class ParityError(RunStopped):
    """The engines do not compute what the learner computes: the weights did not arrive, or the two implement the model differently."""


class Actors:
    """Starts everything that `config` asks for. Use as a context manager; `reset` for the next run of a sweep."""

    def __init__(self, config: Config, base_engine: bool = False, base_model: bool = False):
        self.stack = ExitStack()
        self.config, self.base_engine, self.base_model = config, base_engine, base_model
        try:
            self.layout = placement.start(config, config.rollout.base_actors if base_engine else 0)
            self.stack.callback(self.layout.close)
            v = config.verifiers
            self.verifiers = self.stack.enter_context(
                VerifierPool(
                    v.options, workers=v.workers, time_limit_s=v.time_limit_s, memory_limit_mb=v.memory_limit_mb
                )
            )
            # Side by side, since each spends most of its start on imports; on shared GPUs one after the other, since an engine measures the
            # free memory when it starts (and then sleeps).
            with ThreadPoolExecutor(1 if self.layout.colocated else 2) as both:
                engines, learner = both.submit(self._start_engines), both.submit(self._start_learner)
            self.learner, self.engines = learner.result(), engines.result()
            self.weights = WeightSync(self.learner, self.engines)
        except BaseException:
            self.stack.close()
            raise

    def _start_learner(self) -> Learner:
        learner = Learner(self.config, self.layout, needs_frozen=self.base_model)
        self.stack.callback(learner.close)
        learner.apply(import_sender)
        return learner

    def _start_engines(self) -> Engines:
        engines = Engines(self.config, self.layout, needs_base=self.base_engine)
        self.stack.callback(engines.close)
        return engines

    def serves(self, config: Config, base_engine: bool) -> bool:
        """Whether these actors can run `config` after a reset: same layout, model shape and engines."""
        same = ("model", "devices", "rollout", "verifiers")
        ranks = config.learner.ranks == self.config.learner.ranks
        return (
            ranks
            and all(getattr(config, s) == getattr(self.config, s) for s in same)
            and (self.base_engine or not base_engine)
        )

    def reset(self, config: Config, base_model: bool) -> None:
        self.config = config
        self.learner.reset(config, needs_frozen=base_model)

    def check_parity(self, rollouts: list[Rollout]) -> dict[str, float]:
        """Mean and largest |engine - learner| log-probability over the sampled tokens of `rollouts`. Raises ParityError."""
        rollouts = [r for r in rollouts if r.logprobs is not None and len(r.tokens)]
        sequences = [
            (
                np.array(r.request.prompt_ids + r.tokens, dtype=np.int32),
                len(r.request.prompt_ids),
                r.request.temperature,
            )
            for r in rollouts
        ]
        ours = np.concatenate([s.logprob for s in self.learner.logprobs(sequences)])
        theirs = np.concatenate([r.logprobs for r in rollouts])
        gap = np.abs(ours - theirs)[~np.isnan(theirs)]
        found = {"mean": float(gap.mean()), "max": float(gap.max())}
        allowed = PARITY[self.config.model.dtype]
        if not found["mean"] < allowed:
            raise ParityError(
                f"engine and learner disagree on log-probabilities after the weights were sent: mean |difference| {found['mean']:.2e}, "
                f"expected below {allowed:.0e} for {self.config.model.dtype}"
            )
        log.info(
            "engine and learner agree: mean |difference| of log-probabilities %.1e, largest %.1e",
            found["mean"],
            found["max"],
        )
        return found

    def close(self) -> None:
        self.stack.close()

    def __enter__(self) -> Actors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
