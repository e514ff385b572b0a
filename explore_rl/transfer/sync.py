"""Weights from the learner to the rollout engines, over vLLM's weight-transfer API.

    rank 0..n of the learner                                     every engine
    LearnerSource -> trainer half (nccl | ipc | object_store)  -> worker half -> model.load_weights, layer by layer

The ranks' side is on_ranks.py and sender.py. NCCL serves GPUs that are apart, CUDA IPC shared GPUs, and the project's
own backend (object_store.py) machines without GPUs.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from explore_rl.cluster.faults import ActorFault
from explore_rl.transfer.endpoints import Endpoints
from explore_rl.transfer.on_ranks import send_from_rank

if TYPE_CHECKING:
    from explore_rl.learner.learner import Learner
    from explore_rl.rollout.engines import Engines

log = logging.getLogger(__name__)

RETRIES = 2  # how often weights are sent again after an engine had to be replaced


class WeightSync:
    """Sends the learner's weights to all policy engines."""

    def __init__(self, learner: Learner, engines: Engines):
        self.learner, self.engines = learner, engines

    def send(self, version: int) -> dict[str, float]:
        """Gives the learner's present weights to every policy engine, which then stamps its rollouts with `version`.

        Returns seconds: gather_s (ZeRO-3 shards made whole) and transfer_s (everything else). An engine that dies or
        gets stuck meanwhile is replaced, and all are sent to again. Raises ActorFault if that fails RETRIES times, or
        if a rank fails.
        """
        began = time.perf_counter()
        # NCCL would wait for a lost engine for ever; the object store finds it on the way.
        if self.engines.transfer != "object_store":
            self.engines.restart_dead()
        for retry in range(RETRIES + 1):
            self.engines.wake(["weights"])
            try:
                answers = self.learner.apply(send_from_rank, self._endpoints(), version)
            except ActorFault as fault:
                # The learner is lost. If it was an engine that left it waiting, the message names the engine.
                if silent := self.engines.silent():
                    raise ActorFault(", ".join(silent), "load new weights", f"no answer, and so {fault}") from fault
                raise
            # A fault of an engine leaves the ranks well; the engine is replaced.
            fault = next((a.fault for a in answers if a.fault is not None), None)
            if fault is None:
                break
            if retry == RETRIES or not self.engines.restart_dead():
                raise fault
            log.warning("%s; the weights are sent again", fault)
        self.engines.weights_arrived()
        self.learner.offload()
        gather_s = max(a.gather_s for a in answers)
        return {"gather_s": gather_s, "transfer_s": time.perf_counter() - began - gather_s}

    def _endpoints(self) -> Endpoints:
        """The policy engines as they are now."""
        config = self.engines.config
        policy = [(engine.name, engine.handle) for engine in self.engines.families["policy"]]
        return Endpoints(
            backend=self.engines.transfer,
            engines=policy,
            membership=self.engines.membership,
            workers=len(policy) * config.rollout.tensor_parallel,
            load_threads=config.rollout.threads + config.learner.ranks * config.learner.threads // len(policy),
            start_timeout_s=config.devices.start_timeout_s,
            step_timeout_s=config.devices.step_timeout_s,
            stall_timeout_s=config.devices.stall_timeout_s,
        )
