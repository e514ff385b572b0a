"""A novelty network: completions unlike those drawn so far are worth more. i-MENTOR and MERCI.

Acts at: advantage (after the group is normalised; then the network learns this draw), state (the network). With n_i the
network's novelty of a draw before it learns it (`strategies.novelty_network`),

    distillation   A'_i = A_i + scale (n_i - min n) / (max n - min n) half / (half + step)        for wrong draws alone
    coins          A'_i = min(A_i + scale E_i, A_i + bound |A_i|),    E_i = max(0, (sqrt(n_i) - mean) / deviation)

The first (arXiv 2505.17621) pays failures that are new, least and most being those of the step's draws. The second
(arXiv 2510.16614) compares a draw with its group, and never turns an advantage's sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from explore_rl.strategies import parameters
from explore_rl.strategies.base import StepContext, Strategy, Trial
from explore_rl.strategies.in_group import right
from explore_rl.strategies.novelty_network import NoveltyNetwork, features
from explore_rl.types import Group, Sample

KINDS = ("distillation", "coins")
ROUNDING = 1e-9  # differences of novelty below it are none


class Novelty(Strategy):
    """Adds the bonus to the advantages.

    kind: "distillation" or "coins": what the network learns, and what is added.
    scale: of what is added; 0: GRPO, beside which the network learns.
    half: the step at which distillation's bonus is half as large; 40 if not given.
    bound: how far coins may move an advantage, as a share of it; .5 if not given.
    width, outputs, rate, passes: of the network, its gradient steps, and how many a draw.
    """

    name = "novelty"
    reads_policy = False
    acts_on_draws = True
    biases = "what it adds has no mean of zero"
    trial = Trial(off={"scale": 0.0})

    def __init__(
        self,
        *,
        kind: str = "distillation",
        scale: float = 0.5,
        half: float | None = None,
        bound: float | None = None,
        width: int = 64,
        outputs: int = 8,
        rate: float = 0.005,
        passes: int = 4,
    ):
        self.kind = parameters.choice("kind", kind, choices=KINDS)
        other = ("bound", bound) if kind == "distillation" else ("half", half)
        if other[1] is not None:
            raise ValueError(f"{other[0]}={other[1]!r} has no effect with kind={kind}")
        self.scale = parameters.number("scale", scale, least=0)
        self.half = parameters.number("half", 40.0 if half is None else half, above=0)
        self.bound = parameters.share("bound", 0.5 if bound is None else bound)
        self.network = NoveltyNetwork(
            width=parameters.whole("width", width, least=1),
            outputs=parameters.whole("outputs", outputs, least=1),
            rate=parameters.number("rate", rate, above=0),
        )
        self.passes = parameters.whole("passes", passes, least=1)

    def advantage(self, groups: list[Group], context: StepContext) -> None:
        drawn = [[s for s in group.samples if s.reward is not None and s.rollout.drawn] for group in groups]
        samples = [sample for of_group in drawn for sample in of_group]
        if not samples:
            return
        x = np.stack([_features(sample, self.network.width) for sample in samples])
        found = self.network.novelty(x)
        if self.kind == "distillation":
            faded = self.scale * self.half / (self.half + context.number)
            for sample, bonus in zip(samples, unit(found) * ~right(samples), strict=True):
                sample.advantage += faded * float(bonus)
        else:
            ends = np.cumsum([len(of_group) for of_group in drawn])[:-1]
            for of_group, own in zip(drawn, np.split(found, ends), strict=True):
                for sample, above in zip(of_group, standing_out(own), strict=True):
                    sample.advantage = bounded(sample.advantage, self.scale * float(above), bound=self.bound)
        tosses = context.rng.choice([-1.0, 1.0], size=(len(x), self.network.outputs))
        for _ in range(self.passes):
            self.network.learn(x, tosses if self.kind == "coins" else np.zeros_like(tosses))
        context.metrics |= {"mean": float(found.mean()), "largest": float(found.max())}

    def state(self) -> dict[str, Any]:
        return {"network": self.network.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.network.load_state(state["network"])


def _features(sample: Sample, width: int) -> np.ndarray:
    return features(sample.rollout.request.prompt_ids, sample.rollout.tokens, width=width)


def unit(values: np.ndarray) -> np.ndarray:
    """Between 0 for the smallest and 1 for the largest; 0 where all are equal.

    >>> unit(np.array([0.1, 0.2, 0.5])).tolist()
    [0.0, 0.25, 1.0]
    """
    spread = np.ptp(values)
    return (values - values.min()) / spread if spread > ROUNDING else np.zeros_like(values)


def standing_out(novelty: np.ndarray) -> np.ndarray:
    """By how many deviations a draw's sqrt(n) is above its group's mean; 0 for those below.

    >>> standing_out(np.array([0.25, 0.25, 1.0])).round(4).tolist()
    [0.0, 0.0, 1.4142]
    """
    pseudo = np.sqrt(novelty)
    deviation = pseudo.std() if len(pseudo) else 0.0
    return np.maximum(0.0, (pseudo - pseudo.mean()) / deviation) if deviation > ROUNDING else np.zeros_like(pseudo)


def bounded(advantage: float, bonus: float, *, bound: float) -> float:
    """The advantage with its bonus, of the same sign.

    >>> bounded(1.0, 0.3, bound=0.5), bounded(1.0, 0.9, bound=0.5), bounded(-1.0, 0.9, bound=0.5)
    (1.3, 1.5, -0.5)
    """
    return min(advantage + bonus, advantage + bound * abs(advantage))
