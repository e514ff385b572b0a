"""Clip-Cov and KL-Cov (arXiv 2505.22617): `algorithm.loss: clip_cov` and `kl_cov`. See docs/methods/covariance.md.

Both hold back the tokens that lower the policy's entropy most: those whose log-probability and advantage are large
together,

    cov_t = (logprob_t - mean logprob) (A_t - mean A),   means over all tokens of the mini-batch, on all ranks.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from explore_rl.objectives.losses import Loss, clipped, clipped_figures, moved_figures, ratio_of

ROUNDING = 1e-5  # nats; a log-probability that has moved less has not moved, and the sign of the difference is noise


def clip_cov(
    logprob: Tensor,
    old_logprob: Tensor,
    advantage: Tensor,
    clip_low: float = 1.0,
    clip_high: float = 1.0,
    cov_low: float = 1.0,
    cov_high: float = 5.0,
    share: float = 2e-4,
    *,
    gathered: Tensor,
) -> Tensor:
    """PPO's clipped surrogate, and nothing at all for a few tokens drawn from those of large covariance.

    logprob, old_logprob, advantage: [N].
    clip_low, clip_high: 1 and 1 hardly ever clip, as the paper has it.
    cov_low, cov_high: between these are the covariances of the tokens to draw from.
    share: how many tokens of the mini-batch are drawn, on average; one at least; 0: none.
    gathered: what `of_tokens` gives of all tokens, [tokens, 3].
    Returns [N].

    Four tokens with a mean log-probability of -1.5 and a mean advantage of 0. Their covariances are 3, -1, -.25 and
    .75; the first alone is between 1 and 5.

    >>> logprob, advantage = torch.tensor([0.0, -1.0, -2.0, -3.0]), torch.tensor([2.0, -2.0, 0.5, -0.5])
    >>> every = of_tokens(logprob, logprob, advantage)
    >>> clip_cov(logprob, logprob, advantage, share=0.25, gathered=every).tolist()
    [0.0, 2.0, -0.5, 0.5]
    """
    ratio = ratio_of(logprob - old_logprob)
    bounds = {"clip_low": clip_low, "clip_high": clip_high, "cov_low": cov_low, "cov_high": cov_high}
    taken = drawn(logprob, old_logprob, advantage=advantage, **bounds, share=share, gathered=gathered)
    return torch.where(taken, 0.0, clipped(ratio, advantage, clip_low=clip_low, clip_high=clip_high))


def kl_cov(
    logprob: Tensor,
    old_logprob: Tensor,
    advantage: Tensor,
    share: float = 2e-3,
    coefficient: float = 1.0,
    *,
    gathered: Tensor,
) -> Tensor:
    """The unclipped surrogate, and a pull back for the tokens of the largest covariance.

        loss = -A rho + [cov among the largest] coefficient |logprob - old_logprob|

    logprob, old_logprob, advantage: [N].
    share: how many of the mini-batch's tokens; one at least, and those that tie with the last.
    coefficient: of the pull back.
    gathered: what `of_tokens` gives of all tokens, [tokens, 3].
    Returns [N].

    Three tokens that have become twice as likely. Their covariances are .46, .23 and 0; the first third is pulled back.

    >>> logprob, advantage = torch.tensor([0.8, 0.2, 0.4]).log(), torch.tensor([1.0, 0.0, 0.0])
    >>> old = logprob - math.log(2)
    >>> loss = kl_cov(logprob, old, advantage, share=0.34, gathered=of_tokens(logprob, old, advantage))
    >>> [round(x, 4) for x in loss.tolist()]
    [-1.3069, 0.0, 0.0]
    """
    drift = (logprob - old_logprob).abs()
    held = (covariance(logprob, advantage, gathered=gathered) >= least_of_top(gathered, share)) & (drift > ROUNDING)
    return -advantage * ratio_of(logprob - old_logprob) + torch.where(held, coefficient * drift, 0.0)


def clip_cov_metrics(
    logprob: Tensor,
    old_logprob: Tensor,
    advantage: Tensor,
    clip_low: float = 1.0,
    clip_high: float = 1.0,
    cov_low: float = 1.0,
    cov_high: float = 5.0,
    share: float = 2e-4,
    *,
    gathered: Tensor,
) -> dict[str, Tensor]:
    """Per token: whether it was left out, its covariance, whether clipping holds it, the ratio and k3.

    logprob, old_logprob, advantage, clip_low, clip_high, cov_low, cov_high, share, gathered: as in `clip_cov`.
    Returns figure -> [N].
    """
    bounds = {"clip_low": clip_low, "clip_high": clip_high, "cov_low": cov_low, "cov_high": cov_high}
    taken = drawn(logprob, old_logprob, advantage=advantage, **bounds, share=share, gathered=gathered)
    moved = moved_figures(logprob, old_logprob)
    return {
        "left_out": taken.float(),
        "covariance": covariance(logprob, advantage, gathered=gathered),
        **clipped_figures(moved["ratio"], advantage, clip_low=clip_low, clip_high=clip_high),
        **moved,
    }


def kl_cov_metrics(
    logprob: Tensor,
    old_logprob: Tensor,
    advantage: Tensor,
    share: float = 2e-3,
    coefficient: float = 1.0,
    *,
    gathered: Tensor,
) -> dict[str, Tensor]:
    """Per token: whether it is among the largest, its covariance, the ratio and k3.

    logprob, old_logprob, advantage, share, coefficient, gathered: as in `kl_cov`.
    Returns figure -> [N].
    """
    cov = covariance(logprob, advantage, gathered=gathered)
    largest = (cov >= least_of_top(gathered, share)).float()
    return {"pulled_back": largest, "covariance": cov, **moved_figures(logprob, old_logprob)}


def of_tokens(
    logprob: Tensor,
    old_logprob: Tensor,
    advantage: Tensor,
    clip_low: float = math.inf,
    clip_high: float = math.inf,
    **_: Any,
) -> Tensor:
    """What both have to know of every token, [N, 3]: log-probability, advantage, and 1 where clipping holds it.

    logprob, old_logprob, advantage: [N].
    clip_low, clip_high: the clipping's; infinite: nothing is held.
    """
    ratio = ratio_of(logprob - old_logprob)
    held = clipped_figures(ratio, advantage, clip_low=clip_low, clip_high=clip_high)["clip_fraction"]
    return torch.stack([logprob, advantage, held.to(logprob.dtype)], dim=1)


def covariance(logprob: Tensor, advantage: Tensor, *, gathered: Tensor) -> Tensor:
    """cov of tokens, [N], float64 and without gradient. gathered: of all tokens of the mini-batch."""
    means = gathered.double().mean(0)
    return (logprob.detach().double() - means[0]) * (advantage.double() - means[1])


def least_of_top(gathered: Tensor, share: float) -> Tensor:
    """From which covariance on a token is among the top `share`: half-way to the next, so that rounding moves none."""
    every = covariance(gathered[:, 0], gathered[:, 1], gathered=gathered)
    count = max(1, int(share * len(every)))
    largest = every.topk(min(count + 1, len(every))).values
    return largest[-2:].mean() if count < len(every) else largest[-1]


def drawn(
    logprob: Tensor,
    old_logprob: Tensor,
    *,
    advantage: Tensor,
    clip_low: float,
    clip_high: float,
    cov_low: float,
    cov_high: float,
    share: float,
    gathered: Tensor,
) -> Tensor:
    """Which tokens Clip-Cov leaves out, bool [N].

    The lot of a token is a hash of its old log-probability and advantage: the same however the mini-batch is cut.

    logprob, old_logprob, advantage, clip_low, clip_high, cov_low, cov_high, share, gathered: as in `clip_cov`.
    """

    def eligible(tokens: Tensor) -> Tensor:
        cov = covariance(tokens[:, 0], tokens[:, 1], gathered=gathered)
        return (cov > cov_low) & (cov < cov_high) & (tokens[:, 2] == 0)

    wanted = max(1, int(share * len(gathered))) if share else 0
    chance = wanted / max(1, int(eligible(gathered).sum()))
    own = of_tokens(logprob.detach(), old_logprob, advantage, clip_low, clip_high)
    return eligible(own) & (lots(old_logprob, advantage) < chance)


def lots(old_logprob: Tensor, advantage: Tensor) -> Tensor:
    """A number in [0, 1) for each token, as if drawn at random, from the bits of what does not change. [N] -> [N]."""
    first, second = (x.float().contiguous().view(torch.int32).long() for x in (old_logprob, advantage))
    mixed = (first * 2654435761 + second * 40503 + 97) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 16)) * 73244475) & 0xFFFFFFFF
    return (mixed ^ (mixed >> 16)).double() / 2**32


def clip_cov_loss() -> Loss:
    """As `algorithm.loss` takes it."""
    bounds = {"clip_low": (0.0, 1.0), "clip_high": (0.0, math.inf), "share": (0.0, 1.0)}
    return Loss(clip_cov, metrics=clip_cov_metrics, gathered=of_tokens, bounds=bounds)


def kl_cov_loss() -> Loss:
    """As `algorithm.loss` takes it."""
    bounds = {"share": (0.0, 1.0), "coefficient": (0.0, math.inf)}
    return Loss(kl_cov, metrics=kl_cov_metrics, gathered=of_tokens, bounds=bounds)
