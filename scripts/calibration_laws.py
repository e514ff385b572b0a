"""What tuning may do to success probabilities, with the words that are true of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Change = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Law:
    """change: p [M] of the base -> (base, tuned), [M] each. gains, losses: whether a word for them is true.

    found: what a verdict should find, "gain", "loss" or "both"; empty where nothing is asked.
    """

    change: Change
    gains: bool = False
    losses: bool = False
    found: str = ""


def at_odds(p: np.ndarray, factor: np.ndarray | float) -> np.ndarray:
    """The same problems at `factor` times the odds: faster, and not wider."""
    odds = factor * p / np.maximum(1 - p, 1e-12)
    return np.where(p < 1, odds / (1 + odds), 1.0)


def sharpened(p: np.ndarray, power: float = 2.0) -> np.ndarray:
    """A tuned model that is surer of what the base half knows and loses its rare successes: odds to a power, about p =
    0.2."""
    with np.errstate(divide="ignore"):
        odds = (p / np.maximum(1 - p, 1e-12) / 0.25) ** power * 0.25
    return odds / (1 + odds)


def planted(
    p: np.ndarray, rng: np.random.Generator, *, gained: float = 0.0, lost: float = 0.0, at: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """(base, tuned): shares of the problems go from 0 to `at`, and from `at` to 0; the rest stay as they are."""
    order = rng.permutation(len(p))
    size = len(p)
    base = p.copy()
    tuned = p.copy()
    up = order[: round(gained * size)]
    down = order[round(gained * size) : round((gained + lost) * size)]
    base[up] = 0.0
    tuned[up] = at
    base[down] = at
    tuned[down] = 0.0
    return base, tuned


def discovering(
    p: np.ndarray, rng: np.random.Generator, *, share: float = 0.02, at: float = 0.1
) -> tuple[np.ndarray, np.ndarray]:
    """(base, tuned): `share` of the problems go from 0 to `at` and the rest is sharpened (odds to 1.3 about .2): a loss
    at the edge beside a true gain."""
    base, tuned = planted(p, rng, gained=share, at=at)
    return base, np.where(tuned == base, sharpened(base, 1.3), tuned)


def gain(share: float, at: float) -> Law:
    return Law(lambda p, rng: planted(p, rng, gained=share, at=at), gains=True, found="gain")


def loss(share: float, at: float) -> Law:
    return Law(lambda p, rng: planted(p, rng, lost=share, at=at), losses=True, found="loss")


def trade(gained: float, lost: float, at: float) -> Law:
    change = lambda p, rng: planted(p, rng, gained=gained, lost=lost, at=at)  # noqa: E731
    return Law(change, gains=True, losses=True, found="both")


def discovery(share: float, at: float) -> Law:
    return Law(lambda p, rng: discovering(p, rng, share=share, at=at), gains=True, losses=True, found="gain")


LAWS = {
    "nothing changed": Law(lambda p, rng: (p, p)),
    # nothing that the base solves now and then is gained or lost, only what it solves often
    "head only: square root of p above .1": Law(lambda p, rng: (p, np.where(p >= 0.1, np.sqrt(p), p))),
    "head only: square of p above .3": Law(lambda p, rng: (p, np.where(p >= 0.3, p**2, p))),
    "worse everywhere: odds halved": Law(lambda p, rng: (p, at_odds(p, 0.5)), losses=True),
    "better everywhere: odds doubled": Law(lambda p, rng: (p, at_odds(p, 2.0)), gains=True),
    "sharpened: odds squared about .2": Law(lambda p, rng: (p, sharpened(p)), losses=True),
    "sharpened a little: odds to 1.1 about .2": Law(lambda p, rng: (p, sharpened(p, 1.1)), losses=True),
    "gain: 5 % from 0 to .05": gain(0.05, 0.05),
    "gain: 2 % from 0 to .02": gain(0.02, 0.02),
    "gain: 2 % from 0 to .5": gain(0.02, 0.5),
    "rare gain: 5 % from 0 to .002": gain(0.05, 0.002),
    "loss: 5 % from .05 to 0": loss(0.05, 0.05),
    "loss: 2 % from .05 to 0": loss(0.02, 0.05),
    "loss: 2 % from .5 to 0": loss(0.02, 0.5),
    "rare loss: 5 % from .002 to 0": loss(0.05, 0.002),
    "trade: 5 % gained, 5 % lost, .05": trade(0.05, 0.05, 0.05),
    "trade: 1 % gained, 10 % lost, .3": trade(0.01, 0.1, 0.3),
    "trade: 10 % gained, 1 % lost, .3": trade(0.1, 0.01, 0.3),
    "trade: 2 % gained, 20 % lost, .03": trade(0.02, 0.2, 0.03),
    "2 % from 0 to .1, rest sharpened": discovery(0.02, 0.1),
    "2 % from 0 to .5, rest sharpened": discovery(0.02, 0.5),
    "3 % from 0 to .3, rest sharpened": discovery(0.03, 0.3),
    "5 % from 0 to .02, rest sharpened": discovery(0.05, 0.02),
}
LAWS |= {f"gain: one of {few} from 0 to {at:g}": gain(1 / few, at) for few in (10, 30) for at in (0.02, 0.1, 0.5)}


def speed_up(factor: float) -> Change:
    return lambda p, rng: (p, at_odds(p, factor))


def shaken_odds(sd: float) -> Change:
    return lambda p, rng: (p, at_odds(p, np.exp(rng.normal(0, sd, len(p)))))


def sped_half(factor: float) -> Change:
    """Half of the problems at `factor` times the odds, the other half at its inverse."""
    return lambda p, rng: (p, at_odds(p, factor ** rng.choice([-1.0, 1.0], len(p))))


def head_heavy(factor: float) -> Change:
    """Odds of hard problems (below .1) at `factor` times, of the others as they are."""
    return lambda p, rng: (p, np.where(p < 0.1, at_odds(p, factor), p))


SPEED_UPS: dict[str, tuple[Change, float]] = {  # what changes the odds, and the fold that must not be refuted
    "odds doubled, at F = 2": (speed_up(2.0), 2.0),
    "log-odds shaken by sd .5, at F = 4": (shaken_odds(0.5), 4.0),
    "odds at 4 times, at F = 4": (speed_up(4.0), 4.0),
    "odds at 10 times, at F = 10": (speed_up(10.0), 10.0),
    "odds at 1 / 4, at F = 4": (speed_up(0.25), 4.0),
    "half at 2 times, half at 1 / 2, at F = 2": (sped_half(2.0), 2.0),
    "odds of the hard at 4 times, at F = 4": (head_heavy(4.0), 4.0),
}
