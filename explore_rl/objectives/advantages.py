"""Advantages within a group: what each sample of one problem is worth beside the others.

Pure functions on float64 arrays. All of them take

    rewards: [n].
    counts: bool [n], the samples that mean and spread are taken over; None: all. A trace or a draw of another policy
        may stay outside; it is still measured against them. Where no sample counts the baseline is 0.
    divide_by_std: whether the centred rewards are divided by the spread.
"""

from __future__ import annotations

import numpy as np

EPSILON = 1e-6


def grpo(rewards: np.ndarray, counts: np.ndarray | None = None, *, divide_by_std: bool = True) -> np.ndarray:
    """(r - mean) / (std + 1e-6), std with n - 1 (arXiv 2402.03300, section 4.1.2); no division where nothing varies.

    >>> grpo(np.array([1.0, 0.0, 0.0, 0.0])).round(4).tolist()
    [1.5, -0.5, -0.5, -0.5]

    A trace outside the statistics of a group whose draws all failed is worth r - mean = 1, not a million:

    >>> grpo(np.array([1.0, 0.0, 0.0]), counts=np.array([False, True, True])).tolist()
    [1.0, 0.0, 0.0]
    """
    rewards, counts = _arrays(rewards, counts)
    mean = rewards[counts].mean() if counts.any() else 0.0
    return _scaled(rewards - mean, rewards[counts], divide_by_std=divide_by_std)


def dr_grpo(rewards: np.ndarray, counts: np.ndarray | None = None, *, divide_by_std: bool = False) -> np.ndarray:
    """r - mean (Dr. GRPO, arXiv 2503.20783, section 3.2): no division, so easy and hard problems weigh alike.

    >>> dr_grpo(np.array([1.0, 0.0, 0.0, 0.0])).tolist()
    [0.75, -0.25, -0.25, -0.25]
    """
    return grpo(rewards, counts, divide_by_std=divide_by_std)


def rloo(rewards: np.ndarray, counts: np.ndarray | None = None, *, divide_by_std: bool = False) -> np.ndarray:
    """r_i - mean of the others' rewards (RLOO, arXiv 2402.14740, eq. 6).

    Where all samples count it equals n / (n - 1) (r_i - mean). The baseline of a sample never looks at the sample
    itself, which keeps an (importance-weighted) gradient unbiased.

    >>> rloo(np.array([1.0, 0.0, 0.0, 0.0])).round(4).tolist()
    [1.0, -0.3333, -0.3333, -0.3333]
    """
    rewards, counts = _arrays(rewards, counts)
    others = counts.sum() - counts  # how many samples count besides the sample itself
    total = rewards[counts].sum() - np.where(counts, rewards, 0.0)
    baseline = np.divide(total, others, out=np.zeros_like(rewards), where=others > 0)
    return _scaled(rewards - baseline, rewards[counts], divide_by_std=divide_by_std)


ADVANTAGES = {"grpo": grpo, "dr_grpo": dr_grpo, "rloo": rloo}


def group_advantages(
    name: str, rewards: np.ndarray, *, counts: np.ndarray | None = None, divide_by_std: bool | None = None
) -> np.ndarray:
    """The advantages of one group, by the method called `name`.

    name: a key of `ADVANTAGES`.
    rewards: [n].
    counts: bool [n], who counts for the baseline; None: all.
    divide_by_std: None: as the method's paper does.
    Returns float64 [n].

    >>> group_advantages("dr_grpo", np.array([1.0, 0.0])).tolist()
    [0.5, -0.5]
    """
    function = ADVANTAGES[name]
    if divide_by_std is None:
        return function(rewards, counts)
    return function(rewards, counts, divide_by_std=divide_by_std)


def _arrays(rewards: np.ndarray, counts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    rewards = np.asarray(rewards, dtype=np.float64)
    counts = np.ones(len(rewards), dtype=bool) if counts is None else np.asarray(counts, dtype=bool)
    return rewards, counts


def _scaled(centred: np.ndarray, counted: np.ndarray, *, divide_by_std: bool) -> np.ndarray:
    """`centred` rewards over the spread of the rewards that count."""
    std = counted.std(ddof=1) if len(counted) > 1 else 0.0
    # Divided by a spread of rounding size, a sample outside the statistics would be worth a million.
    return centred / (std + EPSILON) if divide_by_std and std > EPSILON else centred
