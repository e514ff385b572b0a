"""The two numbers that most of this package needs of a problem: how many draws there are, and how many were correct."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Counts(NamedTuple):
    """Draws of one side. n: int [M], draws of each problem. correct: int [M], how many of them were correct.

    >>> base = Counts(np.array([4, 4]), np.array([1, 0]))
    >>> (base.correct / base.n).tolist()
    [0.25, 0.0]
    """

    n: np.ndarray
    correct: np.ndarray

    def at(self, index: np.ndarray) -> Counts:
        """The same of the problems at `index` (int [M'] or bool [M])."""
        return Counts(self.n[index], self.correct[index])
