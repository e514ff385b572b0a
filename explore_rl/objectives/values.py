"""How well a critic's values foretell what comes back."""

from __future__ import annotations

import math

import numpy as np


def explained_variance(values: np.ndarray, returns: np.ndarray) -> float:
    """1 - var(R - V) / var(R); 1: values are right up to a constant, 0: no better than one number for all.

    NaN where the returns do not vary: there is nothing to explain.

    values, returns: one a token, [N].

    >>> explained_variance(np.array([0.25, 0.25, 0.75, 0.75]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.75
    >>> explained_variance(np.array([0.1, 0.9]), np.array([1.0, 1.0]))
    nan
    """
    values = values.astype(np.float64)
    returns = returns.astype(np.float64)
    spread = float(returns.var())
    return 1 - float((returns - values).var()) / spread if spread > 0 else math.nan
