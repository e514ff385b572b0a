"""Everything that depends on vLLM's version (0.32).

That is building an engine, drawing from it, and the names of its weight-transfer API. Import it only in a process that
has the environment of `rollout.settings.engine_environment` or `learner.device.learner_environment`.
"""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from typing import Any, cast

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
    "EngineSettings",
    "WeightTransferEngine",
    "WeightTransferInitInfo",
    "WeightTransferUpdateInfo",
    "context_length",
    "draw",
    "finish_layerwise_reload",
    "layerwise_reload",
    "lost_a_worker",
    "make_engine",
    "register_transfer",
    "sampling_params",
    "score",
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


def draw(
    llm: LLM, requests: list[Request], *, settings: EngineSettings, on_step: Callable[[bool], bool]
) -> Iterator[tuple[int, np.ndarray, np.ndarray, str]]:
    """Yields (index, sampled tokens int32 [T], their log-probabilities float32 [T], finish reason), as they finish.

    Raises RuntimeError for a request that ended in any other way than by a stop or by its length. Nothing stays behind
    in the engine, however this ends.

    llm: the engine.
    requests: to draw, which the indices count.
    settings: those that the engine was built with.
    on_step: called after every decoding step with whether any request got on. When it returns False, the rest is given
        up.
    """
    engine = llm.llm_engine
    if requests and not settings.own_seeds:
        llm.collective_rpc(_seed_worker, args=(requests[0].seed,))
    index: dict[str, int] = {}  # by the request's name, while it is in the engine
    for i, request in enumerate(requests):
        name = f"{next(_names)}"
        index[name] = i
        engine.add_request(
            name,
            {"prompt_token_ids": np.concatenate([request.prompt_ids, request.prefix_ids]).tolist()},
            sampling_params(request, settings),
        )
    try:
        tokens = 0
        while engine.has_unfinished_requests():
            outputs: Any = engine.step()
            before = tokens
            tokens = _unfinished_tokens(engine)
            for output in outputs:
                if output.finished:
                    completion = output.outputs[0]
                    if completion.finish_reason not in ("stop", "length"):
                        raise RuntimeError(f"vLLM ended a request with {completion.finish_reason!r}")
                    logprobs = np.array(completion.logprobs.logprobs, dtype=np.float32)
                    sampled = np.array(completion.token_ids, dtype=np.int32)
                    yield index.pop(output.request_id), sampled, logprobs, completion.finish_reason
            # A request got on if one finished or one has more tokens than before.
            if not on_step(bool(outputs) or tokens != before):
                return
    finally:
        engine.abort_request(list(index))


def score(llm: LLM, sequences: list[list[int]], *, on_step: Callable[[bool], bool]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, log-probabilities float32 [L - 1] of every token but the first, at temperature 1).

    vLLM scores what it is given as a prompt, and draws one token, which is thrown away. Nothing stays behind in the
    engine.

    llm: the engine.
    sequences: token ids [L] each.
    on_step: called after every step of the engine, as in `draw`; what it returns does not matter.
    """
    engine = llm.llm_engine
    params = SamplingParams(
        temperature=0.0,
        max_tokens=1,
        prompt_logprobs=0,  # of the prompt's own tokens alone
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
    index: dict[str, int] = {}
    for i, tokens in enumerate(sequences):
        name = f"{next(_names)}"
        index[name] = i
        engine.add_request(name, {"prompt_token_ids": tokens}, params.clone())
    try:
        while engine.has_unfinished_requests():
            outputs: Any = engine.step()
            for output in outputs:
                if output.finished:
                    yield index.pop(output.request_id), np.array(output.prompt_logprobs.logprobs, dtype=np.float32)
            on_step(True)
    finally:
        engine.abort_request(list(index))


def _seed_worker(worker: Any, seed: int) -> None:
    """Runs in every worker of an engine: what requests without a seed are drawn from."""
    torch.manual_seed(seed)


_names = itertools.count()


def _unfinished_tokens(engine: Any) -> int:
    """Tokens drawn so far for requests that go on."""
    return sum(state.detokenizer.num_output_tokens() for state in engine.output_processor.request_states.values())


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
