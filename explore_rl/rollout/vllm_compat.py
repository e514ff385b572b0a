"""Everything that depends on vLLM's version (0.32).

That is building an engine, drawing from it, and the names of its weight-transfer API. Import it only in a process that
has the environment of `rollout.settings.engine_environment` or `learner.device.learner_environment`.
"""

from __future__ import annotations

import functools
import gc
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from vllm import LLM, SamplingParams
from vllm.config import WeightTransferConfig
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.sampling_params import RequestOutputKind
from vllm.triton_utils import dispatcher

from explore_rl.types import Request

__all__ = [
    "FLAT",
    "LIMIT",
    "LLM",
    "Drawn",
    "EngineSettings",
    "InFlight",
    "WeightTransferEngine",
    "WeightTransferInitInfo",
    "WeightTransferUpdateInfo",
    "context_length",
    "draw",
    "finish_layerwise_reload",
    "layerwise_reload",
    "logprobs_of",
    "lost_a_worker",
    "make_engine",
    "register_transfer",
    "sampling_params",
]

LIMIT, FLAT = "limit", "flat"  # under which a request's go to a logits processor
TRANSFER_MODULE = "explore_rl.transfer.object_store"


@dataclass(frozen=True)
class EngineSettings:
    """How an engine is built.

    model: checkpoint folder.
    dtype: the weights' type.
    load_format: "dummy" (random weights, to be sent) or "auto" (the checkpoint's).
    max_num_seqs: sequences that it draws at a time.
    end_tokens: ids that end a completion.
    stop: strings that end a completion.
    device: `rollout.settings.engine_settings`.
    own_seeds: whether every request is drawn from its own seed; else all of a draw from the first one's.
    transfer: backend of the weight-transfer API; None for an engine whose weights never change.
    """

    model: str
    dtype: str
    load_format: str
    max_num_seqs: int
    end_tokens: tuple[int, ...]
    stop: tuple[str, ...]
    device: dict[str, Any]
    own_seeds: bool = True
    transfer: str | None = None


# --- drawing ----------------------------------------------------------------------------------------------------------


class _VllmOnly:
    """`sys`, as far as vLLM's dispatcher of kernels reads it, with vLLM's own modules alone.

    For each of its kernels without Triton it looks through every name of every module: a second, most of it in torch.
    """

    @property
    def modules(self) -> dict[str, Any]:
        return {name: module for name, module in sys.modules.items() if name.startswith("vllm")}


def make_engine(settings: EngineSettings) -> LLM:
    register_transfer()
    cast(Any, dispatcher).sys = _VllmOnly()
    length: dict[str, Any] = {"max_model_len": -1}  # the model's context, or as much as the key-value cache holds
    llm = LLM(
        model=settings.model,
        dtype=cast(Any, settings.dtype),
        load_format=settings.load_format,
        max_num_seqs=settings.max_num_seqs,
        # At the sampling temperature and within the nucleus, as the sample was drawn.
        logprobs_mode="processed_logprobs",
        generation_config="vllm",  # nothing but the request decides how it is drawn
        weight_transfer_config=WeightTransferConfig(backend=settings.transfer) if settings.transfer else None,
        seed=0,
        **(length | settings.device),
    )
    # Every step makes thousands of objects. Without this Python would look through all of torch and vLLM for garbage
    # again and again.
    gc.collect()
    gc.freeze()
    return llm


def context_length(llm: LLM) -> int:
    """Tokens that a sequence may have, prompt included."""
    return llm.llm_engine.model_config.max_model_len


def lost_a_worker(llm: LLM) -> bool:
    """Whether a worker of its executor died, after which the engine can do nothing."""
    return getattr(llm.llm_engine.model_executor, "is_failed", False)


def sampling_params(request: Request, settings: EngineSettings) -> SamplingParams:
    return SamplingParams(
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed if settings.own_seeds else None,
        max_tokens=request.max_tokens - len(request.prefix_ids),
        stop=list(settings.stop) or None,
        stop_token_ids=list(settings.end_tokens),
        ignore_eos=True,  # the end tokens are named above, all of them
        logprobs=0,  # of the sampled token alone
        flat_logprobs=True,
        detokenize=bool(settings.stop),
        skip_special_tokens=False,
        # Nobody looks at what is half drawn; making it took a tenth of the time.
        output_kind=RequestOutputKind.FINAL_ONLY,
        extra_args=_extra(request) or None,
    )


def _extra(request: Request) -> dict[str, Any]:
    """What logits processors read of a request: plain data."""
    asked: dict[str, Any] = {LIMIT: request.limit, FLAT: request.flat and astuple(request.flat)}
    return {name: value for name, value in asked.items() if value is not None}


class InFlight:
    """The requests inside an engine, whoever asked for them: every step takes all of them on.

    llm: the engine.
    """

    def __init__(self, llm: LLM):
        self.llm = llm
        self.engine: Any = llm.llm_engine
        self.takers: dict[str, Callable[[Any], None]] = {}  # by the request's name: told of its output once it ended
        self.tokens = 0
        policy = self.engine.vllm_config.scheduler_config.policy
        self.first = -1 if policy == "priority" else 0  # the priority of what others are to wait for

    def add(self, prompt: list[int], params: SamplingParams, *, take: Callable[[Any], None], priority: int = 0) -> str:
        """Puts a request into the engine; returns its name.

        prompt: token ids.
        params: vLLM's own.
        take: told of its output once it has ended.
        priority: the smaller, the sooner; only where the engine's policy is "priority".
        """
        name = f"{next(_names)}"
        self.takers[name] = take
        self.engine.add_request(name, {"prompt_token_ids": prompt}, params, priority=priority)
        return name

    def add_draw(
        self, request: Request, settings: EngineSettings, *, take: Callable[[Drawn], None], priority: int = 0
    ) -> str:
        """The same for a completion. `step` raises RuntimeError if it ends in any other way than stop or length.

        request: what is drawn.
        settings: the engine's.
        take: told of the completion once it has ended.
        priority: as in `add`.
        """

        def ended(output: Any) -> None:
            completion = output.outputs[0]
            if completion.finish_reason not in ("stop", "length"):
                raise RuntimeError(f"vLLM ended a request with {completion.finish_reason!r}")
            sampled = np.array(completion.token_ids, dtype=np.int32)
            logprobs = np.array(completion.logprobs.logprobs, dtype=np.float32)
            take(Drawn(sampled, logprobs, completion.finish_reason))

        tokens = np.concatenate([request.prompt_ids, request.prefix_ids]).tolist()
        return self.add(tokens, sampling_params(request, settings), take=ended, priority=priority)

    def seed(self, seed: int) -> None:
        """What requests without seeds of their own are drawn from, from here on."""
        self.llm.collective_rpc(_seed_worker, args=(seed,))

    def step(self) -> bool:
        """One decoding step of all. Returns whether any request got on: it finished or has more tokens than before."""
        outputs: Any = self.engine.step()
        before = self.tokens
        self.tokens = sum(state.detokenizer.num_output_tokens() for state in self._states())
        for output in outputs:
            if output.finished:
                self.takers.pop(output.request_id)(output)
        return bool(outputs) or self.tokens != before

    def sampled(self) -> dict[str, int]:
        """By name, how many tokens each request has drawn that goes on."""
        return {state.external_req_id: state.detokenizer.num_output_tokens() for state in self._states()}

    def _states(self) -> Iterable[Any]:
        return self.engine.output_processor.request_states.values()

    def recompute(self) -> bool:
        """Drops every cached key and value; what is half drawn goes on from its tokens. Returns whether it could."""
        return self.llm.reset_prefix_cache(reset_running_requests=True)

    def give_up(self, names: list[str]) -> None:
        """Takes out those that are still there."""
        there = [name for name in names if self.takers.pop(name, None) is not None]
        self.engine.abort_request(there)


class Drawn(NamedTuple):
    """What was drawn for a request.

    tokens: sampled, int32 [T].
    logprobs: of them, float32 [T].
    finish_reason: as in Rollout.
    """

    tokens: np.ndarray
    logprobs: np.ndarray
    finish_reason: str


def draw(
    in_flight: InFlight, requests: list[Request], *, settings: EngineSettings, on_step: Callable[[bool], bool]
) -> Iterator[tuple[int, Drawn]]:
    """Yields what was drawn with the request's index, as they finish.

    Raises RuntimeError for a request that ended in any other way than by a stop or by its length. Nothing stays behind
    in the engine, however this ends.

    in_flight: the engine's requests; others go on meanwhile.
    requests: to draw, which the indices count.
    settings: those that the engine was built with.
    on_step: called after every decoding step with whether any request got on. When it returns False, the rest is given
        up.
    """
    if requests and not settings.own_seeds:
        in_flight.seed(requests[0].seed)
    ended: list[tuple[int, Drawn]] = []
    names = []
    try:
        for i, request in enumerate(requests):
            take = functools.partial(_append, ended, i)
            names.append(in_flight.add_draw(request, settings, take=take, priority=in_flight.first))
        left = len(requests)
        while left:
            moved = in_flight.step()
            left -= len(ended)
            yield from ended
            ended.clear()
            if not on_step(moved):
                return
    finally:
        in_flight.give_up(names)


def _append(ended: list[tuple[int, Any]], index: int, what: Any) -> None:
    ended.append((index, what))


def logprobs_of(
    in_flight: InFlight, sequences: list[list[int]], *, on_step: Callable[[bool], bool]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, log-probabilities float32 [L - 1] of every token but the first, at temperature 1).

    vLLM scores what it is given as a prompt, and draws one token, which is thrown away. Nothing stays behind in the
    engine.

    in_flight: the engine's requests; others go on meanwhile.
    sequences: token ids [L] each.
    on_step: called after every step of the engine, as in `draw`; what it returns does not matter.
    """
    params = SamplingParams(
        temperature=0.0,
        max_tokens=1,
        prompt_logprobs=0,  # of the prompt's own tokens alone
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
    ended: list[tuple[int, Any]] = []
    names = []
    try:
        for i, tokens in enumerate(sequences):
            take = functools.partial(_append, ended, i)
            names.append(in_flight.add(tokens, params, take=take, priority=in_flight.first))
        left = len(sequences)
        while left:
            in_flight.step()
            left -= len(ended)
            for i, output in ended:
                yield i, np.array(output.prompt_logprobs.logprobs, dtype=np.float32)
            ended.clear()
            on_step(True)
    finally:
        in_flight.give_up(names)


def _seed_worker(worker: Any, seed: int) -> None:
    """Runs in every worker of an engine: what requests without a seed are drawn from."""
    torch.manual_seed(seed)


_names = itertools.count()


# --- weight transfer --------------------------------------------------------------------------------------------------


def register_transfer() -> None:
    """Makes the engine's half of the project's backend known to vLLM (once a process)."""
    if "object_store" not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine("object_store", TRANSFER_MODULE, "ObjectStoreEngine")


def layerwise_reload(model: Any) -> None:
    """Makes a model ready to load weights over its loaded ones.

    vLLM's layers hold processed copies, which have to be taken back to the checkpoint's form first. On the CPU the
    copies are oneDNN's packed matrices. They go before new ones are made: two generations would need twice the memory,
    and the old one's place could not be used again.
    """
    from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

    for layer in model.modules():
        if hasattr(layer, "cpu_linear"):
            layer.cpu_linear = None  # it holds the packed matrix
    initialize_layerwise_reload(model)


def finish_layerwise_reload(model: Any, model_config: Any) -> None:
    """Makes the processed copies anew, after all weights were loaded."""
    from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

    finalize_layerwise_reload(model, model_config)
