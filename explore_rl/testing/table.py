"""A policy that is a table: the logits of the next token stand in a row of their own for every context.

Numbers are float64, so a gradient can be held against finite differences to many digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class LogitTable:
    """logits: float64 [contexts, vocabulary].

    row_of(prompt, before): the row of the token that follows `before` in the completion.
    """

    logits: np.ndarray
    row_of: Callable[[Tokens, Tokens], int]

    @classmethod
    def by_position(cls, prompts: list[Tokens], *, positions: int, vocabulary: int) -> LogitTable:
        """Zeros, with a row for every prompt and position: what was drawn before does not matter."""
        first = {prompt: index * positions for index, prompt in enumerate(prompts)}

        def row_of(prompt: Tokens, before: Tokens) -> int:
            if prompt not in first or len(before) >= positions:
                raise ValueError(f"the table has no row for position {len(before)} after the prompt {prompt}")
            return first[prompt] + len(before)

        return cls(np.zeros((len(prompts) * positions, vocabulary)), row_of)

    @classmethod
    def by_last_token(cls, vocabulary: int) -> LogitTable:
        """Zeros, with a row for every token that can come before, at the beginning the prompt's last one."""
        return cls(np.zeros((vocabulary, vocabulary)), lambda prompt, before: (prompt + before)[-1])

    @property
    def vocabulary(self) -> int:
        return self.logits.shape[1]

    def copy(self) -> LogitTable:
        return replace(self, logits=self.logits.copy())

    def rows(self, prompt: Tokens, completion: Tokens) -> np.ndarray:
        """The row of every token of a completion, [T]."""
        found = [self.row_of(prompt, completion[:position]) for position in range(len(completion))]
        return np.array(found, dtype=np.int64)

    def log_probabilities(self, rows: np.ndarray, temperature: np.ndarray | float = 1.0) -> np.ndarray:
        """log softmax(logits / temperature) of `rows` [N], at one temperature or one a row; [N, vocabulary]."""
        scaled = self.logits[rows] / np.reshape(temperature, (-1, 1))
        scaled -= scaled.max(axis=1, keepdims=True)
        return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
