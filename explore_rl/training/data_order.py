"""Which problems a step gets: a fresh permutation an epoch, seeded, with a position that a checkpoint keeps."""

from __future__ import annotations

import numpy as np

from explore_rl.rollout.seeds import hashed_seed
from explore_rl.types import Problem


class DataOrder:
    """Takes problems in the order of epoch-wise permutations; `position` counts the problems taken, over all epochs."""

    def __init__(self, problems: list[Problem], seed: int):
        self.problems, self.seed, self.position = problems, seed, 0

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng(hashed_seed(self.seed, "order", epoch)).permutation(len(self.problems))

    def take(self, count: int) -> list[Problem]:
        taken = []
        while len(taken) < count:
            epoch, start = divmod(self.position, len(self.problems))
            chunk = self._permutation(epoch)[start : start + count - len(taken)]
            taken += [self.problems[i] for i in chunk]
            self.position += len(chunk)
        return taken

    @property
    def epoch(self) -> float:
        return self.position / len(self.problems)
