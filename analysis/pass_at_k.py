"""pass@k and its relatives, each exactly as published, from counts: n draws of a problem, c of them correct.

All functions broadcast: n, c (and k) are integers or integer arrays, and everything is worked out in log space so that
it stays exact for n up to 10^6. M is the number of problems, K the number of values of k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from analysis.counts import Counts
from analysis.errors import InputError

FEW = 64  # up to so many factors the product is taken; beyond it, Stirling's series is exact to rounding


def check_counts(n: ArrayLike, c: ArrayLike, *, k: ArrayLike = 1) -> None:
    """Raises InputError unless 0 <= c <= n and 1 <= k <= n everywhere."""
    n, c, k = np.broadcast_arrays(n, c, k)
    if not (np.isfinite(n).all() and np.isfinite(c).all() and np.isfinite(k).all()):
        raise InputError("counts hold NaN or infinity; n, correct and k must be whole numbers")
    if ((c < 0) | (c > n)).any():
        i = np.flatnonzero(((c < 0) | (c > n)).ravel())[0]
        raise InputError(f"{c.ravel()[i]} correct of n = {n.ravel()[i]} draws; correct must lie between 0 and n")
    if (k < 1).any():
        raise InputError(f"k = {k.min():g}; k must be at least 1")
    if (k > n).any():
        i = np.flatnonzero((k > n).ravel())[0]
        raise InputError(
            f"k = {k.ravel()[i]:g} is above n = {n.ravel()[i]}: pass@k has no unbiased estimate from "
            "fewer than k draws "
            "(draw more, or ask for a smaller k)"
        )


def _log_factorial_over(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """ln x! - [(x + 1/2) ln n - x + ln(2 pi)/2] for 0 <= x <= n: what is left of ln x! once the parts that cancel in
    `log_miss` are gone.
    """
    small = np.minimum(x, 16)
    y = 1 / np.maximum(x, 16)
    direct = special.gammaln(small + 1) - (small + 0.5) * np.log(n) + small - 0.5 * np.log(2 * np.pi)
    series = (x + 0.5) * np.log1p((np.maximum(x, 16) - n) / n) + y / 12 - y**3 / 360 + y**5 / 1260
    return np.where(x < 16, direct, series)


def unique_counts(n: ArrayLike, c: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct pairs of n and c, and where each problem's pair is among them: (n [U], c [U], int64 in the common shape
    of n and c)."""
    n, c = np.broadcast_arrays(n, c)
    if n.size and n.min() == n.max() and int(n.flat[0]) <= 16 * n.size:  # a table instead of a sort
        seen = np.bincount(c.ravel(), minlength=int(n.flat[0]) + 1) > 0
        values = np.flatnonzero(seen)
        return np.full(len(values), n.flat[0]), values, (np.cumsum(seen) - 1)[c]
    keys, where = np.unique(n.ravel().astype(np.int64) * (int(n.max(initial=0)) + 1) + c.ravel(), return_inverse=True)
    return *np.divmod(keys, int(n.max(initial=0)) + 1), where.reshape(n.shape)


def log_miss(n: ArrayLike, c: ArrayLike, *, k: ArrayLike) -> np.ndarray:
    """ln [C(n - c, k) / C(n, k)]: log-probability that k draws taken without replacement from n, c of them correct,
    hold no correct one.

    -inf where k > n - c. Real k is allowed (the binomials continued with the Gamma function), for a budget in tokens.
    Two forms, neither of which subtracts large numbers: prod_{j < s} (n - l - j) / (n - j) with s = min(c, k), l =
    max(c, k), and Stirling's series.
    """
    n, c, k = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (n, c, k)))
    result = np.full(n.shape, -np.inf)
    possible = k <= n - c
    by_product = possible & ((c <= FEW) | ((k <= FEW) & (k == np.floor(k))))
    swap = by_product & (c > FEW)  # few draws, many correct: the same product with the two swapped
    s = np.where(swap, k, c)[by_product]
    l = np.where(swap, c, k)[by_product]
    total = np.zeros(s.shape)
    rest = n[by_product]
    for j in range(int(s.max(initial=0))):
        live = j < s
        total[live] += np.log1p(-l[live] / (rest[live] - j))
    result[by_product] = total
    series = possible & ~by_product
    a = n[series]
    b = c[series]
    d = k[series]
    result[series] = (
        _log_factorial_over(a - b, a)
        + _log_factorial_over(a - d, a)
        - _log_factorial_over(a - b - d, a)
        - _log_factorial_over(a, a)
    )
    return result


def pass_at_k(n: ArrayLike, c: ArrayLike, *, k: ArrayLike) -> np.ndarray:
    """Unbiased pass@k of each problem: 1 - C(n - c, k) / C(n, k), the chance that k of the n draws hold a correct one.

    n, c: [M] (or anything that broadcasts); k: scalar gives [M], an array [K] gives [M, K]. k <= n or InputError.
    Source: Chen et al. 2021 (arXiv 2107.03374), eq. 1. CoT-Pass@K (arXiv 2506.14245) is the same with c = draws whose
    answer and reasoning are both correct.

    >>> float(pass_at_k(4, 1, k=2))
    0.5
    """
    n = np.asarray(n)
    c = np.asarray(c)
    k = np.asarray(k)
    if k.ndim:
        n = n[..., None]
        c = c[..., None]
    check_counts(n, c, k=k)
    if k.ndim == 1 and n.size > 64:  # many problems share their counts
        unique_n, unique_c, where = unique_counts(n[..., 0], c[..., 0])
        return -np.expm1(log_miss(unique_n[:, None], unique_c[:, None], k=k))[where]
    return -np.expm1(log_miss(n, c, k=k))


def first_k(correct: np.ndarray, start: np.ndarray, *, k: np.ndarray) -> np.ndarray:
    """Whether any of the first k of n draws of each problem is correct, as some published tables are made. Biased
    towards nothing, but noisy.

    correct: 0/1 of every draw [N], problem i holding [start[i]:start[i + 1]] (start int64 [M + 1]); k: [K]. Returns
    float64 [M, K]. Source: reverse-engineered from Table 14 of arXiv 2507.14843, whose values are multiples of 1 /
    problems at every k.
    """
    n = np.diff(start)
    k = np.atleast_1d(k)
    check_counts(n[:, None], 0 * n[:, None], k=k)
    first = np.full(len(n), np.inf)
    hits = np.flatnonzero(correct)
    owner = np.searchsorted(start, hits, side="right") - 1
    first[owner[::-1]] = (hits - start[owner])[::-1]  # the last one written is the first hit
    return (first[:, None] < k).astype(np.float64)


def pass_all_k(n: ArrayLike, c: ArrayLike, *, k: ArrayLike) -> np.ndarray:
    """pass^k: the chance that all of k draws are correct, C(c, k) / C(n, k). Shapes as `pass_at_k`. Source: tau-bench
    (arXiv 2406.12045), sec. 3."""
    n = np.asarray(n)
    c = np.asarray(c)
    k = np.asarray(k)
    if k.ndim:
        n = n[..., None]
        c = c[..., None]
    check_counts(n, c, k=k)
    return np.exp(log_miss(n, n - c, k=k))


def g_pass_at_k(n: ArrayLike, c: ArrayLike, *, k: int, tau: float) -> np.ndarray:
    """G-Pass@k_tau: the chance that at least ceil(tau k) of k draws are correct, sum_{j >= ceil(tau k)} C(c, j) C(n -
    c, k - j) / C(n, k). Source: arXiv 2412.13147, eq. 5.

    tau -> 0 gives pass@k (at least one is asked for), tau = 1 gives pass^k.

    n, c: draws and correct ones, [M].
    k: at most every n.
    tau: share of the k draws, 0 to 1.
    Returns [M]. Raises InputError.
    """
    if not 0 <= tau <= 1:
        raise InputError(f"tau = {tau}; it must lie in [0, 1]")
    n = np.asarray(n)
    c = np.asarray(c)
    check_counts(n, c, k=k)
    needed = max(1, int(np.ceil(tau * k - 1e-9)))  # 0.7 * 10 is 7.000000000000001 only in binary
    return _at_least(n, c, k=k)[..., needed]


def mg_pass_at_k(n: ArrayLike, c: ArrayLike, *, k: int) -> np.ndarray:
    """mG-Pass@k = 2 int_{1/2}^{1} G-Pass@k_tau dtau, as published: (2 / k) sum_{i = ceil(k/2) + 1}^{k} G-Pass@k_{i/k}.
    Source: arXiv 2412.13147, eq. 7."""
    n = np.asarray(n)
    c = np.asarray(c)
    check_counts(n, c, k=k)
    return 2 / k * _at_least(n, c, k=k)[..., int(np.ceil(k / 2)) + 1 :].sum(axis=-1)


def _at_least(n: np.ndarray, c: np.ndarray, *, k: int) -> np.ndarray:
    """Chance that at least j of k draws are correct, j = 0 ... k: [..., k + 1], hypergeometric.

    C(c, j) C(n - c, k - j) / C(n, k) with falling factorials, whose logarithms are small; smallest chances added first.
    """
    unique_n, unique_c, where = unique_counts(n, c)

    def falling(x: np.ndarray) -> np.ndarray:
        """ln [x (x - 1) ... (x - j + 1)] for j = 0 ... k, -inf where a factor is 0: [U, k + 1]."""
        with np.errstate(divide="ignore"):
            logs = np.log(np.maximum(x[:, None] - np.arange(k), 0.0))
        return np.concatenate([np.zeros((len(x), 1)), np.cumsum(logs, axis=1)], axis=1)

    ways = falling(np.array([k]))[0, k] - special.gammaln(np.arange(k + 1) + 1.0)
    ways = ways - special.gammaln(k - np.arange(k + 1) + 1.0)
    right, wrong, total = (falling(x) for x in (unique_c, unique_n - unique_c, unique_n))
    chance = np.exp(ways + right + wrong[:, ::-1] - total[:, -1:])
    return np.minimum(np.cumsum(chance[:, ::-1], axis=1)[:, ::-1], 1.0)[where]


def mixed_pass_at_k(base: Counts, tuned: Counts, *, k_base: np.ndarray, k_tuned: np.ndarray) -> np.ndarray:
    """Unbiased pass@(k1, k2): the chance that k1 draws of the base or k2 draws of the tuned model hold a correct one.

    1 - [C(n_b - c_b, k1) / C(n_b, k1)] [C(n_t - c_t, k2) / C(n_t, k2)], unbiased since the two sides are drawn
    independently.

    base, tuned: (n, c), int [M] each.
    k_base, k_tuned: int [K], zeros allowed.
    Returns [M, K].
    """
    total = 0.0
    for (n, c), k in ((base, k_base), (tuned, k_tuned)):
        n = np.asarray(n)[:, None]
        c = np.asarray(c)[:, None]
        k = np.atleast_1d(k)
        check_counts(n, c, k=np.maximum(k, 1))
        unique_n, unique_c, where = unique_counts(n[:, 0], c[:, 0])
        total = total + log_miss(unique_n[:, None], unique_c[:, None], k=k)[where]
    return -np.expm1(total)
