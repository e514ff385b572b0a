"""Which problems a step gets: a fresh permutation an epoch, seeded, with a position that a checkpoint keeps. Also the seeds of draws."""

from __future__ import annotations

import hashlib

import numpy as np

from explore_rl.types import Problem


def hashed_seed(*parts: object) -> int:
    """A 63-bit seed from anything printable: a different one for every completion (neighbouring seeds share draws in vLLM)."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


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
