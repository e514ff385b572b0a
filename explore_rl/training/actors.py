"""Everything a run keeps alive: the Ray layout, learner ranks, rollout engines, weight transfer and the verifier pool.

They outlive a run: between the runs of a sweep the ranks are re-initialised in place and the engines get new weights.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import numpy as np

from explore_rl.cluster import placement
from explore_rl.cluster.faults import RunStopped
from explore_rl.config.schema import Config
from explore_rl.learner.learner import Learner
from explore_rl.learner.messages import POLICY_ALONE, LearnerNeeds
from explore_rl.objectives.readouts import logprob
from explore_rl.rollout.engines import Engines
from explore_rl.rollout.stream import Stream
from explore_rl.strategies.base import Needs
from explore_rl.training.rows import sequence_of
from explore_rl.training.verifying import start_verifiers
from explore_rl.transfer.on_ranks import import_sender
from explore_rl.transfer.sync import WeightSync
from explore_rl.types import Rollout
from explore_rl.verifiers.pool import VerifierPool

log = logging.getLogger(__name__)

# Largest mean |engine - learner| log-probability that still means "the same weights", by model dtype.
PARITY = {"float32": 1e-4, "bfloat16": 5e-2}


class ParityError(RunStopped):
    """The engines do not compute what the learner computes.

    Either the weights did not arrive, or the two implement the model differently.
    """


class Actors:
    """Starts everything that `config` asks for. Use it as a context manager, and `reset` for the next run of a sweep.

    base_engine: whether strategies draw from the frozen base model.
    models: what the learner holds besides the policy.
    """

    def __init__(self, config: Config, *, base_engine: bool = False, models: LearnerNeeds = POLICY_ALONE):
        self.stack = ExitStack()
        self.config = config
        self.base_engine = base_engine
        self.models = models
        try:
            with stage("Ray, and room for every actor"):
                self.layout = placement.start(config, config.rollout.base_actors if base_engine else 0)
            self.stack.callback(self.layout.close)
            self.verifiers = self.stack.enter_context(start_verifiers(config, self.layout.other_nodes()))
            # Engines and learner start side by side, since each spends most of its start on imports. On shared GPUs
            # they start one after the other, since an engine measures the free memory when it starts (and then sleeps).
            with ThreadPoolExecutor(1 if self.layout.colocated else 2) as threads:
                engines = threads.submit(self._start_engines)
                learner = threads.submit(self._start_learner)
            self.learner = learner.result()
            self.engines = engines.result()
            self.weights = WeightSync(self.learner, self.engines)
            self.stream = Stream(self.engines)
        except BaseException:
            self.stack.close()
            raise

    def _start_learner(self) -> Learner:
        with stage(f"{self.config.learner.ranks} learner rank(s), with the model loaded"):
            learner = Learner(self.config, self.layout, needs=self.models)
        self.stack.callback(learner.close)
        learner.apply(import_sender)
        return learner

    def _start_engines(self) -> Engines:
        count = self.config.rollout.actors + (self.config.rollout.base_actors if self.base_engine else 0)
        with stage(f"{count} engine(s), with vLLM imported"):
            engines = Engines(self.config, self.layout, needs_base=self.base_engine)
        self.stack.callback(engines.close)
        return engines

    def serves(self, config: Config, base_engine: bool) -> bool:
        """Whether these actors can run `config` after a reset: same layout, model shape and engines."""
        if config.learner.ranks != self.config.learner.ranks:
            return False
        fixed_sections = ("model", "devices", "rollout", "verifiers")
        same_settings = all(getattr(config, section) == getattr(self.config, section) for section in fixed_sections)
        return same_settings and (self.base_engine or not base_engine)

    def reset(self, config: Config, models: LearnerNeeds) -> None:
        self.config = config
        self.models = models
        self.stream.drop()
        self.engines.restart_dead()  # and those that answered with NaN
        self.engines.sleep()  # the last transfer was followed by no draw
        self.learner.reset(config, models)

    def check_parity(self, rollouts: list[Rollout]) -> dict[str, float]:
        """Mean and largest |engine - learner| log-probability over the sampled tokens of `rollouts`.

        Raises ParityError if the mean is over what the model's dtype allows.
        """
        # The learner scores exactly what the engines drew, at the temperature of the draw.
        drawn = [r for r in rollouts if r.drawn]
        temperatures = sorted({r.request.temperature for r in drawn})
        read = self.learner.read([sequence_of(r) for r in drawn], tuple(logprob(t) for t in temperatures))
        by_learner = np.concatenate(
            [values[temperatures.index(r.request.temperature)] for r, values in zip(drawn, read, strict=True)]
        )
        by_engine = np.concatenate([np.asarray(r.logprobs) for r in drawn])
        given = np.concatenate([r.given for r in drawn])  # of which no engine has a log-probability
        gap = np.abs(by_learner - by_engine)[~given]
        mean = float(gap.mean())
        largest = float(gap.max())

        dtype = self.config.model.dtype
        if not mean < PARITY[dtype]:  # a NaN is no parity either
            raise ParityError(
                "engine and learner disagree on log-probabilities after the weights were sent: "
                f"mean |difference| {mean:.2e}, expected below {PARITY[dtype]:.0e} for {dtype}"
            )
        log.info("engine and learner agree: mean |difference| of log-probabilities %.1e, largest %.1e", mean, largest)
        return {"mean": mean, "max": largest}

    def close(self) -> None:
        self.stack.close()

    def __enter__(self) -> Actors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Says that something is started, and when it is there."""
    log.info("starting %s", what)
    began = time.monotonic()
    yield
    log.info("started %s: %.1f s", what, time.monotonic() - began)


def models_of(needs: Needs) -> LearnerNeeds:
    """What the learner has to hold for the strategies' needs."""
    return LearnerNeeds(base=needs.base_model, critic=needs.critic, heads=needs.heads)


def verifier_pool(config: Config) -> VerifierPool:
    """The verifier workers that `config` asks for, to be closed by the caller."""
    settings = config.verifiers
    return VerifierPool(
        settings.options,
        workers=settings.workers,
        time_limit_s=settings.time_limit_s,
        memory_limit_mb=settings.memory_limit_mb,
    )
