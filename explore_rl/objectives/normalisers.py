"""What the loss of a mini-batch is divided by, as one weight a row, over the whole mini-batch and all ranks."""

from __future__ import annotations

import numpy as np


def row_weights(lengths: np.ndarray, aggregation: str, *, max_new_tokens: int) -> np.ndarray:
    """Weight of every token of each row, [n] float64; 0 for empty rows.

    lengths: unmasked completion tokens of each row, [n].

    token:    1 / all tokens                          mean over tokens (DAPO, arXiv 2503.14476, eq. 12)
    sequence: 1 / (rows x the row's own tokens)       mean of sequence means (GRPO, arXiv 2402.03300, eq. 3)
    constant: 1 / (rows x max_new_tokens)             no length in it (Dr. GRPO, arXiv 2503.20783, section 3.2)

    Rows without a token do not count, but for "constant": which rows are masked follows their lengths, and no length is
    to be in that divisor.

    >>> lengths = np.array([1, 3])
    >>> row_weights(lengths, "token", max_new_tokens=8).tolist()
    [0.25, 0.25]
    >>> row_weights(lengths, "sequence", max_new_tokens=8).round(4).tolist()
    [0.5, 0.1667]
    >>> row_weights(lengths, "constant", max_new_tokens=8).tolist()
    [0.0625, 0.0625]
    >>> row_weights(np.array([1, 0]), "constant", max_new_tokens=8).tolist()
    [0.0625, 0.0]
    """
    lengths = np.asarray(lengths, dtype=np.float64)
    filled = lengths > 0
    rows = filled.sum()
    weights = np.zeros(len(lengths))
    if not rows:
        return weights
    divisors = {
        "token": lengths.sum(),
        "sequence": rows * lengths[filled],
        "constant": len(lengths) * float(max_new_tokens),
    }
    weights[filled] = 1 / divisors[aggregation]
    return weights
