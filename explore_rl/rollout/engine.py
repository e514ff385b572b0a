"""One vLLM engine in a Ray actor: draws completions, receives weights, and tells that it is alive while it works."""

from __future__ import annotations

import os
from typing import Any, cast

import numpy as np
import ray

from explore_rl.cluster.faults import ends_if_broken
from explore_rl.cluster.starts import absent, loading
from explore_rl.rollout.answers import EndedText
from explore_rl.transfer.receiver import Receiver
from explore_rl.types import Request

# vLLM is imported inside the actor only: it reads its settings from the environment that `settings.engine_environment`
# gives the process.


# Ray's types know neither concurrency groups nor `options` of an actor class.
_as_actor: Any = ray.remote(**cast(Any, {"concurrency_groups": {"watch": 1}, "max_restarts": 0}))


@_as_actor
class RolloutActor(Receiver):
    """Holds one engine. Work runs in the default thread, one call at a time.

    `progress`, `abort` and `state` are answered beside it.
    """

    def __init__(self, settings: dict[str, Any]):
        super().__init__()
        self.abandon = False
        self.draw = -1
        self.ended: list[EndedText] = []
        self.settings_arguments = settings

    # --- beside the work ----------------------------------------------------------------------------------------------

    @ray.method(concurrency_group="watch")
    def progress(self) -> int:
        if self.updating:
            self.steps += 1  # loading has no steps to count: a process that answers counts as one that works
        return self.steps

    @ray.method(concurrency_group="watch")
    def abort(self) -> None:
        """Gives up what is being drawn. The call that asked for it gets what was finished by then."""
        self.abandon = True

    @ray.method(concurrency_group="watch")
    def texts(self, draw: int, begin: int) -> list[EndedText]:
        """What ended in draw number `draw` so far, in the order of ending, from the `begin`th on."""
        return self.ended[begin:] if self.draw == draw else []

    @ray.method(concurrency_group="watch")
    def state(self) -> dict[str, Any]:
        return {"version": self.version, "whole": not (self.updating or self.lost_a_worker()), "pid": os.getpid()}

    def lost_a_worker(self) -> bool:
        return self.llm is not None and self.compat.lost_a_worker(self.llm)

    # --- work ---------------------------------------------------------------------------------------------------------

    def load(self) -> dict[str, Any]:
        """Builds the engine. Returns pid, node and the number of tokens that a sequence may have."""
        # vLLM takes scipy.signal along for audio of another rate, which nobody sends: half a second.
        with loading(), absent("scipy.signal"):
            from transformers import AutoTokenizer

            from explore_rl.rollout import vllm_compat

        self.compat = vllm_compat
        self.settings = vllm_compat.EngineSettings(**self.settings_arguments)
        self.tokenizer = AutoTokenizer.from_pretrained(self.settings.model)
        with loading():  # vLLM imports the model's code and much else
            self.llm = vllm_compat.make_engine(self.settings)
        self._warm_up()
        return {
            "pid": os.getpid(),
            "node": ray.get_runtime_context().get_node_id(),
            "context": vllm_compat.context_length(self.llm),
        }

    def _warm_up(self) -> None:
        """Draws a little: the first steps compile kernels, seconds to a minute in which an engine would look stuck."""
        requests = [Request("warm-up", 0, np.zeros(1 + i, dtype=np.int32), seed=i, max_tokens=2) for i in range(2)]
        for _ in self.compat.draw(self.llm, requests, settings=self.settings, on_step=self._step):
            pass

    @ends_if_broken
    def generate(
        self, requests: list[Request], draw: int = -1
    ) -> list[tuple[np.ndarray, str, str, np.ndarray, int] | None]:
        """What was drawn for each request, in order; None for one that was given up (`abort`).

        draw: a number of this draw, for `texts`.

        Each answer is (tokens int32 [T], text, finish reason, log-probabilities float32 [T], weight version), with the
        given prefix and 0 for its log-probabilities.
        """
        self.abandon = False
        # In this order: who asks for this draw's texts never gets those of the one before.
        self.draw = -1
        self.ended = []
        self.draw = draw
        answers: list[Any] = [None] * len(requests)
        for i, sampled, logprobs, reason in self.compat.draw(
            self.llm, requests, settings=self.settings, on_step=self._step
        ):
            # A given prefix belongs to the completion, but nobody drew it.
            prefix = requests[i].prefix_ids
            not_drawn = np.zeros(len(prefix), dtype=np.float32)
            tokens = np.concatenate([prefix, sampled])
            # The text is made from the tokens, prefix included, and not put together from pieces.
            text = self.tokenizer.decode(tokens.tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False)
            answers[i] = (tokens, text, reason, np.concatenate([not_drawn, logprobs]), self.version)
            self.ended.append(EndedText(i, text, reason))
        return answers

    @ends_if_broken
    def score(self, sequences: list[tuple[np.ndarray, int]]) -> list[np.ndarray]:
        """Log-probability of every token behind a sequence's prompt, as a prefill sees it, at temperature 1.

        sequences: (token ids [L], prompt length P) each. Returns float32 [L - P] for each.
        """
        scored: list[Any] = [None] * len(sequences)
        ids = [tokens.tolist() for tokens, _ in sequences]
        for i, logprobs in self.compat.score(self.llm, ids, on_step=self._step):
            scored[i] = logprobs[sequences[i][1] - 1 :]
        return scored

    def _step(self, moved: bool) -> bool:
        """Called after every decoding step. Returns whether to go on. moved: whether any request got on."""
        self.steps += moved  # an engine that spins without getting on makes no progress
        return not self.abandon

    # --- shared GPUs --------------------------------------------------------------------------------------------------

    @ends_if_broken
    def sleep(self) -> None:
        """Moves the weights to CPU memory and frees the key-value cache."""
        self.llm.sleep(level=1)

    @ends_if_broken
    def wake(self, tags: list[str]) -> None:
        """Takes back what `sleep` gave away. tags: "weights", "kv_cache"."""
        if tags:
            self.llm.wake_up(tags=tags)
