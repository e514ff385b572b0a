"""Losses per token, to be minimised. Pure functions on tensors [N].

The gradient flows through `logprob` (and `entropy`) alone.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from analysis.errors import InputError

MAX_LOG_RATIO = 20.0  # exp of more than this says "far away" and no more; keeps float32 finite


def ratio_of(log_ratio: Tensor) -> Tensor:
    """exp(log_ratio), the exponent held within +-20. [N] -> [N]."""
    return torch.exp(log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))


def clipped(ratio: Tensor, advantage: Tensor, *, clip_low: float, clip_high: float) -> Tensor:
    """max(-A ratio, -A clip(ratio, 1 - clip_low, 1 + clip_high)), whatever the ratio is of.

    ratio: [N], above 0.
    advantage: A, [N].
    clip_low, clip_high: how far below and above 1 the ratio may pull.
    Returns [N].
    """
    return torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - clip_low, 1 + clip_high))


def clipped_figures(ratio: Tensor, advantage: Tensor, *, clip_low: float, clip_high: float) -> dict[str, Tensor]:
    """Per token: whether `clipped` takes the gradient away (above, below, either).

    ratio, advantage, clip_low, clip_high: as in `clipped`.
    Returns figure -> 0 or 1, [N].
    """
    high = ((advantage > 0) & (ratio > 1 + clip_high)).float()
    low = ((advantage < 0) & (ratio < 1 - clip_low)).float()
    return {"clip_fraction": high + low, "clip_fraction_high": high, "clip_fraction_low": low}


def moved_figures(logprob: Tensor, old_logprob: Tensor) -> dict[str, Tensor]:
    """Per token: how far the policy has moved since the draw, as ratio and as k3 of KL(old || new). [N] each."""
    log_ratio = logprob - old_logprob
    ratio = ratio_of(log_ratio)
    # k3 with d = old - new, since the samples come from the old policy.
    return {"ratio": ratio, "kl_old": ratio - log_ratio - 1}


def ppo_clip(
    logprob: Tensor,
    old_logprob: Tensor,
    advantage: Tensor,
    clip_low: float,
    clip_high: float,
    *,
    dual_clip: float | None = None,
) -> Tensor:
    """PPO's clipped surrogate (arXiv 1707.06347, eq. 7).

    It has two bounds, as DAPO has them (clip-higher, arXiv 2503.14476, eq. 10).

        loss = max(-A rho, -A clip(rho, 1 - clip_low, 1 + clip_high)),   rho = exp(logprob - old_logprob)

    logprob, old_logprob, advantage: [N].
    clip_low, clip_high: how far below and above 1 the ratio may pull.
    dual_clip: c > 1. Where A < 0 neither bound holds a ratio that grows; with it the loss is min(loss, -c A) there
        (dual clip, arXiv 1912.09729, eq. 5). None: no such cap.
    Returns [N].

    A token that became 1.5 times as likely: with A = 1 the gain stops at 1.2; with A = -1 the loss goes on.

    >>> old = torch.tensor([0.5, 0.5]).log()
    >>> new = torch.tensor([0.75, 0.75]).log()
    >>> [round(x, 6) for x in ppo_clip(new, old, torch.tensor([1.0, -1.0]), 0.2, 0.2).tolist()]
    [-1.2, 1.5]

    Two tokens with A = -1, 2 and 5 times as likely: the loss of the second stops at c = 3, and its gradient is 0.

    >>> old = torch.tensor([0.1, 0.1]).log()
    >>> new = torch.tensor([0.2, 0.5]).log().requires_grad_()
    >>> loss = ppo_clip(new, old, torch.tensor([-1.0, -1.0]), 0.2, 0.2, dual_clip=3.0)
    >>> loss.sum().backward()
    >>> [round(x, 5) for x in loss.tolist()], [round(x, 5) for x in new.grad.tolist()]
    ([2.0, 3.0], [2.0, 0.0])
    """
    loss = clipped(ratio_of(logprob - old_logprob), advantage, clip_low=clip_low, clip_high=clip_high)
    if dual_clip is None:
        return loss
    return torch.where(advantage < 0, torch.minimum(loss, -dual_clip * advantage), loss)


def ppo_clip_metrics(
    logprob: Tensor,
    old_logprob: Tensor,
    advantage: Tensor,
    clip_low: float,
    clip_high: float,
    *,
    dual_clip: float | None = None,
) -> dict[str, Tensor]:
    """Per token: whether clipping took the gradient away (above, below, either), the ratio, and k3 of KL(old || new).

    With `dual_clip` also whether that did.

    logprob, old_logprob, advantage, clip_low, clip_high, dual_clip: as in `ppo_clip`.
    Returns figure -> [N].

    >>> old = torch.tensor([0.5, 0.5]).log()
    >>> new = torch.tensor([0.75, 0.75]).log()
    >>> ppo_clip_metrics(new, old, torch.tensor([1.0, -1.0]), 0.2, 0.2)["clip_fraction"].tolist()
    [1.0, 0.0]
    >>> dual = ppo_clip_metrics(new, old, torch.tensor([1.0, -1.0]), 0.2, 0.2, dual_clip=1.4)
    >>> dual["clip_fraction"].tolist(), dual["clip_fraction_dual"].tolist()
    ([1.0, 1.0], [0.0, 1.0])
    """
    moved = moved_figures(logprob, old_logprob)
    metrics = {**clipped_figures(moved["ratio"], advantage, clip_low=clip_low, clip_high=clip_high), **moved}
    if dual_clip is not None:
        dual = ((advantage < 0) & (moved["ratio"] > dual_clip)).float()
        metrics |= {"clip_fraction": metrics["clip_fraction"] + dual, "clip_fraction_dual": dual}
    return metrics


def likelihood(logprob: Tensor) -> Tensor:
    """Negative log-likelihood, the loss of supervised fine-tuning: -logprob. [N] -> [N].

    >>> round(likelihood(torch.tensor([0.5]).log()).item(), 4)
    0.6931
    """
    return -logprob


def shaped_trace(logprob: Tensor, advantage: Tensor, gamma: float, clip: float | None = None) -> Tensor:
    """LUFFY's policy shaping for tokens that the policy did not draw (arXiv 2504.14945, section 3.3).

        loss = -A f(p),   f(p) = p / (p + gamma),   p = exp(logprob); the gradient goes through f

    The teacher's probability is taken as 1. The weight on grad logprob is A gamma p / (p + gamma)^2: at most A / 4, at
    p = gamma, so that rare tokens are lifted most.

    logprob, advantage: [N].
    gamma: the shaping's.
    clip: f is capped there as PPO caps its ratio: beyond it a positive advantage pulls no further. None: no cap.
    Returns [N].

    >>> p = torch.tensor([0.01, 0.1, 0.9])
    >>> [round(x, 4) for x in shaped_trace(p.log(), torch.ones(3), gamma=0.1).tolist()]
    [-0.0909, -0.5, -0.9]
    """
    shaped = torch.sigmoid(logprob - math.log(gamma))  # = p / (p + gamma), without underflow
    if clip is None:
        return -advantage * shaped
    return torch.maximum(-advantage * shaped, -advantage * shaped.clamp(max=clip))


def entropy_bonus(logprob: Tensor, entropy: Tensor) -> Tensor:
    """Minus the entropy of the next-token distribution over the full vocabulary (nats). [N] -> [N].

    Minimising it keeps the policy broad.

    >>> entropy_bonus(torch.zeros(1), torch.tensor([0.5])).item()
    -0.5
    """
    return -entropy


# --- by name ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """A loss that `algorithm.loss` can name, in place of the clipped policy gradient. The fields are LossTerm's.

    function: function(logprob [N], *columns [N], **params) -> loss [N], module-level.
    columns: what it reads, in the order of its arguments.
    metrics: takes the same arguments and returns figures per token [N].
    sums: sums over the whole mini-batch, given to function and metrics as keyword `sums`.
    gathered: numbers of each token from all ranks, given as keyword `gathered`.
    vanishes: its gradient is 0 at every token whose advantage is 0, so that rows without any need not be computed.
    bounds: parameter -> least and most that it may be.
    """

    function: Callable[..., Tensor]
    columns: tuple[Any, ...] = ("old_logprob", "advantage")
    metrics: Callable[..., dict[str, Tensor]] | None = None
    sums: Callable[..., Tensor] | None = None
    gathered: Callable[..., Tensor] | None = None
    vanishes: bool = False
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)


# name -> the loss, or "module:function" of the file that has it
LOSSES: dict[str, Loss | str] = {
    "ppo_clip": Loss(ppo_clip, ("old_logprob", "advantage"), ppo_clip_metrics, vanishes=True),
    "cispo": "explore_rl.objectives.cispo:loss",
    "gspo": "explore_rl.objectives.gspo:loss",
    "clip_cov": "explore_rl.objectives.covariance:clip_cov_loss",
    "kl_cov": "explore_rl.objectives.covariance:kl_cov_loss",
}


def find_loss(name: str, options: dict[str, Any]) -> Loss:
    """The loss of that name, or what "module:function" returns.

    options: parameters it is to have. Raises InputError for one that it does not take, for one that it lacks, and for a
        value that it cannot have: no number where the default is one, or outside `Loss.bounds`.

    >>> find_loss("ppo_clip", {"clip_low": 0.2, "clip_high": 0.2}).columns
    ('old_logprob', 'advantage')
    """
    where = f"algorithm.loss={name}"
    found = LOSSES.get(name, name)
    if isinstance(found, str):
        module_name, colon, function_name = found.partition(":")
        if not colon:
            near = difflib.get_close_matches(name, LOSSES, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(LOSSES)}, or module:function"
            raise InputError(f"{where}: no such loss{hint}")
        try:
            found = getattr(importlib.import_module(module_name), function_name)()
        except (ImportError, AttributeError, TypeError) as error:
            raise InputError(f"{where}: cannot be made: {error}") from None
        if not isinstance(found, Loss):
            raise InputError(f"{where}: returned {type(found).__name__}; expected an explore_rl.objectives.losses.Loss")

    # What is left of its parameters after log-probability, columns and what the learner gives.
    parameters = list(inspect.signature(found.function).parameters.values())[1 + len(found.columns) :]
    known = [p.name for p in parameters if p.name not in ("sums", "gathered")]
    for key in options:
        if key not in known:
            raise InputError(f"algorithm.loss_options.{key}: {name} has {', '.join(known) or 'no parameters'}")
    for parameter in parameters:
        if parameter.name in known and parameter.default is parameter.empty and parameter.name not in options:
            raise InputError(f"algorithm.loss_options: {name} needs {parameter.name}")
        if parameter.name in options:
            _check_value(name, parameter, value=options[parameter.name], bounds=found.bounds)
    return found


def _check_value(
    name: str, parameter: inspect.Parameter, *, value: Any, bounds: dict[str, tuple[float, float]]
) -> None:
    """Raises InputError where the parameter is a number and `value` is none, or where it is out of bounds."""
    where = f"algorithm.loss_options.{parameter.name}={value}"
    numbers = (int, float)
    is_number = isinstance(value, numbers) and not isinstance(value, bool) and not math.isnan(value)
    wants_one = isinstance(parameter.default, numbers) and not isinstance(parameter.default, bool)
    if (wants_one or parameter.name in bounds) and not is_number:
        raise InputError(f"{where}: {name} wants a number there")
    least, most = bounds.get(parameter.name, (-math.inf, math.inf))
    if parameter.name in bounds and not least <= value <= most:
        said = f"{least:g} to {most:g}" if most < math.inf else f"at least {least:g}"
        raise InputError(f"{where}: {name} wants {said}")
