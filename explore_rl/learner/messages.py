"""What the learner answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class TokenLogprobs:
    """What the model says of one sequence's completion, float32 [T] each, in nats.

    logprob: log-probability of each token.
    entropy: of the distribution that each token was drawn from; None unless asked for.
    """

    logprob: np.ndarray
    entropy: np.ndarray | None = None


@dataclass
class UpdateReport:
    """One optimizer step, over all ranks.

    finite: loss and gradient were finite on every rank; otherwise no step was made, and loss and grad_norm are NaN.
    loss: the minimised sum.
    grad_norm: the gradient's norm before clipping.
    learning_rate: of this step.
    metrics: "<term>/loss" is the term's part of the loss, "<term>/<figure>" a mean over its unmasked tokens.
    tokens: unmasked completion tokens.
    padding_fraction: share of padding among the tokens that went through the model.
    """

    finite: bool
    loss: float
    grad_norm: float
    learning_rate: float
    metrics: dict[str, float]
    tokens: int
    padding_fraction: float
