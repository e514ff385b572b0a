"""Mixed-CUTS (arXiv 2604.18493): a part of each group is drawn uniformly over the likely tokens.

Acts at: plan. The flat draws are the engine's (`explore_rl.rollout.flat`): with S_t the `top` most probable tokens of
probability above `least`,

    q(y_t) = 1 / |S_t|  for y_t in S_t        from the `plain`-th token on; before that, and in the others, the policy

The group is normalised as one. The engine records the density of a flat draw, so that `algorithm.importance_cap`
weighs each of its tokens by min(pi |S_t|, cap); with importance_cap=null it is not weighed, as published.
"""

from __future__ import annotations

from analysis.errors import InputError
from explore_rl.config.schema import Config
from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.drawn_apart import draw_last_otherwise
from explore_rl.types import Flat, Group, Problem, Request

FLAT = "flat"  # the source of its draws
PROCESSOR = "explore_rl.rollout.flat:FlatDraws"
ENGINE = f'{{logits_processors: ["{PROCESSOR}"], async_scheduling: false}}'


class MixedCuts(Strategy):
    """Draws a part of each group flat.

    share: of the policy's draws in a group, rounded down; 0: GRPO.
    top, least, plain: of the flat distribution.
    """

    name = "mixed_cuts"
    acts_on_draws = True
    biases = "its flat draws stand in the baseline"
    trial = Trial(on={"plain": 0}, off={"share": 0.0}, settings=(f"rollout.engine={ENGINE}",))

    def __init__(self, *, share: float = 0.5, top: int = 5, least: float = 0.03, plain: int = 5):
        self.share = parameters.share("share", share)
        self.flat = Flat(
            top=parameters.whole("top", top, least=2),
            least=parameters.number("least", least, least=0, below=1),
            plain=parameters.whole("plain", plain, least=0),
        )

    def check(self, config: Config, problems: list[Problem], others: list[Strategy]) -> None:
        engine = config.rollout.engine
        if PROCESSOR not in engine.get("logits_processors", ()) or engine.get("async_scheduling") is not False:
            raise InputError(f"strategies: mixed_cuts: no engine draws flat; set rollout.engine={ENGINE}")

    def plan(self, requests: list[Request], groups: list[Group], round: int, context: StepContext) -> list[Request]:
        if round:
            return requests
        return draw_last_otherwise(requests, self.share, changes={"flat": self.flat, "source": FLAT})
