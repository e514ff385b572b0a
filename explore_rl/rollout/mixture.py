"""Drawing from a token-level mixture of two models, as MENTOR does (arXiv 2510.04140): two vLLM engines in one process.

At every token, with H_t the entropy of the policy there and `limit` the entropy from which the expert speaks alone,

    pi_mix = (1 - w_t) pi + w_t q        w_t = min(1, H_t / limit)

Both engines hold the same requests and step together. The expert's logits come first; while its sampler waits, the
policy makes the same step, its logits meet the expert's, the token is drawn from pi_mix, and both engines are made to
take it. So one draw is exact at the cost of one step of each; MENTOR drafts from the policy and accepts or redraws,
which gives the same distribution. `Mixed` has the exact density of what was drawn.

The engines share no scheduler: that they are in step is seen at every token, and an error if not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, process_dict_updates

from explore_rl.rollout.mixing import mix, pick
from explore_rl.rollout.vllm_compat import EngineSettings, make_engine, sampling_params
from explore_rl.types import Request

if TYPE_CHECKING:
    from vllm.config import VllmConfig

NUMBER = "mixture"  # under which a request's number travels in SamplingParams.extra_args


@dataclass(frozen=True)
class Mixed:
    """A completion that was drawn from the mixture.

    tokens: int32 [T].
    logprobs: of each under pi_mix, float32 [T], at the request's temperature.
    policy_logprobs: of each under the policy alone, float32 [T].
    weights: w_t, the expert's share, float32 [T].
    entropies: H_t of the policy, nats, float32 [T]; `limit` of the next draw is made of them.
    finish_reason: "stop" or "length".
    """

    tokens: np.ndarray
    logprobs: np.ndarray
    policy_logprobs: np.ndarray
    weights: np.ndarray
    entropies: np.ndarray
    finish_reason: str


@dataclass
class _Rows:
    """The requests of an engine's batch, by row: (number, temperature, tokens drawn so far)."""

    entries: dict[int, tuple[int, float, list[int]]] = field(default_factory=dict)

    def update(self, update: BatchUpdate | None) -> None:
        def entry(params: SamplingParams, _: Any, drawn: list[int]) -> tuple[int, float, list[int]] | None:
            number = (params.extra_args or {}).get(NUMBER)
            return None if number is None else (number, params.temperature, drawn)

        process_dict_updates(self.entries, update, entry)

    def logprobs(self, logits: torch.Tensor) -> torch.Tensor:
        """At each request's temperature, float32 [n, V], in the order of `entries`."""
        rows = list(self.entries)
        temperatures = torch.tensor([t for _, t, _ in self.entries.values()], device=logits.device)
        return torch.log_softmax(logits[rows].float() / temperatures[:, None], dim=-1)

    def at(self) -> list[tuple[int, int]]:
        """(number, position of the token that comes) of every request, in the order of `entries`."""
        return [(number, len(drawn)) for number, _, drawn in self.entries.values()]

    def force(self, logits: torch.Tensor, chosen: dict[int, int]) -> torch.Tensor:
        """Leaves each request the token that was chosen for it."""
        for row, (number, _, _) in self.entries.items():
            logits[row] = -torch.inf
            logits[row, chosen[number]] = 0.0
        return logits


class MixtureEngine:
    """A policy and an expert with one vocabulary, each in an engine of this process.

    The process needs `rollout.settings.engine_environment`; tensor parallelism is not there, since the engines meet in
    one process. Raises RuntimeError where the engines do not stay in step.

    policy, expert: how the engines are built.
    """

    def __init__(self, policy: EngineSettings, expert: EngineSettings):
        pair = self

        class Expert(_Meeting):
            def meet(self, logits: torch.Tensor) -> torch.Tensor:
                return pair._expert_speaks(self.rows, logits)

        class Policy(_Meeting):
            def meet(self, logits: torch.Tensor) -> torch.Tensor:
                return pair._policy_speaks(self.rows, logits)

        self.settings = policy
        self.policy = _engine(policy, Policy)
        self.expert = _engine(expert, Expert)
        sizes = [llm.llm_engine.model_config.get_vocab_size() for llm in (self.policy, self.expert)]
        if sizes[0] != sizes[1]:
            raise RuntimeError(
                f"a mixture needs one vocabulary; the policy has {sizes[0]} tokens, the expert {sizes[1]}"
            )
        self._clear()

    def _clear(self) -> None:
        self._requests: list[Request] = []
        self._limit = np.inf
        self._heard: tuple[list[tuple[int, int]], torch.Tensor] | None = None
        self._chosen: dict[int, int] = {}
        self._records: dict[int, list[tuple[float, float, float, float]]] = {}
        self._done: list[Any] = []

    def draw(
        self, requests: list[Request], *, limit: float, on_step: Callable[[bool], bool] = lambda moved: True
    ) -> Iterator[tuple[int, Mixed]]:
        """Yields (index, completion), as they finish. Nothing stays behind in the engines, however this ends.

        What is drawn depends on the requests' seeds alone, not on what else is drawn.

        requests: with top_p 1.
        limit: the entropy in nats from which the expert speaks alone; infinite: the policy alone.
        on_step: called after every step; when it returns False, the rest is given up.
        """
        if any(request.top_p != 1 for request in requests):
            raise RuntimeError("a mixture is drawn from at top_p=1")
        self._clear()
        self._requests, self._limit = requests, limit
        names = {f"mixed-{i}": i for i in range(len(requests))}
        engines = (self.policy.llm_engine, self.expert.llm_engine)
        for name, i in names.items():
            request = requests[i]
            params = sampling_params(request, self.settings)
            params.extra_args = {NUMBER: i}
            prompt = np.concatenate([request.prompt_ids, request.prefix_ids]).tolist()
            for engine in engines:
                engine.add_request(name, {"prompt_token_ids": prompt}, params.clone())
        try:
            while self.expert.llm_engine.has_unfinished_requests():
                self._done = []
                self.expert.llm_engine.step()
                for output in self._done:
                    i = names.pop(output.request_id)
                    completion = output.outputs[0]
                    tokens = np.array(completion.token_ids, dtype=np.int32)
                    columns = np.array(self._records.pop(i)[: len(tokens)], dtype=np.float32).T
                    yield i, Mixed(tokens, *columns, finish_reason=completion.finish_reason)
                if not on_step(True):
                    return
        finally:
            for engine in engines:
                engine.abort_request(list(names))

    # --- the two samplers, in the order in which they run -------------------------------------------------------------

    def _expert_speaks(self, rows: _Rows, logits: torch.Tensor) -> torch.Tensor:
        self._heard = (rows.at(), rows.logprobs(logits))
        self._done += [output for output in self.policy.llm_engine.step() if output.finished]
        if self._heard is not None:
            raise RuntimeError("the mixture's engines are out of step: the policy drew nothing where the expert did")
        return rows.force(logits, self._chosen)

    def _policy_speaks(self, rows: _Rows, logits: torch.Tensor) -> torch.Tensor:
        at = rows.at()
        heard, self._heard = self._heard, None
        if heard is None or sorted(heard[0]) != sorted(at):
            raise RuntimeError(
                "the mixture's engines are out of step: they hold other requests, or other tokens of them"
            )
        # The expert's rows in the policy's order.
        place = {entry: row for row, entry in enumerate(heard[0])}
        policy, expert = rows.logprobs(logits), heard[1][[place[entry] for entry in at]]
        mixed, weight, entropy = mix(policy, expert, self._limit)
        tokens = pick(mixed, [(self._requests[number].seed, position) for number, position in at])
        taken = [x.gather(1, tokens[:, None])[:, 0] for x in (mixed, policy)]
        columns = torch.stack([*taken, weight, entropy], dim=1).tolist()
        for (number, position), token, record in zip(at, tokens.tolist(), columns, strict=True):
            self._chosen[number] = token
            # A step over a part of a prompt is repeated, at the same position, when the prompt is whole.
            self._records[number] = [*self._records.get(number, [])[:position], tuple(record)]
        return rows.force(logits, self._chosen)


class _Meeting(LogitsProcessor):
    """Tells the pair what an engine's model says. A subclass has `meet`."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool):
        self.rows = _Rows()

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        self.rows.update(batch_update)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        return self.meet(logits) if self.rows.entries else logits

    def meet(self, logits: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


def _engine(settings: EngineSettings, meeting: type[_Meeting]) -> Any:
    # Drawn step by step: an engine that begins the next step before this one's tokens are known cannot be met.
    own = {"logits_processors": [meeting], "async_scheduling": False}
    return make_engine(replace(settings, device=settings.device | own))
