"""GSPO (arXiv 2507.18071): clipping by the ratio of whole sequences. `algorithm.loss: gspo`; docs/methods/gspo.md."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from explore_rl.objectives.losses import Loss, clipped, clipped_figures, moved_figures, ratio_of
from explore_rl.objectives.terms import SEQUENCE


def gspo(
    logprob: Tensor,
    old_logprob: Tensor,
    advantage: Tensor,
    sequence: Tensor,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
) -> Tensor:
    """PPO's clipped surrogate (eq. 5) on the ratio of a sequence (eq. 7), written for each token (eq. 13 and 14).

        s = exp(mean over the sequence's tokens of (logprob - old_logprob))
        loss_t = max(-A s_t, -A clip(s_t, 1 - clip_low, 1 + clip_high)),   s_t = sg[s] pi_t / sg[pi_t]

    With one advantage a sequence and `aggregation: sequence`, value and gradient are those of the sequence's own loss.

    logprob, old_logprob, advantage: [N].
    sequence: int64 [N], which sequence a token belongs to; the tokens of one stand together.
    clip_low, clip_high: those of the paper. The mean makes s much narrower than a token's ratio.
    Returns [N].

    A sequence of two tokens, one 1.21 times as likely, one as before: s = 1.1 for both. The other was not moved.

    >>> old, new = torch.tensor([0.5, 0.5, 0.5]).log(), torch.tensor([0.605, 0.5, 0.5]).log()
    >>> [round(x, 5) for x in gspo(new, old, torch.ones(3), torch.tensor([0, 0, 1]), 0.2, 0.2).tolist()]
    [-1.1, -1.1, -1.0]
    """
    return clipped(
        sequence_ratio(logprob, old_logprob, sequence=sequence), advantage, clip_low=clip_low, clip_high=clip_high
    )


def sequence_ratio(logprob: Tensor, old_logprob: Tensor, *, sequence: Tensor) -> Tensor:
    """s_t of `gspo`, [N]: the same number for each token of a sequence, with the gradient of that token alone."""
    mean = torch.segment_reduce((logprob - old_logprob).detach(), "mean", lengths=sequence.bincount())
    return ratio_of(mean[sequence] + (logprob - logprob.detach()))


def gspo_metrics(
    logprob: Tensor,
    old_logprob: Tensor,
    advantage: Tensor,
    sequence: Tensor,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
) -> dict[str, Tensor]:
    """Per token: whether its sequence is clipped (above, below, either), s, and the token's own ratio and k3.

    logprob, old_logprob, advantage, sequence, clip_low, clip_high: as in `gspo`.
    Returns figure -> [N].
    """
    ratio = sequence_ratio(logprob, old_logprob, sequence=sequence)
    figures = clipped_figures(ratio, advantage, clip_low=clip_low, clip_high=clip_high)
    return {**figures, "sequence_ratio": ratio, **moved_figures(logprob, old_logprob)}


def loss() -> Loss:
    """As `algorithm.loss` takes it."""
    bounds = {"clip_low": (0.0, 1.0), "clip_high": (0.0, math.inf)}
    return Loss(
        gspo,
        ("old_logprob", "advantage", SEQUENCE),
        gspo_metrics,
        vanishes=True,
        bounds=bounds,
    )
