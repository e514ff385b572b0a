"""Estimators of KL(policy || reference) per token, from the log-probabilities of what the policy drew.

With d = logprob - reference_logprob on draws from the policy (http://joschu.net/blog/kl-approx.html):

    k1 = d                 unbiased, may be negative; as a loss its expected gradient is zero, so it is for rewards only
    k2 = d^2 / 2           biased in value; as a loss its gradient is that of KL(policy || reference)
    k3 = exp(-d) + d - 1   unbiased, never negative; as a loss its gradient is that of KL(reference || policy)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MAX_LOG_RATIO = 20.0


def k1(logprob: Tensor, reference_logprob: Tensor) -> Tensor:
    """d. [N], [N] -> [N].

    >>> round(k1(torch.tensor([0.5]).log(), torch.tensor([0.25]).log()).item(), 4)
    0.6931
    """
    return logprob - reference_logprob


def k2(logprob: Tensor, reference_logprob: Tensor) -> Tensor:
    """d^2 / 2. [N], [N] -> [N].

    >>> round(k2(torch.tensor([0.5]).log(), torch.tensor([0.25]).log()).item(), 4)
    0.2402
    """
    return (logprob - reference_logprob).square() / 2


def k3(logprob: Tensor, reference_logprob: Tensor) -> Tensor:
    """exp(-d) + d - 1, the exponent capped at 20. [N], [N] -> [N]. GRPO's own KL term (arXiv 2402.03300, eq. 4).

    >>> round(k3(torch.tensor([0.5]).log(), torch.tensor([0.25]).log()).item(), 4)
    0.1931
    """
    d = logprob - reference_logprob
    return torch.exp((-d).clamp(max=MAX_LOG_RATIO)) + d - 1


def in_reward(name: str, logprob: np.ndarray, *, reference_logprob: np.ndarray) -> float:
    """The estimate of a whole sequence, to be subtracted from its reward: the sum of k1, k2 or k3 over its tokens.

    name: "k1", "k2" or "k3". [T], [T] -> number, computed in float64.

    >>> round(in_reward("k1", np.log([0.5, 0.5]), reference_logprob=np.log([0.25, 0.5])), 4)
    0.6931
    """
    estimator = {"k1": k1, "k2": k2, "k3": k3}[name]
    policy = torch.as_tensor(np.asarray(logprob, dtype=np.float64))
    reference = torch.as_tensor(np.asarray(reference_logprob, dtype=np.float64))
    return float(estimator(policy, reference).sum())
