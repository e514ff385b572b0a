"""What the tests of engines share."""

import torch

from explore_rl.rollout.stream import Stream
from explore_rl.training.actors import Actors
from explore_rl.transfer.sync import WeightSync

# Of the session's engines: a harmless setting, to be read back, and both logits processors.
ENGINE = {
    "max_logprobs": 24,
    "logits_processors": ["explore_rl.rollout.mixture:TokenMixture", "explore_rl.rollout.flat:FlatDraws"],
    "additional_config": {"expert": {"model": "lab:worked"}},
    "async_scheduling": False,
}


class Borrowed(Actors):
    """Actors that others started, put together anew; whoever started them closes them."""

    def __init__(self, config, learner, engines, *, verifiers=None, layout=None):
        self.config, self.learner, self.engines = config, learner, engines
        self.verifiers, self.layout = verifiers, layout
        self.weights = WeightSync(learner, engines)
        self.stream = Stream(engines)
        learner.apply(forget_engines)

    def close(self):
        """The ranks may be asked to send to others next."""
        if self.learner.actors:
            self.learner.apply(forget_engines)


def _forget_engines():
    def forget(rank):
        rank.transfer = None

    return forget


forget_engines = _forget_engines()  # nested, so that it travels to the rank by value


def disturb(rank, seed):
    """Moves every weight by a tenth of its spread, the same way on every rank.

    With ZeRO-3 the shards are made whole for it.
    """
    import deepspeed

    torch.manual_seed(seed)
    for p in rank.model.parameters():
        with deepspeed.zero.GatheredParameters([p], modifier_rank=0, enabled=hasattr(p, "ds_id")), torch.no_grad():
            p.add_(0.1 * p.std() * torch.randn_like(p))
