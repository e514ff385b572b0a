"""Which problems a step gets: a new seeded permutation each epoch, and a position in it that a checkpoint keeps."""

from __future__ import annotations

import numpy as np

from explore_rl.rollout.seeds import hashed_seed
from explore_rl.types import Problem


class DataOrder:
    """Takes problems in the order of epoch-wise permutations; `position` counts the problems taken, over all epochs."""

    def __init__(self, problems: list[Problem], seed: int):
        self.problems = problems
        self.seed = seed
        self.position = 0

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng(hashed_seed(self.seed, "order", epoch)).permutation(len(self.problems))

    def take(self, count: int) -> list[Problem]:
        """The next `count` problems; the end of one epoch and the beginning of the next can stand in one step."""
        taken: list[Problem] = []
        while len(taken) < count:
            epoch, start = divmod(self.position, len(self.problems))
            chunk = self._permutation(epoch)[start : start + count - len(taken)]
            taken += [self.problems[i] for i in chunk]
            self.position += len(chunk)
        return taken

    @property
    def epoch(self) -> float:
        """Epochs done, with the fraction of the present one."""
        return self.position / len(self.problems)
