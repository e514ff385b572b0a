"""PPO with a critic (arXiv 1707.06347), advantages by GAE (arXiv 1506.02438, eq. 16).

Acts at: keep (a token's own advantage in place of the group's, when every strategy has added its own), terms.

With V_t the critic's value before token t, V = 0 after the last one, and the reward r at the last token alone:

    delta_t = r_t + gamma V_{t+1} - V_t,   A_t = sum_l (gamma lambda)^l delta_{t+l},   R_t = A_t + V_t
    critic:   1/2 max( (V - R)^2, (V_old + clip(V - V_old, -c, c) - R)^2 )

With gamma = lambda = 1, as RLVR has them, A_t = r - V_t. Groups are drawn as ever, but nothing compares their members.

A critic that knows nothing yet makes bad advantages. So it may learn alone for the first steps, from fresh draws of a
policy that stays as it is (value pre-training: VC-PPO, arXiv 2503.01491, section 4.1; VAPO, arXiv 2504.05118).
"""

from __future__ import annotations

import numpy as np
import torch

from explore_rl.config.schema import Config
from explore_rl.objectives import readouts
from explore_rl.objectives.terms import LossTerm
from explore_rl.objectives.values import explained_variance
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Column, Needs, StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import against_group
from explore_rl.strategies.rivals import refuse_rivals
from explore_rl.types import Group, Problem


class Ppo(Strategy):
    """Gives every token the advantage that the critic sees, and trains the critic.

    gamma: discount a token, in [0, 1].
    gae_lambda: how far GAE looks past the next value, in [0, 1].
    value_clip: how far a value may move from the one at the start of the step before its loss is clipped; None: free.
    whiten: whether a draw's advantages are brought to mean 0 and deviation 1, over all tokens.
    share: the critic's part in a token's advantage; the rest is the group's. 0: GRPO, and the critic learns beside it.
    critic_warmup: steps in which the critic alone learns.
    """

    name = "ppo"
    reads_policy = False
    acts_on_draws = True
    trial = Trial(off={"share": 0.0})

    def __init__(
        self,
        *,
        gamma: float = 1.0,
        gae_lambda: float = 1.0,
        value_clip: float | None = 0.2,
        whiten: bool = True,
        share: float = 1.0,
        critic_warmup: int = 0,
    ):
        self.gamma = parameters.share("gamma", gamma)
        self.gae_lambda = parameters.share("gae_lambda", gae_lambda)
        self.value_clip = float("inf") if value_clip is None else parameters.number("value_clip", value_clip, above=0)
        self.whiten = parameters.flag("whiten", whiten)
        self.biases = "whiten=true divides by a spread that looks at the sample itself" if whiten else ""
        self.share = parameters.share("share", share)
        self.own_baseline = self.share == 1
        self.critic_warmup = parameters.whole("critic_warmup", critic_warmup, least=0)

    def needs(self, config: Config) -> Needs:
        return Needs(critic=True, columns=(Column("value", "critic", readouts.VALUE),), writes=("return",))

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        refuse_rivals(self, others)

    def terms(self, config: Config) -> list[LossTerm]:
        return [
            LossTerm(
                name="value",
                function=value_loss,
                columns=("value", "return"),
                params={"clip": self.value_clip},
                normaliser="value",
                model="critic",
            )
        ]

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        for sample in (s for g in groups for s in g.samples if context.number < self.critic_warmup):
            sample.terms = {}  # nothing moves the policy
        drawn = [
            (sample, own)
            for group in groups
            for sample, own in against_group(group, context.config)
            if sample.rollout.drawn and "value" in sample.columns
        ]
        if not drawn:
            return groups, 0
        found = []
        for sample, _ in drawn:
            value = sample.columns["value"].astype(np.float64)
            found.append(gae(float(sample.reward or 0.0), value, gamma=self.gamma, gae_lambda=self.gae_lambda))
            sample.columns["return"] = (found[-1] + value).astype(np.float32)
            sample.terms = {**sample.terms, "value": 1.0}

        # No update has seen these groups yet.
        joined = np.concatenate(found)
        known = [np.concatenate([sample.columns[name] for sample, _ in drawn]) for name in ("value", "return")]
        context.metrics["explained_variance"] = explained_variance(*known)
        shift, scale = (joined.mean(), joined.std() + 1e-8) if self.whiten else (0.0, 1.0)
        for (sample, own), value in zip(drawn if self.share else [], found, strict=False):
            # The rest: the group's share, and what other strategies have added.
            whole = self.share * ((value - shift) / scale - own) + sample.columns.get("advantage", sample.advantage)
            sample.columns["advantage"] = whole.astype(np.float32)
        return groups, 0


def gae(reward: float, values: np.ndarray, *, gamma: float, gae_lambda: float) -> np.ndarray:
    """A_t of one completion (arXiv 1506.02438, eq. 16), [T].

    reward: at its last token.
    values: before each token, [T].
    gamma, gae_lambda: the paper's discount and lambda.

    With gamma = .9 and lambda = .5 by hand: the deltas are .9 x .4 - .2 = .16 and 1 - .4 = .6; A_1 = .16 + .45 x .6.

    >>> gae(1.0, np.array([0.2, 0.4]), gamma=0.9, gae_lambda=0.5).round(6).tolist()
    [0.43, 0.6]
    >>> gae(1.0, np.array([0.2, 0.4]), gamma=1.0, gae_lambda=1.0).round(6).tolist()
    [0.8, 0.6]
    """
    found = np.append(gamma * values[1:], reward) - values  # the deltas
    for t in range(len(found) - 2, -1, -1):
        found[t] += gamma * gae_lambda * found[t + 1]
    return found


def value_loss(value: torch.Tensor, old: torch.Tensor, target: torch.Tensor, *, clip: float) -> torch.Tensor:
    """1/2 max( (V - R)^2, (clipped V - R)^2 ), where V is clipped to V_old +- clip.

    value: V, the critic's, [N], with gradient.
    old: V_old, the one before the update, [N].
    target: R, the return, [N].
    clip: how far V may move from V_old, above 0.
    Returns [N].

    From .5 up to .8 with R = 1: the clipped value stays at .7, so the loss is .3^2 / 2 and has no gradient.

    >>> old, new, target = torch.tensor([0.5]), torch.tensor([0.8], requires_grad=True), torch.tensor([1.0])
    >>> loss = value_loss(new, old, target, clip=0.2)
    >>> loss.sum().backward()
    >>> round(loss.item(), 6), new.grad.item()
    (0.045, 0.0)
    """
    clipped = old + (value - old).clamp(-clip, clip)
    return torch.maximum((value - target) ** 2, (clipped - target) ** 2) / 2
