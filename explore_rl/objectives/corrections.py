"""Importance weights for samples that another distribution than the trained policy drew.

They are constants of the loss: arrays without gradient.
"""

from __future__ import annotations

import numpy as np

MAX_LOG_RATIO = 20.0


def truncated_importance(old_logprob: np.ndarray, rollout_logprob: np.ndarray, *, cap: float) -> np.ndarray:
    """min(pi_old / pi_rollout, cap) per token: corrects for the trainer's and the engine's different arithmetic.

    Both compute with the same weights. Truncated importance sampling (https://fengyao.notion.site/off-policy-rl).
    [T], [T] -> [T]; without meaning at given tokens, of which no engine has a log-probability.

    >>> truncated_importance(np.log([0.5, 0.5]), np.log([0.25, 0.1]), cap=3.0).round(6).tolist()
    [2.0, 3.0]
    """
    gap = np.asarray(old_logprob, dtype=np.float64) - np.asarray(rollout_logprob, dtype=np.float64)
    return np.minimum(np.exp(np.clip(gap, -MAX_LOG_RATIO, MAX_LOG_RATIO)), cap)


def mixture_weight(logprob: np.ndarray, component_logprobs: np.ndarray, *, shares: np.ndarray) -> np.ndarray:
    """w(y) = pi(y) / sum_j share_j q_j(y), the balance heuristic (Veach and Guibas 1995, section 3.3).

    One weight a sequence, in float64. With the policy itself among the components, w <= 1 / share_policy.

    logprob: [n] of whole sequences, end token included, under the policy that is trained.
    component_logprobs: [components, n], the same sequences under every component that could have drawn them.
    shares: [components], or [components, n] where they differ between sequences; sum 1 over the components, and above 0
        for the policy.
    Returns [n].

    Half from the policy, half from a component that gives y twice the probability: w = p / (p / 2 + 2 p / 2) = 2/3.

    >>> policy, other = np.log([0.1]), np.log([0.2])
    >>> mixture_weight(policy, np.stack([policy, other]), shares=np.array([0.5, 0.5])).round(6).tolist()
    [0.666667]
    """
    from scipy.special import logsumexp  # a tenth of a second, for mixtures alone

    components = np.asarray(component_logprobs, dtype=np.float64)
    shares = np.asarray(shares, dtype=np.float64).reshape(len(components), -1)
    with np.errstate(divide="ignore"):  # a component without a share adds nothing
        log_shares = np.log(shares)
    log_mixture = np.asarray(logsumexp(components + log_shares, axis=0))
    return np.exp(np.asarray(logprob, dtype=np.float64) - log_mixture)
