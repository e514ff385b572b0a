"""What the calibrations of `analysis` share: shapes of success probabilities, cells of tables and their targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# success probabilities of `size` problems; "rare" shapes have most of their mass at or near zero
SHAPES = {
    "half zero, half Beta(.3, 2)": lambda rng, size: np.where(rng.random(size) < 0.5, 0.0, rng.beta(0.3, 2, size)),
    "U-shaped Beta(.2, .2)": lambda rng, size: rng.beta(0.2, 0.2, size),
    "rare: 90 % zero, else Beta(.5, 20)": lambda rng, size: np.where(
        rng.random(size) < 0.9, 0.0, rng.beta(0.5, 20, size)
    ),
    "very rare: 97 % zero, else uniform": lambda rng, size: np.where(rng.random(size) < 0.97, 0.0, rng.random(size)),
    "near zero Beta(.1, 10)": lambda rng, size: rng.beta(0.1, 10, size),
    "near one Beta(5, .1)": lambda rng, size: rng.beta(5, 0.1, size),
    "around .01: log-uniform, .003 to .03": lambda rng, size: 0.01 * 3 ** rng.uniform(-1, 1, size),
    "like MATH500: 3 % zero, else Beta(.8, .5)": lambda rng, size: np.where(
        rng.random(size) < 0.03, 0.0, rng.beta(0.8, 0.5, size)
    ),
}


@dataclass
class Line:
    """One cell of a table: a share that was found in `trials` simulations, and the target it has to keep (None: stated,
    not judged)."""

    row: str
    column: str
    share: float
    trials: int
    at_least: float | None = None
    at_most: float | None = None

    @property
    def missed(self) -> bool:
        """By more than two standard errors of the simulation, taken at the target."""
        target = self.at_least if self.at_least is not None else self.at_most
        if target is None:
            return False
        slack = 2 * np.sqrt(target * (1 - target) / self.trials)
        return self.share < target - slack if self.at_least is not None else self.share > target + slack


def table(title: str, note: str, lines: list[Line]) -> list[str]:
    """Markdown, rows and columns in order of appearance; a cell that missed its target says so."""
    cells = {(line.row, line.column): f"{line.share:.1%}" + (" **missed**" if line.missed else "") for line in lines}
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
