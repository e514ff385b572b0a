"""Trajectory balance with replay (TBA, arXiv 2503.18929): completions, fresh and stored, weigh what they are worth.

Acts at: inject (stored successes of the problem join the group), keep (its rows feed the term in the policy gradient's
place; this draw's successes are stored), terms, state (the bank).

    L = (log Z + log pi(y) - log pi_base(y) - A / beta)^2
    log Z = mean over the group of (log pi_base(y) - log pi(y) + A / beta), at the start of the step, a constant

so that pi ~ pi_base e^(A / beta) / Z. A is the advantage, whoever made it: with `algorithm.advantage=dr_grpo` that is
the reward less a constant of the group, which log Z takes in. It holds for any completion, whoever drew it and when, so
that replays need no weight. The loss is the same at each token of a completion.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from explore_rl.config.schema import Config
from explore_rl.objectives.terms import SEQUENCE, LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Needs, StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT
from explore_rl.strategies.builtin.kl import base_logprob
from explore_rl.strategies.replay import Bank, WithBank
from explore_rl.strategies.rivals import refuse_second_balance, take_its_place
from explore_rl.strategies.signal import WORTH, token_worth
from explore_rl.types import Group, Problem, Sample

TERM = "trajectory_balance"


class TrajectoryBalance(WithBank):
    """Puts the balance in the policy gradient's place, and stored successes beside the draws.

    beta: how sharply the target follows the advantage; the smaller, the sharper.
    count: replays that a group gets at most.
    size: successes that are kept of a problem.
    share: of the balance in the loss; the rest is the policy gradient. 0: GRPO, without replays.
    """

    name = "trajectory_balance"
    acts_on_draws = True
    turn = "end"  # log Z is made of what the others make of the advantages, in all draws
    trial = Trial(on={"beta": 0.5}, off={"share": 0.0})

    def __init__(self, *, beta: float = 0.1, count: int = 4, size: int = 16, share: float = 1.0):
        self.beta = parameters.number("beta", beta, above=0)
        self.count = parameters.whole("count", count, least=0)
        self.bank = Bank(self.name, size=parameters.whole("size", size, least=1))
        self.share = parameters.share("share", share)
        self.biases = "the balance is no policy gradient" if self.share else ""

    def needs(self, config: Config) -> Needs:
        return Needs(columns=(base_logprob(config),), writes=("log_z",))

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        refuse_second_balance(self, others)

    def terms(self, config: Config) -> list[LossTerm]:
        return [
            LossTerm(
                name=TERM,
                function=balance,
                columns=("log_z", "base_logprob", WORTH, SEQUENCE),
                params={"beta": self.beta},
                normaliser=POLICY_GRADIENT,
            )
        ]

    def inject(self, groups: list[Group], context: StepContext) -> None:
        for index, group in enumerate(groups if self.share else ()):
            stored = self.bank.of(group.problem.id)
            for place in context.rng.permutation(len(stored))[: self.count]:
                sample = self.bank.sample(group, index, kept=stored[place], context=context, in_baseline=False)
                sample.terms = {TERM: self.share}
                group.samples.append(sample)
            context.metrics["replayed"] = context.metrics.get("replayed", 0.0) + min(self.count, len(stored))

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        if self.share:
            self.bank.add(groups, context)
        for group in groups if self.share else ():
            self._balance(
                [
                    s
                    for s in group.samples
                    if s.reward is not None and "base_logprob" in s.columns and s.terms.keys() & {POLICY_GRADIENT, TERM}
                ]
            )
        return groups, 0

    def _balance(self, samples: list[Sample]) -> None:
        log_z = np.mean([_log_z(sample, self.beta) for sample in samples] or [0.0])
        for sample in samples:
            sample.columns["log_z"] = np.full(len(sample.rollout.tokens), log_z, dtype=np.float32)
            take_its_place(sample, TERM, share=self.share)


def _log_z(sample: Sample, beta: float) -> float:
    """A / beta - log(pi_old(y) / pi_base(y)), over all of a replay, and what was drawn of a draw."""
    learnt = ~sample.rollout.given | (not sample.rollout.drawn)
    gaps = np.subtract(sample.columns["old_logprob"], sample.columns["base_logprob"], dtype=np.float64)
    return float(token_worth(sample)[learnt].mean(dtype=np.float64)) / beta - float(gaps[learnt].sum())


def balance(
    logprob: Tensor, log_z: Tensor, base_logprob: Tensor, worth: Tensor, sequence: Tensor, *, beta: float
) -> Tensor:
    """The loss of its completion at each token, [N].

    logprob: the policy's, [N], with gradient.
    log_z: the group's, a constant, [N]; the one at a completion's first token is used.
    base_logprob: under the base, [N].
    worth: A of each token, [N]; its mean over the completion counts.
    sequence: which completion a token belongs to, int64 [N], tokens in order.
    beta: above 0; the smaller, the sharper the target follows the worth.

    One completion of two tokens, each .5 nats likelier than under the base, with A = .75, beta = .5 and log Z = 0: the
    bracket is 1 - 1.5.

    >>> import torch
    >>> lp, flat = torch.tensor([-1.0, -1.0]), torch.ones(2)
    >>> balance(lp, 0 * flat, lp - 0.5, 0.75 * flat, torch.tensor([0, 0]), beta=0.5).tolist()
    [0.25, 0.25]
    """
    count = sequence.bincount()
    nothing = logprob.new_zeros(len(count))
    # At each completion's first token log Z, and over its tokens what it is and what it should be.
    log_ratio = nothing.index_add(0, sequence, logprob - base_logprob)
    gap = log_z[count.cumsum(0) - count] + log_ratio - nothing.index_add(0, sequence, worth) / count / beta
    return (gap**2)[sequence]
