"""CISPO, the loss of MiniMax-M1 (arXiv 2506.13585): `algorithm.loss: cispo`. See docs/methods/cispo.md."""

from __future__ import annotations

import math

from torch import Tensor

from explore_rl.objectives.losses import Loss, moved_figures, ratio_of


def cispo(
    logprob: Tensor, old_logprob: Tensor, advantage: Tensor, clip_low: float = 1.0, clip_high: float = 4.0
) -> Tensor:
    """The policy gradient with an importance weight that is capped and held constant, so that no token drops out.

        loss = -A sg[clip(rho, 1 - clip_low, 1 + clip_high)] logprob,   rho = exp(logprob - old_logprob)

    logprob, old_logprob, advantage: [N].
    clip_low: 1 is no lower bound, as in the paper.
    clip_high: the paper does not say; 4 is a weight of at most 5, from within the 4 to 8 of arXiv 2510.13786.
    Returns [N].

    Two tokens with A = 1, 2 and 8 times as likely as at the draw: both still pull, with weights 2 and 5.

    >>> import torch
    >>> old, new = torch.tensor([0.1, 0.1]).log(), torch.tensor([0.2, 0.8]).log().requires_grad_()
    >>> cispo(new, old, torch.ones(2)).sum().backward()
    >>> [round(x, 5) for x in new.grad.tolist()]
    [-2.0, -5.0]
    """
    weight = ratio_of((logprob - old_logprob).detach()).clamp(1 - clip_low, 1 + clip_high)
    return -advantage * (weight * logprob)


def cispo_metrics(
    logprob: Tensor, old_logprob: Tensor, advantage: Tensor, clip_low: float = 1.0, clip_high: float = 4.0
) -> dict[str, Tensor]:
    """Per token: whether the weight is capped, the ratio, and k3 of KL(old || new).

    logprob, old_logprob, advantage, clip_low, clip_high: as in `cispo`.
    Returns figure -> [N].
    """
    moved = moved_figures(logprob, old_logprob)
    outside = (moved["ratio"] > 1 + clip_high) | (moved["ratio"] < 1 - clip_low)
    return {"capped": outside.float(), **moved}


def loss() -> Loss:
    """As `algorithm.loss` takes it."""
    return Loss(cispo, metrics=cispo_metrics, vanishes=True, bounds={"clip_low": (0, 1), "clip_high": (0, math.inf)})
