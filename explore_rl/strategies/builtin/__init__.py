"""What the settings under `algorithm` do in a step, written as strategies: the trainer itself holds no algorithm.

They stand around the strategies of a recipe, but for those whose `turn` is last or end. What gives rewards and
advantages their first value comes before those, what takes the last word on terms, masks and groups comes after.
"""

from __future__ import annotations

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies.base import AT_THE_END, Strategy
from explore_rl.strategies.builtin.dynamic_sampling import DynamicSampling
from explore_rl.strategies.builtin.engine_correction import EngineCorrection
from explore_rl.strategies.builtin.entropy import EntropyBonus
from explore_rl.strategies.builtin.group_advantage import GroupAdvantage
from explore_rl.strategies.builtin.kl import KLInLoss, KLInReward
from explore_rl.strategies.builtin.overlong import OverlongFilter

TURNS = ("first", "scale", "", *AT_THE_END)  # see Strategy.turn

__all__ = [
    "DynamicSampling",
    "EngineCorrection",
    "EntropyBonus",
    "GroupAdvantage",
    "KLInLoss",
    "KLInReward",
    "OverlongFilter",
    "around",
]


def around(strategies: list[Strategy], config: Config) -> list[Strategy]:
    """`strategies` with the built-in ones that the config asks for before and after them.

    Raises InputError for a `turn` that there is not.
    """
    for strategy in strategies:
        if strategy.turn not in TURNS:
            known = ", ".join(turn for turn in TURNS if turn)
            raise InputError(f"strategies: {strategy.name}: turn={strategy.turn!r}: expected {known}, or nothing")
    algorithm = config.algorithm
    before: list[Strategy] = [GroupAdvantage()]
    after: list[Strategy] = []
    if algorithm.kl != "none":
        if algorithm.kl_place == "reward":
            before.append(KLInReward())
        else:
            after.append(KLInLoss())
    if algorithm.entropy_coefficient:
        after.append(EntropyBonus())
    if algorithm.importance_cap is not None:
        after.append(EngineCorrection())
    if algorithm.mask_truncated:
        after.append(OverlongFilter())
    if algorithm.dynamic_sampling_rounds:
        after.append(DynamicSampling())
    first, scale, middle, last, end = ([s for s in strategies if s.turn == turn] for turn in TURNS)
    return [*before, *first, *scale, *middle, *after, *last, *end]
