"""One vLLM engine in a Ray actor: draws completions, receives weights, and tells that it is alive while it works."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import ray
from ray.actor import exit_actor

from explore_rl.types import Request

# vLLM is imported inside the actor only: it reads its settings from the environment that `devices.engine_environment` gives the process.


def work(method: Callable) -> Callable:
    """A method that uses the engine. An engine that lost one of its tensor-parallel workers cannot go on: its process ends, and it is found and
    replaced as any dead engine, instead of answering with whatever vLLM raised.
    """

    @functools.wraps(method)
    def ends_if_broken(self: Any, *args: Any) -> Any:
        try:
            return method(self, *args)
        finally:
            if self.lost_a_worker():
                exit_actor()

    return ends_if_broken


@ray.remote(concurrency_groups={"watch": 1}, max_restarts=0)
class RolloutActor:
    """Holds one engine. Work runs in the default thread, one call at a time; `progress` and `abort` are answered beside it."""

    def __init__(self, settings: dict[str, Any]):
        self.steps = 0  # grows with every decoding step and every part of a weight update
        self.abandon = False
        self.version = -1  # of the weights; -1: the ones it was started with
        self.updating = False  # between the start and the end of a weight update the weights are neither old nor new
        self.settings_arguments = settings
        self.llm: Any = None

    # --- beside the work ----------------------------------------------------------------------------------------------

    @ray.method(concurrency_group="watch")
    def progress(self) -> int:
        if self.updating:
            self.steps += 1  # loading has no steps to count: a process that answers is taken for one that works
        return self.steps

    @ray.method(concurrency_group="watch")
    def abort(self) -> None:
        """Gives up what is being drawn; the call that asked for it gets None."""
        self.abandon = True

    @ray.method(concurrency_group="watch")
    def state(self) -> dict[str, Any]:
        return {"version": self.version, "whole": not (self.updating or self.lost_a_worker()), "pid": os.getpid()}

    def lost_a_worker(self) -> bool:
        return self.llm is not None and self.compat.lost_a_worker(self.llm)

    # --- work ---------------------------------------------------------------------------------------------------------

    def load(self) -> dict[str, Any]:
        """Builds the engine. Returns pid and the number of tokens a sequence may have."""
        from transformers import AutoTokenizer

        from explore_rl.rollout import vllm_compat

        self.compat = vllm_compat
        self.settings = vllm_compat.EngineSettings(**self.settings_arguments)
        self.tokenizer = AutoTokenizer.from_pretrained(self.settings.model)
        self.llm = vllm_compat.make_engine(self.settings)
        self._warm_up()
        return {"pid": os.getpid(), "node": ray.get_runtime_context().get_node_id(), "context": vllm_compat.context_length(self.llm)}

    def _warm_up(self) -> None:
        """The first steps compile kernels, seconds to a minute in which an engine would look stuck."""
        requests = [Request("warm-up", 0, (0,) * (1 + i), seed=i, max_tokens=2) for i in range(2)]
        for _ in self.compat.draw(self.llm, requests, self.settings, self._step):
            pass

    @work
    def generate(self, requests: list[Request]) -> list[tuple[tuple[int, ...], str, str, np.ndarray, int]] | None:
        """(tokens, text, finish reason, log-probabilities float32 [len(tokens)], weight version) of each request, in order."""
        self.abandon = False
        drawn: list[Any] = [None] * len(requests)
        for i, sampled, logprobs, reason in self.compat.draw(self.llm, requests, self.settings, self._step):
            prefix = requests[i].prefix_ids
            drawn[i] = (prefix + sampled, np.concatenate([np.full(len(prefix), np.nan, dtype=np.float32), logprobs]), reason)
        if self.abandon:
            return None
        tokens_of = [tokens for tokens, _, _ in drawn]
        texts = self.tokenizer.batch_decode(tokens_of, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [(tokens, text, reason, logprobs, self.version) for (tokens, logprobs, reason), text in zip(drawn, texts, strict=True)]

    def _step(self, moved: bool) -> bool:
        self.steps += moved  # an engine that spins without getting on makes no progress
        return not self.abandon

    # --- weights: the control plane of vLLM's weight-transfer API -----------------------------------------------------

    @work
    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self.llm.init_weight_transfer_engine({"init_info": init_info})
        self.steps += 1

    @work
    def shutdown_weight_transfer_engine(self) -> None:
        self.llm.shutdown_weight_transfer_engine()

    @work
    def start_weight_update(self) -> None:
        self.updating = True
        self.llm.start_weight_update()
        self.steps += 1

    @work
    def update_weights(self, update_info: dict[str, Any]) -> None:
        self.llm.update_weights({"update_info": update_info})
        self.steps += 1

    @work
    def finish_weight_update(self, version: int) -> None:
        """Ends the update and drops every cached key and value of the old weights."""
        self.llm.finish_weight_update(str(version))
        if not self.llm.reset_prefix_cache():
            raise RuntimeError("the key-value cache of the old weights could not be dropped: requests are still running")
        self.version, self.updating = version, False
        self.steps += 1

    # --- shared GPUs --------------------------------------------------------------------------------------------------

    @work
    def sleep(self) -> None:
        """Moves the weights to CPU memory and frees the key-value cache."""
        self.llm.sleep(level=1)

    @work
    def wake(self, tags: list[str]) -> None:
        if tags:
            self.llm.wake_up(tags=tags)
