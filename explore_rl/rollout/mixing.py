"""The arithmetic of logits processors: two models' distributions as one (`mixture`), and a flat one (`flat`)."""

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


def flatten(policy: torch.Tensor, *, top: int, least: float) -> torch.Tensor:
    """Log of the uniform distribution over the likely tokens of each row, [n, V].

    policy: log-probabilities [n, V].
    top: how many of the most probable ones at most.
    least: the probability that one has to exceed, but for the most probable.

    >>> flatten(torch.tensor([[0.5, 0.1, 0.3, 0.1]]).log(), top=3, least=0.2).exp().tolist()
    [[0.5, 0.0, 0.5, 0.0]]
    """
    values, tokens = policy.topk(min(top, policy.shape[1]), dim=1)
    kept = values.exp() > least
    kept[:, 0] = True
    even = torch.where(kept, -kept.sum(dim=1, keepdim=True).log().to(policy.dtype), float("-inf"))
    return torch.full_like(policy, float("-inf")).scatter(1, tokens, even)
