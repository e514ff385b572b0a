"""Two models' distributions as one: the arithmetic of `explore_rl.rollout.mixture`."""

from __future__ import annotations

import torch


def mix(policy: torch.Tensor, expert: torch.Tensor, *, limits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log pi_mix [n, V], and the expert's share w [n].

    policy, expert: log-probabilities, float32 [n, V].
    limits: entropies in nats from which the expert speaks alone, above 0, [n]; infinite: the policy alone.

    >>> one, other = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    >>> logs, weight = mix(one, other, limits=2 * torch.tensor([2.0]).log())
    >>> logs.exp().tolist(), weight.tolist()
    ([[0.375, 0.625]], [0.5])
    """
    entropy = -(policy.exp() * policy).nan_to_num(nan=0.0).sum(-1)
    weight = (entropy / limits).clamp(max=1.0)
    return torch.logaddexp(torch.log1p(-weight)[:, None] + policy, weight.log()[:, None] + expert), weight
