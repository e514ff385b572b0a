"""Two models' distributions as one, and a token drawn from it: the arithmetic of `explore_rl.rollout.mixture`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def mix(policy: torch.Tensor, expert: torch.Tensor, limit: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """log pi_mix [n, V], w [n] and the policy's entropy [n].

    policy, expert: log-probabilities, float32 [n, V].

    >>> one, other = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    >>> logs, weight, entropy = mix(one, other, limit=2 * float(np.log(2)))
    >>> logs.exp().tolist(), weight.tolist()
    ([[0.375, 0.625]], [0.5])
    """
    entropy = -(policy.exp() * policy).nan_to_num(nan=0.0).sum(-1)
    weight = (entropy / limit).clamp(max=1.0) if limit > 0 else torch.ones_like(entropy)
    mixed = torch.logaddexp(torch.log1p(-weight)[:, None] + policy, torch.log(weight)[:, None] + expert)
    return mixed, weight, entropy


def pick(logprobs: torch.Tensor, places: Sequence[tuple[int, int]]) -> torch.Tensor:
    """One token a row, int64 [n], drawn by one uniform number that hangs on the row's place alone.

    logprobs: of the next token, [n, V].
    places: (seed of the completion, position in it) of each row.

    >>> pick(torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]]), [(7, 0), (7, 0)]).tolist()
    [0, 1]
    """
    uniform = [np.random.Generator(np.random.Philox(key=seed, counter=at)).random() for seed, at in places]
    summed = logprobs.double().exp().cumsum(-1)
    points = torch.tensor(uniform, dtype=torch.float64, device=logprobs.device) * summed[:, -1]
    return torch.searchsorted(summed, points[:, None], right=True)[:, 0].clamp(max=logprobs.shape[1] - 1)
