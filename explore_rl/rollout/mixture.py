"""Drawing from a token-level mixture of two models, as MENTOR does (arXiv 2510.04140): a second engine in the process.

At every token, with H_t the entropy of the policy there and `limit` the entropy from which the expert speaks alone,

    pi_mix = (1 - w_t) pi + w_t q        w_t = min(1, H_t / limit)

`TokenMixture` is a logits processor of the policy's engine. For requests that bring a `limit` it asks the expert's
engine for the next token's distribution after the same tokens, and puts log pi_mix in the place of the policy's logits.
So vLLM itself draws from the mixture, with the request's own seed, and the log-probability that it records is the exact
density of what was drawn. MENTOR drafts from the policy and accepts or draws again, which is the same distribution.

The expert reads the whole beginning anew for every token (vLLM's prefix cache, where it is on, spares most of that). It
lives in the engine's own process, so there is no tensor parallelism.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from vllm import LLM, SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.v1.sample.logits_processor.builtin import process_dict_updates
from vllm.v1.sample.logits_processor.interface import BatchUpdate, LogitsProcessor

from explore_rl.models import resolve_model
from explore_rl.rollout.mixing import mix
from explore_rl.rollout.vllm_compat import LIMIT

if TYPE_CHECKING:
    from vllm.config import VllmConfig

PLACE = "place"  # under which a question to the expert has its number, in SamplingParams.extra_args


class TokenMixture(LogitsProcessor):
    """Mixes an expert into the policy's logits. Named in `rollout.engine.logits_processors`.

    The expert is `rollout.engine.additional_config.expert`: arguments of `vllm.LLM`, `model` at least; what else is not
    said is as in the policy's engine. It is started when the first mixed request comes.
    """

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool):
        self.config = vllm_config
        self.expert: Expert | None = None
        self.rows: dict[int, _Row] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self.rows, batch_update, _row)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        if not self.rows:
            return logits
        self.expert = self.expert or Expert(self.config)
        places = list(self.rows)
        rows = list(self.rows.values())
        temperatures = torch.tensor([row.temperature for row in rows], device=logits.device)[:, None]
        limits = torch.tensor([row.limit for row in rows], device=logits.device)
        heard = self.expert.logits([[*row.prompt, *row.drawn] for row in rows]).to(logits.device)
        if heard.shape[1] != logits.shape[1]:
            raise RuntimeError(f"the expert has {heard.shape[1]} tokens, the policy {logits.shape[1]}: no mixture")
        policy = torch.log_softmax(logits[places].float() / temperatures, dim=-1)
        expert = torch.log_softmax(heard.float() / temperatures, dim=-1)
        # The temperature is still to be applied to what is left here.
        logits[places] = (mix(policy, expert, limits=limits)[0] * temperatures).to(logits.dtype)
        return logits


@dataclass(frozen=True)
class _Row:
    """A mixed request in the batch. drawn: its tokens so far, which vLLM adds to."""

    limit: float
    temperature: float
    prompt: Sequence[int]
    drawn: list[int]


def _row(params: SamplingParams, prompt: list[int] | None, drawn: list[int]) -> _Row | None:
    limit = (params.extra_args or {}).get(LIMIT)
    if limit is None:
        return None
    if prompt is None or params.top_p != 1:
        raise RuntimeError("a mixture is drawn from after token ids, and at top_p=1")
    return _Row(float(limit), params.temperature, prompt, drawn)


class Expert:
    """An engine that says what it would write next.

    config: that of the engine that asks.
    """

    def __init__(self, config: VllmConfig):
        said: dict[str, Any] = cast(dict[str, Any], config.additional_config)["expert"]
        heard: dict[int, torch.Tensor] = {}
        self.heard = heard

        class Listener(_Listener):
            def hear(self, place: int, logits: torch.Tensor) -> None:
                heard[place] = logits

        settings: dict[str, Any] = {
            "dtype": config.model_config.dtype,
            "enforce_eager": config.model_config.enforce_eager,
            "max_num_seqs": config.scheduler_config.max_num_seqs,
            "enable_prefix_caching": config.cache_config.enable_prefix_caching,
            "enable_chunked_prefill": config.scheduler_config.enable_chunked_prefill,
            "kv_cache_memory_bytes": config.cache_config.kv_cache_memory_bytes,
            "max_model_len": -1,
            "generation_config": "vllm",
            "async_scheduling": False,
            "seed": 0,
            "logits_processors": [Listener],
        }
        model: Any = {"model": str(resolve_model(said["model"]))}
        self.llm = LLM(**(settings | said | model))

    def logits(self, sequences: list[list[int]]) -> torch.Tensor:
        """Of the token after each sequence, [n, V]."""
        engine = self.llm.llm_engine
        if any(token < 0 for tokens in sequences for token in tokens):
            raise RuntimeError(
                "a token is not known yet when the next is drawn: set rollout.engine.async_scheduling=false"
            )
        self.heard.clear()
        names = []
        for place, tokens in enumerate(sequences):
            params = SamplingParams(
                temperature=0.0,
                max_tokens=1,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
                extra_args={PLACE: place},
            )
            names.append(f"expert-{next(_names)}")
            engine.add_request(names[-1], {"prompt_token_ids": tokens}, params)
        try:
            while engine.has_unfinished_requests():
                engine.step()
        finally:
            engine.abort_request(names)
        return torch.stack([self.heard[place] for place in range(len(sequences))])


class _Listener(LogitsProcessor):
    """Hears an engine's logits. A subclass has `hear`."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool):
        self.places: dict[int, int] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self.places, batch_update, lambda params, *_: (params.extra_args or {}).get(PLACE))

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        # A prompt that is read in parts is heard after each; the last one stays.
        for row, place in self.places.items():
            self.hear(place, logits[row].clone())
        return logits

    def hear(self, place: int, logits: torch.Tensor) -> None:
        raise NotImplementedError


_names = itertools.count()
