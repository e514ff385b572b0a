"""One vLLM engine in a Ray actor: draws completions, receives weights, and tells that it is alive while it works."""

from __future__ import annotations

import os
from typing import Any, cast

import numpy as np
import ray

from explore_rl.cluster.faults import ends_if_broken
from explore_rl.cluster.starts import absent, compiles, loading, uncompiled
from explore_rl.models import load_transformers
from explore_rl.rollout.answers import Answer, EndedText
from explore_rl.rollout.engine_stream import Streamed
from explore_rl.transfer.receiver import Receiver
from explore_rl.types import Request

# vLLM is imported inside the actor only: it reads its settings from the environment that `settings.engine_environment`
# gives the process.


# What vLLM and transformers take along where it is there: filters of images and audio, loading in parts, tracing.
NOT_NEEDED = ("scipy", "accelerate", "opentelemetry")

# Ray's types know neither concurrency groups nor `options` of an actor class.
_as_actor: Any = ray.remote(**cast(Any, {"concurrency_groups": {"watch": 1, "wait": 2}, "max_restarts": 0}))


@_as_actor
class RolloutActor(Receiver):
    """Holds one engine. Work runs in the default thread, one call at a time.

    `progress`, `abort`, `state` and what concerns streams are answered beside it.
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
        return self.ended[begin:] if self.draw == draw else self.streamed.texts(draw, begin)

    @ray.method(concurrency_group="watch")
    def state(self) -> dict[str, Any]:
        broken = self.updating or self.lost_a_worker() or self.streamed.broken is not None
        return {"version": self.version, "whole": not broken, "pid": os.getpid()}

    def lost_a_worker(self) -> bool:
        return self.llm is not None and self.compat.lost_a_worker(self.llm)

    # --- work ---------------------------------------------------------------------------------------------------------

    def load(self) -> dict[str, Any]:
        """Builds the engine. Returns pid, node and the number of tokens that a sequence may have."""
        # Without its compiler, which vLLM would mend, PyTorch's own lowering is not needed either.
        not_needed = NOT_NEEDED if compiles() else (*NOT_NEEDED, "torch._inductor.lowering")
        with loading(), absent(*not_needed), uncompiled():
            load_transformers()
            from transformers import AutoTokenizer

            from explore_rl.rollout import vllm_compat

        self.compat = vllm_compat
        self.settings = vllm_compat.EngineSettings(**self.settings_arguments)
        self.tokenizer = AutoTokenizer.from_pretrained(self.settings.model)
        with loading(), uncompiled():  # vLLM imports the model's code and much else
            self.llm = vllm_compat.make_engine(self.settings)
        self.in_flight = vllm_compat.InFlight(self.llm)
        self.streamed = Streamed(self.in_flight, self.settings, answer_of=self._answer)
        self._warm_up()
        return {
            "pid": os.getpid(),
            "node": ray.get_runtime_context().get_node_id(),
            "context": vllm_compat.context_length(self.llm),
        }

    def _warm_up(self) -> None:
        """Draws a little: the first steps compile kernels, seconds to a minute in which an engine would look stuck."""
        requests = [Request("warm-up", 0, np.zeros(1 + i, dtype=np.int32), seed=i, max_tokens=2) for i in range(2)]
        for _ in self.compat.draw(self.in_flight, requests, settings=self.settings, on_step=self._step):
            pass

    @ends_if_broken
    def generate(self, requests: list[Request], draw: int = -1) -> list[Answer | None]:
        """What was drawn for each request, in order; None for one that was given up (`abort`).

        draw: a number of this draw, for `texts`.
        """
        self.abandon = False
        # In this order: who asks for this draw's texts never gets those of the one before.
        self.draw = -1
        self.ended = []
        self.draw = draw
        answers: list[Answer | None] = [None] * len(requests)
        for i, drawn in self.compat.draw(self.in_flight, requests, settings=self.settings, on_step=self._step):
            answer = answers[i] = self._answer(requests[i], drawn, version=self.version)
            self.ended.append(EndedText(i, answer.text, answer.finish_reason))
        return answers

    def _answer(
        self, request: Request, drawn: Any, *, version: int, changes: tuple[tuple[int, int], ...] = ()
    ) -> Answer:
        """drawn: `vllm_compat.Drawn`. A given prefix belongs to the completion, but nobody drew it."""
        prefix = request.prefix_ids
        tokens = np.concatenate([prefix, drawn.tokens])
        logprobs = np.concatenate([np.zeros(len(prefix), dtype=np.float32), drawn.logprobs])
        # The text is made from the tokens, prefix included, and not put together from pieces.
        text = self.tokenizer.decode(tokens.tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Answer(tokens, text, drawn.finish_reason, logprobs, version, changes)

    @ends_if_broken
    def logprobs_of(self, sequences: list[tuple[np.ndarray, int]]) -> list[np.ndarray]:
        """Log-probability of every token behind a sequence's prompt, as a prefill sees it, at temperature 1.

        sequences: (token ids [L], prompt length P) each. Returns float32 [L - P] for each.
        """
        found: list[Any] = [None] * len(sequences)
        ids = [tokens.tolist() for tokens, _ in sequences]
        for i, logprobs in self.compat.logprobs_of(self.in_flight, ids, on_step=self._step):
            found[i] = logprobs[sequences[i][1] - 1 :]
        return found

    def _step(self, moved: bool) -> bool:
        """Called after every decoding step. Returns whether to go on. moved: whether any request got on."""
        self.steps += moved  # an engine that spins without getting on makes no progress
        return not self.abandon

    # --- streams: draws that go on while weights change ---------------------------------------------------------------

    @ray.method(concurrency_group="watch")
    def admit(self, requests: list[Request], draw: int) -> None:
        """Requests that the next `flow` takes on, as draw number `draw`."""
        self.streamed.admit(requests, draw)

    @ray.method(concurrency_group="watch")
    def pause(self, turn: int) -> None:
        """Ends `flow` of earlier turns after the present decoding step: what else the engine was asked comes next."""
        self.streamed.turn = turn

    @ray.method(concurrency_group="wait")
    def drawn(self, draw: int) -> list[Answer | None]:
        """The answers of an admitted draw, in order, once all have ended."""
        return self.streamed.wait(draw)

    @ray.method(concurrency_group="watch")
    def forget(self, draw: int) -> None:
        """An admitted draw whose answers have arrived."""
        self.streamed.forget(draw)

    @ends_if_broken
    def flow(self, turn: int) -> None:
        """Draws what was admitted, until nothing is left or `pause` names a later turn."""
        self.streamed.flow(turn, self.version, on_step=self._step)

    @ends_if_broken
    def drop_stream(self) -> None:
        """Gives up whatever was admitted."""
        self.streamed.drop()

    def drop_cache(self, version: int) -> bool:
        return self.streamed.weights_change(version) if self.streamed.going else super().drop_cache(version)

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
