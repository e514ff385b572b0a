"""Strategies that each say alone what a draw is worth; a run has one of them."""

from __future__ import annotations

from analysis.errors import InputError
from explore_rl.strategies.base import Strategy

WHOLE_ADVANTAGE = ("rs_grpo", "ppo", "remax", "pass_at_k", "pkpo", "w_reinforce", "srft", "polychromic", "alpha_dpg")


def refuse_unseen_rewards(strategy: Strategy, others: list[Strategy]) -> None:
    """Raises InputError if another changes rewards, where `strategy` looks at verdicts alone."""
    for other in others:
        if type(other).reward is not Strategy.reward and other.name != "prorl":  # which only notes scores there
            raise InputError(
                f"strategies: {strategy.name}: looks at verdicts alone, and would not see the rewards of {other.name};"
                " leave one out"
            )


def refuse_rivals(strategy: Strategy, others: list[Strategy]) -> None:
    """Raises InputError if another strategy makes the advantages too."""
    for other in others:
        if other.name in WHOLE_ADVANTAGE:
            raise InputError(f"strategies: {strategy.name}: {other.name} makes the advantages too; choose one of them")
