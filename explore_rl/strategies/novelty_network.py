"""A small network that is trained on what was drawn, and says how unlike that a completion is.

    n(x) = |g(x) + f(x)|^2 / d        g fixed, random and of length sqrt(d); f, at first 0, is trained to make g + f = c

With c = 0 it is random network distillation (arXiv 1810.12894): f learns -g where it has been. With c a fresh toss of d
coins, -1 or 1, a visit, it is a coin-flipping network (arXiv 2306.03186): the mean of N tosses has the square d / N.
n is 1 where nothing like x was seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

HIDDEN = 16  # units of either network
ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93)  # multipliers of the hash, modulo 2^64


class NoveltyNetwork:
    """Two layers, tanh between them, for g and for f; float64, plain gradient steps.

    width: of the input, see `features`.
    outputs: d.
    rate: of a gradient step on the mean over completions of |g + f - c|^2.
    """

    def __init__(self, *, width: int, outputs: int, rate: float):
        rng = np.random.default_rng(0)
        self.width, self.outputs, self.rate = width, outputs, rate
        self.fixed = [rng.normal(size=(width, HIDDEN)), rng.normal(size=(HIDDEN, outputs))]
        self.learnt = [rng.normal(size=(width, HIDDEN)), np.zeros((HIDDEN, outputs))]

    def gap(self, x: np.ndarray) -> np.ndarray:
        """g + f, [n, d]."""
        fixed = np.tanh(x @ self.fixed[0]) @ self.fixed[1]
        fixed *= np.sqrt(self.outputs) / np.maximum(np.linalg.norm(fixed, axis=1, keepdims=True), 1e-12)
        return fixed + np.tanh(x @ self.learnt[0]) @ self.learnt[1]

    def novelty(self, x: np.ndarray) -> np.ndarray:
        """n of each row, [n]."""
        return (self.gap(x) ** 2).mean(axis=1)

    def learn(self, x: np.ndarray, wanted: np.ndarray) -> None:
        """One gradient step towards g + f = wanted, [n, d]."""
        hidden = np.tanh(x @ self.learnt[0])
        slope = 2 * (self.gap(x) - wanted) / len(x)
        into_first = x.T @ ((slope @ self.learnt[1].T) * (1 - hidden**2))
        self.learnt[1] -= self.rate * hidden.T @ slope
        self.learnt[0] -= self.rate * into_first

    def state(self) -> list[Any]:
        return [layer.tolist() for layer in self.learnt]

    def load_state(self, state: list[Any]) -> None:
        self.learnt = [np.array(layer) for layer in state]


def features(prompt: np.ndarray, tokens: np.ndarray, *, width: int) -> np.ndarray:
    """Which token stands where, before and in a completion, as `width` numbers of length 1.

    Each (token, place) is hashed to one of them and to a sign, so that the vocabulary does not matter.
    """
    token = np.concatenate([prompt, tokens]).astype(np.uint64)
    place = np.arange(-len(prompt), len(tokens)).astype(np.uint64)
    mixed = token * np.uint64(ODD[0]) + place * np.uint64(ODD[1])
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(ODD[2])
    mixed ^= mixed >> np.uint64(32)
    signs = np.where(mixed & np.uint64(1), 1.0, -1.0)
    found = np.bincount((mixed >> np.uint64(1)) % np.uint64(width), weights=signs, minlength=width)
    return found / max(float(np.linalg.norm(found)), 1e-12)
