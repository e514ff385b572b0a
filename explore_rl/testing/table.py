"""A policy that is a table: the logits of the next token stand in a row of their own for every context.

With z the row of a token's context, T its temperature and p = softmax(z / T), all that a learner needs is a line:

    log p(y)              d log p(y) / dz = (1[y] - p) / T
    H = -sum p log p      dH / dz         = -p (log p + H) / T

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

    def gradient(
        self,
        rows: np.ndarray,
        tokens: np.ndarray,
        temperature: np.ndarray,
        *,
        of_logprob: np.ndarray,
        of_entropy: np.ndarray,
    ) -> np.ndarray:
        """The gradient of a loss by the table, [contexts, vocabulary].

        rows, tokens, temperature: of every token that the loss looks at, [N] each.
        of_logprob: the loss's derivative by that token's log-probability, [N].
        of_entropy: the loss's derivative by the entropy in that token's context, [N].
        """
        log_p = self.log_probabilities(rows, temperature)
        p = np.exp(log_p)
        entropy = -(p * log_p).sum(axis=1, keepdims=True)
        chosen = np.zeros_like(p)
        chosen[np.arange(len(tokens)), tokens] = 1.0
        by_logits = of_logprob[:, None] * (chosen - p) - of_entropy[:, None] * p * (log_p + entropy)
        total = np.zeros_like(self.logits)
        np.add.at(total, rows, by_logits / temperature[:, None])
        return total
