"""What a run has one of: who says alone what a draw is worth, and who stands in the policy gradient's place."""

from __future__ import annotations

from analysis.errors import InputError
from explore_rl.config.schema import Config, all_settings
from explore_rl.strategies.base import Strategy
from explore_rl.strategies.builtin.group_advantage import POLICY_GRADIENT
from explore_rl.types import Sample

WHOLE_ADVANTAGE = ("rs_grpo", "ppo", "remax", "pass_at_k", "pkpo", "w_reinforce", "srft", "polychromic", "alpha_dpg")
BALANCES = ("flow_rl", "trajectory_balance")


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


def refuse_second(strategy: Strategy, others: list[Strategy]) -> None:
    """Raises InputError if another of its kind stands there."""
    if any(type(other) is type(strategy) for other in others):
        raise InputError(f"strategies: {strategy.name}: stands there twice, and each would undo the other")


def refuse_second_balance(strategy: Strategy, others: list[Strategy]) -> None:
    """Raises InputError if another strategy takes the policy gradient's place too."""
    for other in others:
        if other.name in BALANCES:
            raise InputError(f"strategies: {strategy.name}: {other.name} balances too; there is one policy gradient")


def without_effect(strategies: list[Strategy], config: Config) -> list[str]:
    """Warnings, a line each: settings whose place a strategy takes, and an aggregation that its paper does not have."""
    algorithm = config.algorithm
    changed = {
        key for key in ("advantage", "divide_by_std", "loss")
        if getattr(algorithm, key) != all_settings()[f"algorithm.{key}"].default
    }  # fmt: skip
    makers = [s.name for s in strategies if s.own_baseline]
    balances = [s.name for s in strategies if s.name in BALANCES and getattr(s, "share", 0.0) == 1]
    lines = [
        f"algorithm.{key}={getattr(algorithm, key)!r} has no effect: {makers[0]} makes the advantages"
        for key in ("advantage", "divide_by_std")
        if key in changed and makers
    ]
    if "loss" in changed and balances:
        lines.append(f"algorithm.loss={algorithm.loss!r}: {balances[0]} stands in the policy gradient's place")
    if "flow_rl" in balances and algorithm.aggregation != "sequence":
        lines.append("flow_rl is one loss a sequence: set algorithm.aggregation=sequence, as the paper has")
    return lines


def take_its_place(sample: Sample, term: str, *, share: float) -> bool:
    """The sample feeds `term` with `share` of its part in the policy gradient, which keeps the rest.

    Returns whether it had any part in it. The sample's weight goes in: such a term is no product with an advantage.
    """
    if POLICY_GRADIENT not in sample.terms:
        return False
    whole = sample.terms[POLICY_GRADIENT]
    ours = {term: whole * share * sample.weight}
    sample.terms = {**sample.terms, POLICY_GRADIENT: whole * (1 - share), **ours}
    return True
