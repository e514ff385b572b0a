"""The engines' side of a transfer: the control plane of vLLM's weight-transfer API, as methods of an engine's actor."""

from __future__ import annotations

from typing import Any

from explore_rl.cluster.faults import ends_if_broken


class Receiver:
    """Part of an actor with one vLLM engine.

    llm: the engine, once it is there.
    version: the weights'; -1: the ones it was started with.
    updating: whether an update has started and not ended, so that the weights are neither old nor new.
    steps: grows with every part of an update, and with whatever else the actor counts.
    """

    def __init__(self) -> None:
        self.llm: Any = None
        self.version = -1
        self.updating = False
        self.steps = 0

    def lost_a_worker(self) -> bool:
        """Whether the engine can do nothing any more. Overridden by the actor, which knows the engine."""
        return False

    def drop_cache(self, version: int) -> bool:
        """Drops every cached key and value. Returns whether it could. Overridden by the actor, which knows who draws.

        version: of the weights that whatever is half drawn goes on with.
        """
        return self.llm.reset_prefix_cache()

    @ends_if_broken
    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self.llm.init_weight_transfer_engine({"init_info": init_info})
        self.steps += 1

    @ends_if_broken
    def shutdown_weight_transfer_engine(self) -> None:
        self.llm.shutdown_weight_transfer_engine()

    @ends_if_broken
    def start_weight_update(self) -> None:
        self.updating = True
        self.llm.start_weight_update()
        self.steps += 1

    @ends_if_broken
    def update_weights(self, update_info: dict[str, Any]) -> None:
        self.llm.update_weights({"update_info": update_info})
        self.steps += 1

    @ends_if_broken
    def finish_weight_update(self, version: int) -> None:
        """Ends the update and drops every cached key and value of the old weights."""
        self.llm.finish_weight_update(str(version))
        if not self.drop_cache(version):
            raise RuntimeError(
                "the key-value cache of the old weights could not be dropped: requests are still running"
            )
        self.version = version
        self.updating = False
        self.steps += 1
