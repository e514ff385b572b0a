"""What the calibrations of `analysis` share: shapes of success probabilities, cells of tables and their targets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from analysis.intervals import clopper_pearson
from analysis.significance import holm

Shape = Callable[[np.random.Generator, int], np.ndarray]


def zeros_and(share: float, rest: Shape) -> Shape:
    """A share of impossible problems, the others as `rest`."""
    return lambda rng, size: np.where(rng.random(size) < share, 0.0, rest(rng, size))


def mixed(rng: np.random.Generator, shares: tuple[float, ...], *, parts: list[np.ndarray]) -> np.ndarray:
    """Each problem from one of the parts [M], with these shares."""
    return np.choose(rng.choice(len(parts), p=shares, size=len(parts[0])), parts)


# success probabilities of `size` problems; "rare" shapes have most of their mass at or near zero
SHAPES: dict[str, Shape] = {
    "half zero, half Beta(.3, 2)": zeros_and(0.5, lambda rng, size: rng.beta(0.3, 2, size)),
    "U-shaped Beta(.2, .2)": lambda rng, size: rng.beta(0.2, 0.2, size),
    "rare: 90 % zero, else Beta(.5, 20)": zeros_and(0.9, lambda rng, size: rng.beta(0.5, 20, size)),
    "very rare: 97 % zero, else uniform": zeros_and(0.97, lambda rng, size: rng.random(size)),
    "near zero Beta(.1, 10)": lambda rng, size: rng.beta(0.1, 10, size),
    "near one Beta(5, .1)": lambda rng, size: rng.beta(5, 0.1, size),
    "around .01: log-uniform, .003 to .03": lambda rng, size: 0.01 * 3 ** rng.uniform(-1, 1, size),
    "like MATH500: 3 % zero, else Beta(.8, .5)": zeros_and(0.03, lambda rng, size: rng.beta(0.8, 0.5, size)),
    "30 % zero, else log-uniform, 1e-5 to 1": zeros_and(0.3, lambda rng, size: 10 ** rng.uniform(-5, 0, size)),
    "20 % zero, else Beta(.15, .6)": zeros_and(0.2, lambda rng, size: rng.beta(0.15, 0.6, size)),
    "logit-normal, mean -3, sd 3": lambda rng, size: special.expit(rng.normal(-3, 3, size)),
    "all at .006": lambda rng, size: np.full(size, 0.006),
    "all at .2": lambda rng, size: np.full(size, 0.2),
    "like AIME: 25 % zero, else .001 to .05 or Beta(1, 2)": lambda rng, size: mixed(
        rng,
        (0.25, 0.4, 0.35),
        parts=[np.zeros(size), 10 ** rng.uniform(-3, -1.3, size), rng.beta(1, 2, size)],
    ),
    "40 % zero, 20 % one, else uniform": lambda rng, size: mixed(
        rng, (0.4, 0.2, 0.4), parts=[np.zeros(size), np.ones(size), rng.random(size)]
    ),
    "bimodal: Beta(2, 80) or Beta(80, 2)": lambda rng, size: mixed(
        rng, (0.5, 0.5), parts=[rng.beta(2, 80, size), rng.beta(80, 2, size)]
    ),
}
MATH, HALF_ZERO, NEAR_ZERO, AROUND = (
    "like MATH500: 3 % zero, else Beta(.8, .5)",
    "half zero, half Beta(.3, 2)",
    "near zero Beta(.1, 10)",
    "around .01: log-uniform, .003 to .03",
)


@dataclass
class Line:
    """One cell of a table: a share that was found in `trials` simulations, and the target it has to keep (None: stated,
    not judged).

    interval: whether the exact 95 % interval of the share is shown (power).
    """

    row: str
    column: str
    share: float
    trials: int
    at_least: float | None = None
    at_most: float | None = None
    interval: bool = False

    @property
    def missed(self) -> bool:
        """By more than two standard errors of the simulation, taken at the target."""
        target = self.at_least if self.at_least is not None else self.at_most
        if target is None:
            return False
        slack = 2 * np.sqrt(target * (1 - target) / self.trials)
        return self.share < target - slack if self.at_least is not None else self.share > target + slack

    @property
    def p(self) -> float | None:
        """Exact binomial p-value of "the share is at most its target"; None where that is not the target."""
        if self.at_most is None:
            return None
        return float(stats.binom.sf(round(self.share * self.trials) - 1, self.trials, self.at_most))

    @property
    def text(self) -> str:
        """As the table shows it."""
        shown = f"{self.share:.1%}"
        if self.interval:
            low, high = clopper_pearson(round(self.share * self.trials), self.trials)
            shown += f" ({100 * float(low):.1f} to {100 * float(high):.1f})"
        return shown + (" **missed**" if self.missed else "")


def smallest_after_holm(lines: Iterable[Line]) -> float:
    """Smallest p-value of a cell that is false more often than its target, after Holm over all such cells; 1 without
    any."""
    p = [line.p for line in lines if line.p is not None]
    return float(holm(np.array(p)).min()) if p else 1.0


def table(title: str, note: str, lines: list[Line]) -> list[str]:
    """Markdown, rows and columns in order of appearance; a cell that missed its target says so."""
    cells = {(line.row, line.column): line.text for line in lines}
    rows = dict.fromkeys(line.row for line in lines)
    columns = dict.fromkeys(line.column for line in lines)
    trials = " or ".join(f"{count:,}" for count in sorted({line.trials for line in lines}))
    out = [
        f"\n## {title}\n",
        f"{note} Simulations behind each cell: {trials}.",
        "",
        "| | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    return out + [f"| {row} | " + " | ".join(cells.get((row, column), "") for column in columns) + " |" for row in rows]
