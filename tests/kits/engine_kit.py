"""What the tests of engines share."""

import torch


def disturb(rank, seed):
    """Moves every weight by a tenth of its spread, the same way on every rank.

    With ZeRO-3 the shards are made whole for it.
    """
    import deepspeed

    torch.manual_seed(seed)
    for p in rank.model.parameters():
        with deepspeed.zero.GatheredParameters([p], modifier_rank=0, enabled=hasattr(p, "ds_id")), torch.no_grad():
            p.add_(0.1 * p.std() * torch.randn_like(p))
