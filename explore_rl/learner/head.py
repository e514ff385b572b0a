"""The output projection with its readouts: log p of chosen tokens, a chunk at a time, and again in the backward pass.

So a vocabulary of 150,000 never meets a whole micro-batch. Logits are accumulated and soft-maxed in float32 whatever
the model's dtype: rounded to bfloat16 before the softmax, a sequence's log-probability would be off by a nat.

Training, `explore-rl score` and the exact audit of a checkpoint (lab/logprobs.py, in float64) read through it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from analysis.errors import InputError
from explore_rl.objectives.readouts import Readout, at_temperature, token_entropy, token_logprob

# Logits held at once: 128 MiB in float32 on the CPU. On a GPU every chunk reads the whole weight, so chunks are larger.
CHUNK_LOGITS = {"cpu": 1 << 25, "cuda": 1 << 28}
CAST_WEIGHTS = 1 << 24  # numbers of a bfloat16 weight that the CPU casts at once


def _nothing() -> None:
    """Nobody counts."""


def read_chunks(
    hidden: Tensor,
    weight: Tensor,
    *,
    targets: Tensor,
    readouts: tuple[Readout, ...],
    precision: torch.dtype | None = None,
    tick: Callable[[], None] = _nothing,
) -> tuple[Tensor, ...]:
    """Of each readout its values, [n] or [n, k], without a gradient: what a `ReadoutHead` gives.

    hidden: [n, h], the states that predict the tokens.
    weight: [V, h], the output projection's.
    targets: int64 [n], the tokens.
    readouts: of log p.
    precision: what logits are soft-maxed in; None: float32, or float64 of a model in float64.
    tick: called after every chunk.
    """
    outputs: list[Tensor] = []
    for rows in _chunks(len(hidden), weight):
        log_p = _log_p(hidden[rows], weight, precision)
        for i, readout in enumerate(readouts):
            values = readout.of(log_p, targets[rows])
            if i == len(outputs):
                outputs.append(log_p.new_empty(len(hidden), *values.shape[1:]))
            outputs[i][rows] = values
        tick()
    return tuple(outputs)


class ReadoutHead(nn.Module):
    """Stands in place of the model's output projection and keeps its weight, tied or not.

    So ZeRO-3 gathers that weight as it gathers any other.

    tick: called after every chunk, forward and backward: a long text on a busy CPU takes minutes.
    """

    def __init__(self, projection: nn.Linear):
        super().__init__()
        self.weight = projection.weight
        self.tick: Callable[[], None] = _nothing

    def forward(self, hidden: Tensor, targets: Tensor, readouts: tuple[Readout, ...]) -> tuple[Tensor, ...]:
        """Of each readout its values, [n] or [n, k]. hidden: [n, h]; targets: [n]."""
        return _ChunkedReadouts.apply(hidden, self.weight, targets, readouts, self.tick)


def refuse_unusual_head(model: Any, *, where: str) -> None:
    """Raises InputError for a model whose logits are not hidden state times matrix, as they are made here.

    model: a transformers module.
    where: what the message begins with.
    """
    projection = model.get_output_embeddings()
    settings = ("final_logit_softcapping", "logit_scale", "logits_scaling")
    unusual = [key for key in settings if getattr(model.config, key, None) not in (None, 1, 1.0)]
    if not isinstance(projection, nn.Linear) or projection.bias is not None or unusual:
        what = ", ".join(unusual) or "its output projection is not a plain matrix"
        raise InputError(
            f"{where}: {type(model).__name__} changes its logits after the projection ({what}): not supported"
        )


class _ChunkedReadouts(torch.autograd.Function):
    """Readouts of log p = log softmax(hidden weight^T), without ever holding all the logits.

    Backward, with g the gradient by log p and p the softmax: dL / dlogits = g - p sum(g). It is torch's own for any
    readout. Log-probability and entropy, which every update has, have their formulas (H the entropy):

        d logprob / dlogits = (onehot(target) - p) / T      dH / dlogits = -p (log p + H) / T
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        readouts: tuple[Readout, ...],
        tick: Callable[[], None],
    ) -> tuple[Tensor, ...]:
        outputs = read_chunks(hidden, weight, targets=targets, readouts=readouts, tick=tick)
        ctx.save_for_backward(hidden, weight, targets, *outputs)
        ctx.readouts = readouts
        ctx.tick = tick
        ctx.set_materialize_grads(False)  # what is only looked at costs nothing in the backward pass
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, *outputs = ctx.saved_tensors
        d_hidden = torch.empty_like(hidden)
        d_weight: Tensor | None = None
        if ctx.needs_input_grad[1]:  # beside LoRA's adapters the weight stays as it is
            d_weight = torch.zeros(weight.shape, dtype=outputs[0].dtype, device=weight.device)
        for rows in _chunks(len(hidden), weight):
            log_p = _log_p(hidden[rows], weight)
            own = [
                _Read(readout, gradient[rows], values=values[rows])
                for readout, gradient, values in zip(ctx.readouts, gradients, outputs, strict=True)
                if gradient is not None
            ]
            d_logits = _by_logits(log_p, targets[rows], own=own)
            d_hidden[rows] = _project_back(d_logits, hidden[rows], weight=weight, d_weight=d_weight)
            ctx.tick()
        return d_hidden, None if d_weight is None else d_weight.to(weight.dtype), None, None, None


class _Read:
    """A readout of a chunk: the gradient of the loss by its values, and the values."""

    def __init__(self, readout: Readout, gradient: Tensor, *, values: Tensor):
        self.readout, self.gradient, self.values = readout, gradient, values


def _by_logits(log_p: Tensor, targets: Tensor, *, own: list[_Read]) -> Tensor:
    """The gradient by the logits, [n, V]."""
    parts: list[Tensor] = []
    with_formula: dict[float, list[_Read]] = defaultdict(list)  # by temperature
    others: list[_Read] = []
    for read in own:
        if read.readout.function in (token_logprob, token_entropy):
            with_formula[dict(read.readout.params)["temperature"]].append(read)
        else:
            others.append(read)
    for temperature, reads in with_formula.items():
        parts.append(_by_formula(at_temperature(log_p, temperature), targets, reads=reads, temperature=temperature))
    if others:
        by_log_p = _by_autograd(log_p, targets, reads=others)
        if by_log_p is not None:
            parts.append(by_log_p - log_p.exp() * by_log_p.sum(1, keepdim=True))
    return sum(parts[1:], start=parts[0]) if parts else torch.zeros_like(log_p)


def _by_formula(log_q: Tensor, targets: Tensor, *, reads: list[_Read], temperature: float) -> Tensor:
    """The part of log-probability and entropy at one temperature, whose distribution is log_q."""
    q = log_q.exp()
    total: Tensor | None = None
    for read in sorted(reads, key=lambda read: read.readout.function is token_entropy):
        by_value = read.gradient[:, None]
        if read.readout.function is token_logprob:
            total = q * -by_value
            total.scatter_add_(1, targets[:, None], by_value)
        else:
            part = by_value * q * (log_q + read.values[:, None])
            total = -part if total is None else total.sub_(part)
    assert total is not None
    return total if temperature == 1.0 else total.div_(temperature)


def _by_autograd(log_p: Tensor, targets: Tensor, *, reads: list[_Read]) -> Tensor | None:
    """The gradient by log p of readouts without a formula; None if none of them has any."""
    with torch.enable_grad():
        leaf = log_p.detach().requires_grad_()
        values = [(read.readout.of(leaf, targets), read.gradient) for read in reads]
        values = [(value, gradient) for value, gradient in values if value.requires_grad]
        if not values:
            return None
        (by_log_p,) = torch.autograd.grad([v for v, _ in values], leaf, [g for _, g in values])
    return by_log_p


# --- the projection ---------------------------------------------------------------------------------------------------


def _chunks(tokens: int, weight: Tensor) -> list[slice]:
    """Slices of the tokens, with at most CHUNK_LOGITS logits each."""
    size = max(1, CHUNK_LOGITS[weight.device.type] // len(weight))
    return [slice(start, start + size) for start in range(0, tokens, size)]


def _log_p(hidden: Tensor, weight: Tensor, precision: torch.dtype | None = None) -> Tensor:
    """log softmax(hidden weight^T), [n, V], in float32 (float64 of a model in float64), or in `precision`."""
    return torch.log_softmax(_logits(hidden, weight), dim=1, dtype=precision)


def _logits(hidden: Tensor, weight: Tensor) -> Tensor:
    if not _is_half(hidden):
        return hidden @ weight.T
    if hidden.is_cuda:
        return torch.mm(hidden, weight.T, out_dtype=torch.float32)
    # The CPU has no such kernel: exact products of a piece of the weight at a time.
    hidden = hidden.float()
    logits = hidden.new_empty(len(hidden), len(weight))
    for tokens in _pieces(weight):
        logits[:, tokens] = hidden @ weight[tokens].float().T
    return logits


def _project_back(d_logits: Tensor, hidden: Tensor, *, weight: Tensor, d_weight: Tensor | None) -> Tensor:
    """The gradient by `hidden`; that by the weight is added to `d_weight`, if any, which is not rounded on the way."""
    if not _is_half(hidden):
        if d_weight is not None:
            d_weight.addmm_(d_logits.T, hidden)
        return d_logits @ weight
    if hidden.is_cuda:
        d_logits = d_logits.to(hidden.dtype)
        if d_weight is not None:
            d_weight += torch.mm(d_logits.T, hidden, out_dtype=torch.float32)
        return d_logits @ weight
    exact = hidden.float()
    d_hidden = torch.zeros_like(exact)
    for tokens in _pieces(weight):
        if d_weight is not None:
            d_weight[tokens].addmm_(d_logits[:, tokens].T, exact)
        d_hidden.addmm_(d_logits[:, tokens], weight[tokens].float())
    return d_hidden.to(hidden.dtype)


def _is_half(hidden: Tensor) -> bool:
    return hidden.element_size() < 4


def _pieces(weight: Tensor) -> list[slice]:
    """Slices of the vocabulary with at most CAST_WEIGHTS numbers of the weight each."""
    size = max(1, CAST_WEIGHTS // weight.shape[1])
    return [slice(start, start + size) for start in range(0, len(weight), size)]
