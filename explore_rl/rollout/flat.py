"""Drawing uniformly over the likely tokens, as Mixed-CUTS does (arXiv 2604.18493): a logits processor.

With S_t the `top` most probable tokens of probability above `least`, a request that brings a `Flat` is drawn from

    q(y_t) = 1 / |S_t| for y_t in S_t        from its `plain`-th token on; before that from the policy

vLLM draws from it with the request's own seed, and records the exact density of what was drawn. Named in
`rollout.engine.logits_processors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor.builtin import process_dict_updates
from vllm.v1.sample.logits_processor.interface import BatchUpdate, LogitsProcessor

from explore_rl.rollout.mixing import flatten
from explore_rl.rollout.vllm_compat import FLAT
from explore_rl.types import Flat

if TYPE_CHECKING:
    from vllm.config import VllmConfig


@dataclass(frozen=True)
class _Row:
    """A flat request in the batch. drawn: its tokens so far, which vLLM adds to."""

    flat: Flat
    temperature: float
    drawn: list[int]


class FlatDraws(LogitsProcessor):
    """Puts log q in the place of the logits of requests that ask for it."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool):
        self.rows: dict[int, _Row] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self.rows, batch_update, _row)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        by_form: dict[tuple[Flat, float], list[int]] = {}
        for place, row in self.rows.items():
            if len(row.drawn) >= row.flat.plain:
                by_form.setdefault((row.flat, row.temperature), []).append(place)
        for (flat, temperature), places in by_form.items():
            policy = torch.log_softmax(logits[places].float() / temperature, dim=-1)
            # The temperature is still to be applied, which leaves what is uniform as it is.
            logits[places] = flatten(policy, top=flat.top, least=flat.least).to(logits.dtype)
        return logits


def _row(params: SamplingParams, prompt: Any, drawn: list[int]) -> _Row | None:
    asked = (params.extra_args or {}).get(FLAT)
    return None if asked is None else _Row(Flat(*asked), params.temperature, drawn)
