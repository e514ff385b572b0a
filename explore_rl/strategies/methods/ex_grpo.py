"""ExGRPO (arXiv 2510.02245): half of the groups are of problems that were partly solved, each with its best success.

Acts at: choose (which problems come again), plan, inject (the replay takes the place of a draw), terms, keep, state.
Problems are kept by how many of their n draws were right when they were met last; one that was solved by all retires. A
replayed problem is drawn with weight N(right; n / 2, 1), so that half-solved ones come most; of its successes the one
whose tokens have the least entropy under the present policy is replayed. Its loss, with rho = pi / pi_past of the time
when it was drawn, is shaped as LUFFY shapes traces:

    loss = -A f(rho),   f(rho) = rho / (rho + gamma)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from explore_rl.config.schema import Config
from explore_rl.objectives.losses import ratio_of
from explore_rl.objectives.terms import LossTerm
from explore_rl.strategies import parameters
from explore_rl.strategies.base import Needs, StepContext, Strategy, Trial
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT
from explore_rl.strategies.replay import Bank
from explore_rl.strategies.solve_rates import SolveRates
from explore_rl.strategies.traces import drop_for_traces
from explore_rl.types import Group, Problem, Request


class ExGrpo(Strategy):
    """Replays partly solved problems with a success of theirs.

    share: how many of a step's groups are replayed; 0: GRPO, which keeps a bank.
    gamma: the shaping's.
    start: share of right draws in a step, from which on anything is replayed.
    size: successes that are kept of a problem.
    """

    name = "ex_grpo"
    acts_on_draws = True
    biases = "replays stand in the baseline"
    trial = Trial(on={"start": 0.0}, off={"share": 0.0, "start": 0.0})

    def __init__(self, *, share: float = 0.5, gamma: float = 0.1, start: float = 0.35, size: int = 16):
        self.share = parameters.share("share", share)
        self.gamma = parameters.number("gamma", gamma, above=0)
        self.start = parameters.share("start", start)
        self.bank = Bank(self.name, size=parameters.whole("size", size, least=1))
        self.rates = SolveRates()
        self.begun = False

    def needs(self, config: Config) -> Needs:
        return Needs(writes=("past_logprob",))

    def terms(self, config: Config) -> list[LossTerm]:
        return [
            LossTerm(
                name=self.term_name("ex_grpo"),
                function=shaped_replay,
                columns=("past_logprob", "advantage"),
                params={"gamma": self.gamma},
                normaliser=POLICY_GRADIENT,
            )
        ]

    def choose(self, problems: list[Problem], context: StepContext) -> list[Problem]:
        spread = 1 / context.config.algorithm.group_size  # one draw
        problems, context.kept["replayed"] = self.rates.choose(
            problems,
            int(self.share * len(problems)) if self.begun else 0,
            weight=lambda solved: np.exp(-(((solved - 0.5) / spread) ** 2) / 2) + 1e-12 if 0 < solved < 1 else 0.0,
            context=context,
        )
        return problems

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round:
            return requests
        stored = [name for name in context.kept["replayed"] if self.bank.of(name)]
        context.kept["places"] = [i for i, group in enumerate(groups) if group.problem.id in stored]
        return drop_for_traces(requests, dict.fromkeys(context.kept["places"], 1))

    def inject(self, groups: list[Group], context: StepContext) -> None:
        for index in context.kept["places"]:
            sample = self.bank.sample(
                groups[index],
                index,
                kept=self.bank.surest(groups[index], context),
                context=context,
                in_baseline=True,
            )
            sample.terms = {self.term_name("ex_grpo"): 1.0}
            groups[index].samples.append(sample)
        context.metrics["replayed"] = context.metrics.get("replayed", 0.0) + len(context.kept["places"])

    def keep(self, groups: list[Group], context: StepContext) -> tuple[list[Group], int]:
        shares = self.rates.note(groups)
        self.begun = self.begun or (bool(shares) and float(np.mean(shares)) > self.start)
        context.metrics["stored"] = context.metrics.get("stored", 0.0) + self.bank.add(groups, context)
        return groups, 0

    def state(self) -> dict[str, Any]:
        return {"bank": self.bank.state(), "rates": self.rates.state(), "begun": self.begun}

    def load_state(self, state: dict[str, Any]) -> None:
        self.bank.load_state(state["bank"])
        self.rates.load_state(state["rates"])
        self.begun = state["begun"]


def shaped_replay(logprob: Tensor, past_logprob: Tensor, advantage: Tensor, *, gamma: float) -> Tensor:
    """-A rho / (rho + gamma), per token.

    logprob: the policy's, [N], with gradient.
    past_logprob: of the policy that drew the success, [N].
    advantage: A, [N].
    gamma: the shaping's.
    Returns [N].

    A token twice as likely as when it was drawn, gamma = .1: the value is 2 / 2.1, the slope by logprob .2 / 2.1^2.

    >>> import torch
    >>> lp = torch.tensor([0.5]).log().requires_grad_()
    >>> loss = shaped_replay(lp, torch.tensor([0.25]).log(), torch.ones(1), gamma=0.1)
    >>> loss.sum().backward()
    >>> round(loss.item(), 6), round(lp.grad.item(), 6)
    (-0.952381, -0.045351)
    """
    ratio = ratio_of(logprob - past_logprob)
    return -advantage * ratio / (ratio + gamma)
