"""Weights from the learner to the rollout engines, over vLLM's weight-transfer API.

    rank 0..n of the learner                                     every engine
    LearnerSource -> trainer half (nccl | ipc | object_store)  -> worker half -> model.load_weights, layer by layer

The ranks' side is weight_sender.py. NCCL serves GPUs that are apart, CUDA IPC shared GPUs, and the project's own
backend (rollout/object_store_transfer.py) machines without GPUs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explore_rl.learner.group import LearnerGroup
    from explore_rl.rollout.group import RolloutGroup


@dataclass(frozen=True)
class Endpoints:
    """The engines' side of a connection. membership: of which state of the group; workers: engines x tensor parallel size."""

    backend: str
    engines: list[tuple[str, Any]]
    membership: int
    workers: int
    start_timeout_s: float
    step_timeout_s: float
    stall_timeout_s: float


class WeightSync:
    """Sends the learner's weights to all policy engines."""

    def __init__(self, learner: LearnerGroup, rollouts: RolloutGroup):
        self.learner, self.rollouts = learner, rollouts

    def send(self, version: int) -> dict[str, float]:
        """Every policy engine draws from the learner's present weights when this returns, and stamps rollouts with `version`.

        Returns seconds: gather_s (ZeRO-3 shards made whole), transfer_s (everything else). Raises ActorFault.
        """
        began = time.perf_counter()
        config, rollouts = self.rollouts.config, self.rollouts
        policy = [(e.name, e.handle) for e in rollouts.families["policy"]]
        waits = config.devices
        endpoints = Endpoints(
            rollouts.layout.transfer, policy, rollouts.membership, len(policy) * config.rollout.tensor_parallel,
            waits.start_timeout_s, waits.step_timeout_s, waits.stall_timeout_s,
        )  # fmt: skip
        rollouts.wake(["weights"])
        gather_s = max(self.learner.apply(send_from_rank, endpoints, version))
        rollouts.weights_arrived()
        return {"gather_s": gather_s, "transfer_s": time.perf_counter() - began - gather_s}


def send_from_rank(rank: Any, endpoints: Endpoints, version: int) -> float:
    """Runs on every rank, in lockstep. Returns the seconds spent on gathering shards.

    rank: has `index` (rank 0 sends) and `model` (the transformers module); the connection is kept on it as `rank.transfer`.
    """
    from explore_rl.weight_sender import Connection  # imports vLLM

    connection = getattr(rank, "transfer", None)
    if connection is None or connection.endpoints.membership != endpoints.membership:
        if connection is not None:
            connection.close()
        connection = rank.transfer = Connection(rank, endpoints)
    return connection.send(version)


def import_sender(rank: Any) -> None:
    """Runs on every rank: the import that sending needs, ahead of the first send."""
    import explore_rl.weight_sender  # noqa: F401
