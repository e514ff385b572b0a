"""FlowRL (arXiv 2509.15207): the policy is to match a distribution of rewards, by a trajectory balance per completion.

Acts at: keep (the rows of the policy gradient feed the term in its place), terms.

    L = w (log Z(x) + mean_t log pi(y_t) - beta r - mean_t log pi_base(y_t))^2
    w = clip(pi(y) / pi_old(y), 1 - clip, 1 + clip), a constant;   r = the advantage, whoever made it

so that pi ~ pi_base e^(beta r) / Z with lengths normalised away. log Z is a head on the policy: three layers, as in the
paper, on the hidden state of the prompt's last token. Its gradient goes into the trunk too. The loss is the same at
each token of a completion, so aggregation=sequence makes it the mean over completions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from explore_rl.config.schema import Config
from explore_rl.objectives import readouts
from explore_rl.objectives.losses import MAX_LOG_RATIO
from explore_rl.objectives.terms import SEQUENCE, LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Needs, StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT
from explore_rl.strategies.builtin.kl import base_logprob
from explore_rl.strategies.rivals import refuse_second_balance, take_its_place
from explore_rl.types import Group, Problem


class FlowRL(Strategy):
    """Puts the flow balance in the policy gradient's place.

    beta: how sharply the target follows the reward.
    clip: how far the weight of a completion may be from 1.
    share: the balance's part in the loss; the rest is the policy gradient. 0: GRPO, with a log Z that does not learn.
    """

    name = "flow_rl"
    reads_policy = False
    acts_on_draws = True
    trial = Trial(off={"share": 0.0})

    def __init__(self, *, beta: float = 15.0, clip: float = 0.2, share: float = 1.0):
        self.beta = parameters.number("beta", beta, above=0)
        self.clip = parameters.number("clip", clip, above=0)
        self.share = parameters.share("share", share)
        self.biases = "the balance is no policy gradient" if self.share else ""

    def needs(self, config: Config) -> Needs:
        return Needs(columns=(base_logprob(config),), heads=("log_z",))

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        refuse_second_balance(self, others)

    def terms(self, config: Config) -> list[LossTerm]:
        return [
            LossTerm(
                name="flow_balance",
                function=flow_balance,
                columns=("old_logprob", "base_logprob", "worth", readouts.head("log_z"), SEQUENCE),
                params={"beta": self.beta, "clip": self.clip},
                normaliser=POLICY_GRADIENT,
                metrics=flow_metrics,
            )
        ]

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        balanced = 0
        for sample in (s for g in groups for s in g.samples):
            if "base_logprob" in sample.columns:
                balanced += take_its_place(sample, "flow_balance", share=self.share)
        context.metrics["balanced"] = context.metrics.get("balanced", 0.0) + balanced
        return groups, 0


def flow_balance(
    logprob: Tensor,
    old_logprob: Tensor,
    base_logprob: Tensor,
    reward: Tensor,
    log_z: Tensor,
    sequence: Tensor,
    *,
    beta: float,
    clip: float,
) -> Tensor:
    """The loss of its completion at each token.

    logprob: the policy's, float [N], with gradient.
    old_logprob: of the policy that drew, float [N].
    base_logprob: under the base, float [N].
    reward: r, the same at each token of a completion, float [N].
    log_z: what the head gives, float [N], with gradient; the one at a completion's first token is used.
    sequence: which completion a token belongs to, int64 [N], from 0, tokens in order.
    beta: how sharply the target follows the reward.
    clip: how far the weight of a completion may be from 1.
    Returns [N].

    One completion of two tokens, each .5 nats less likely than under the base, with r = .1 and log Z = 1: the bracket
    is 1 - .5 - 15 x .1 = -1.

    >>> lp, flat = torch.tensor([-1.5, -1.5]), torch.ones(2)
    >>> flow_balance(lp, lp, lp + 0.5, 0.1 * flat, flat, torch.tensor([0, 0]), beta=15.0, clip=0.2).tolist()
    [1.0, 1.0]
    """
    count = torch.bincount(sequence)
    first = count.cumsum(0) - count  # the place of each completion's first token
    nothing = logprob.new_zeros(len(count))
    mean = nothing.index_add(0, sequence, logprob - beta * reward - base_logprob) / count
    log_weight = nothing.index_add(0, sequence, logprob.detach() - old_logprob)
    weight = log_weight.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp().clamp(1 - clip, 1 + clip)
    return (weight * (log_z[first] + mean) ** 2)[sequence]


def flow_metrics(
    logprob: Tensor, old_logprob: Tensor, base: Tensor, reward: Tensor, log_z: Tensor, *_: Tensor, **__: float
) -> dict[str, Tensor]:
    """Per token: the head's value, there.

    logprob, old_logprob, base, reward: [N]; not looked at.
    log_z: what the head gives, [N].
    """
    return {"log_z": log_z}
