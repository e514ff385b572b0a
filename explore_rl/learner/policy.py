"""A transformers causal language model as the learner uses it.

Token ids go in, log-probabilities and entropies of chosen tokens come out. Logits are made for those tokens only, a
chunk at a time, and again in the backward pass, so that a vocabulary of 150,000 never meets a whole micro-batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from analysis.errors import InputError
from explore_rl.models import load_model_config

CHUNK_LOGITS = 1 << 25  # logits held at once (128 MiB in float32)


@dataclass
class Tokens:
    """One micro-batch.

    input_ids, position_ids: [lines, width].
    at: [N], flat positions whose next token is scored.
    targets: [N], that next token.
    temperature: [N], at which it is scored.
    mask: bool [lines, 1, width, width], who sees whom, where sequences share a prompt. Else None: each sequence sees
        itself, told from its neighbours by their positions.
    """

    input_ids: Tensor
    position_ids: Tensor
    at: Tensor
    targets: Tensor
    temperature: Tensor
    mask: Tensor | None = None


class _ChunkedLogprob(torch.autograd.Function):
    """log softmax(hidden weight^T / temperature)[target] and the entropy, without ever holding all the logits.

    With p the softmax and H its entropy: d logprob / dz = onehot(target) - p,  dH / dz = -p (log p + H).
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: Tensor, with_entropy: bool
    ) -> tuple[Tensor, Tensor]:
        precision = torch.promote_types(hidden.dtype, torch.float32)
        logprob = torch.empty(len(hidden), dtype=precision, device=hidden.device)
        entropy = torch.zeros_like(logprob)
        for rows in _chunks(len(hidden), len(weight)):
            log_p = _log_softmax(hidden[rows], weight, temperature[rows], precision)
            logprob[rows] = log_p.gather(1, targets[rows, None])[:, 0]
            if with_entropy:
                entropy[rows] = -(log_p.exp() * log_p).sum(1)
        ctx.save_for_backward(hidden, weight, targets, temperature, entropy)
        ctx.with_entropy = with_entropy
        return logprob, entropy

    @staticmethod
    def backward(ctx: Any, d_logprob: Tensor, d_entropy: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, temperature, entropy = ctx.saved_tensors
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros(weight.shape, dtype=d_logprob.dtype, device=weight.device)
        for rows in _chunks(len(hidden), len(weight)):
            log_p = _log_softmax(hidden[rows], weight, temperature[rows], d_logprob.dtype)
            p = log_p.exp()
            # The two derivatives above, added up in place; then back through the temperature and the projection.
            d_logits = p * -d_logprob[rows, None]
            d_logits.scatter_add_(1, targets[rows, None], d_logprob[rows, None])
            if ctx.with_entropy:
                d_logits -= d_entropy[rows, None] * p * (log_p + entropy[rows, None])
            d_logits = (d_logits / temperature[rows, None]).to(hidden.dtype)
            d_hidden[rows] = d_logits @ weight
            d_weight += (d_logits.T @ hidden[rows]).to(d_weight.dtype)
        return d_hidden, d_weight.to(weight.dtype), None, None, None


def _chunks(tokens: int, vocabulary: int) -> list[slice]:
    """Slices of the tokens, with at most CHUNK_LOGITS logits each."""
    size = max(1, CHUNK_LOGITS // vocabulary)
    return [slice(start, start + size) for start in range(0, tokens, size)]


def _log_softmax(hidden: Tensor, weight: Tensor, temperature: Tensor, precision: torch.dtype) -> Tensor:
    return torch.log_softmax((hidden @ weight.T).to(precision) / temperature[:, None], dim=1)


class LogprobHead(nn.Module):
    """Stands in place of the model's output projection and keeps its weight, tied or not.

    So ZeRO-3 gathers that weight as it gathers any other.
    """

    def __init__(self, projection: nn.Linear):
        super().__init__()
        self.weight = projection.weight

    def forward(
        self, hidden: Tensor, targets: Tensor, temperature: Tensor, with_entropy: bool
    ) -> tuple[Tensor, Tensor]:
        temperature = temperature.to(torch.promote_types(hidden.dtype, torch.float32))
        return _ChunkedLogprob.apply(hidden, self.weight, targets, temperature, with_entropy)


class Policy(nn.Module):
    """A transformers module whose output projection is a `LogprobHead`.

    model: the transformers module; its parameters are named as in its checkpoint.
    """

    def __init__(self, model: Any):
        super().__init__()
        _refuse_unusual_head(model)
        model.set_output_embeddings(LogprobHead(model.get_output_embeddings()))
        self.model: Any = model  # torch types attributes of a module as tensors

    @property
    def takes_masks(self) -> bool:
        """Whether a mask of ours may replace the model's own.

        It may with PyTorch's attention, where every layer sees all that stands before a token.
        """
        config = self.model.config
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        return (
            config._attn_implementation == "sdpa"
            and kinds == {"full_attention"}
            and getattr(config, "sliding_window", None) is None
        )

    def forward(self, tokens: Tokens, with_entropy: bool = False) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy (zeros unless asked for) of the chosen tokens, float32 [N] each."""
        # With a cache, transformers does not see that a line holds several sequences, and they leak into each other.
        hidden = self.model.base_model(
            input_ids=tokens.input_ids, attention_mask=tokens.mask, position_ids=tokens.position_ids, use_cache=False
        ).last_hidden_state
        return self.model.get_output_embeddings()(
            hidden.flatten(0, 1)[tokens.at], tokens.targets, tokens.temperature, with_entropy
        )


def load_policy(path: Path, dtype: str, *, attention: str, sharded: bool = False) -> Policy:
    """The checkpoint in `path`, without dropout, whose noise would be taken for a change of the policy.

    Raises InputError if it cannot be loaded, or has a head that is not supported.

    path: a folder.
    dtype: "float32" or "bfloat16".
    attention: transformers' name of the implementation.
    sharded: as ZeRO-3 shards; then all ranks call this together.
    """
    config = load_model_config(path)
    for name in [n for n in vars(config) if n.endswith(("dropout", "_pdrop"))]:
        setattr(config, name, 0.0)
    try:
        with _sharded_from_the_start(dtype) if sharded else nullcontext():
            model = AutoModelForCausalLM.from_pretrained(
                path, config=config, dtype=getattr(torch, dtype), attn_implementation=attention
            )
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"model.path={path}: cannot be loaded: {str(error).splitlines()[0]}") from error
    return Policy(model)


@contextmanager
def _sharded_from_the_start(dtype: str) -> Iterator[None]:
    """What is loaded within it is sharded at once: no rank holds more of a model than its shards and one module.

    transformers makes the model under `deepspeed.zero.Init`, and rank 0 reads the checkpoint module by module, mapped
    and not copied into memory. transformers knows by a global weak reference that ZeRO-3 is meant. It is taken back
    afterwards, so that nothing else that is loaded takes it up.
    """
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    settings = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": 3},
        "bf16": {"enabled": dtype == "bfloat16"},
        # zero.Init would round the rotary frequencies to bfloat16.
        "data_types": {"keep_in_fp32_modules": ["inv_freq"]},
    }
    kept_alive = HfDeepSpeedConfig(settings)  # transformers' reference to it is weak
    try:
        yield
    finally:
        unset_hf_deepspeed_config()
        del kept_alive


def _refuse_unusual_head(model: Any) -> None:
    """Raises InputError for a model whose logits are not hidden state times matrix, as `LogprobHead` makes them."""
    projection = model.get_output_embeddings()
    settings = ("final_logit_softcapping", "logit_scale", "logits_scaling")
    unusual = [key for key in settings if getattr(model.config, key, None) not in (None, 1, 1.0)]
    if not isinstance(projection, nn.Linear) or projection.bias is not None or unusual:
        what = ", ".join(unusual) or "its output projection is not a plain matrix"
        raise InputError(
            f"model.path: {type(model).__name__} changes its logits after the projection ({what}): not supported"
        )
