"""The published relatives of pass@k: each is registered once, and the document, the tables and the page follow.

To add one: an entry in PUBLISHED, and a line in docs/analysis.md (a test asks for it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from analysis.estimates import sides_of
from analysis.metrics import avg_at_n, bayes_at_n, cover_at, majority_at_k
from analysis.pair import BenchmarkPair
from analysis.pass_at_k import g_pass_at_k, mg_pass_at_k, pass_all_k, pass_at_k
from analysis.records import AnswerCounts

G_PASS_K = 16
TAUS = (0.25, 0.5, 0.75, 1.0)
COVER_TAUS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
MOST_VOTES = 1024  # maj@k is taken up to this k unless larger ones are asked for
PASS_ALL_SHOWN = ("2", "4", "8", "16", "32")  # values of k of pass^k that tables show

Entry = dict[str, Any]
Row = tuple[str, Entry | None, Entry | None, Entry | None]  # name; base, tuned and difference, each value, low, high


@dataclass(frozen=True)
class Metric:
    """One published metric.

    key: its name in the document.
    label: its name in tables; {step} is the k or tau of a row, {k} the entry's own "k".
    compute: from a pair to {"base", "tuned", "difference"}, or to such an entry a step; None where the input lacks it.
    value: where an entry of one side has its value.
    shown: whether tables show a step.
    """

    key: str
    label: str
    compute: Callable[[BenchmarkPair], Entry | None]
    value: str = "value"
    shown: Callable[[str], bool] = lambda step: True

    def rows(self, entry: Entry | None) -> list[Row]:
        """Rows of tables from the metric's part of the document."""
        if not entry:
            return []
        if "base" in entry:
            return [self._row(self.label.format(step="", k=entry.get("k")), entry)]
        steps = {step: sides for step, sides in entry.items() if isinstance(sides, dict) and self.shown(step)}
        return [self._row(self.label.format(step=step, k=entry.get("k")), sides) for step, sides in steps.items()]

    def _row(self, name: str, sides: Entry) -> Row:
        base, tuned, difference = (self._estimate(sides.get(side)) for side in ("base", "tuned", "difference"))
        return name, base, tuned, difference

    def _estimate(self, one: Entry | None) -> Entry | None:
        return one and {"value": one[self.value], "low": one["low"], "high": one["high"]}


def published(pair: BenchmarkPair) -> dict[str, Any]:
    """All of PUBLISHED, with intervals over problems."""
    return {metric.key: metric.compute(pair) for metric in PUBLISHED}


def metric_rows(block: dict[str, Any]) -> list[Row]:
    """Rows of all metrics of one benchmark of the document."""
    found = block.get("metrics") or {}
    rows = [metric.rows(found.get(metric.key)) for metric in PUBLISHED]
    return [row for some in rows for row in some]


def _both(pair: BenchmarkPair, metric: Callable[..., np.ndarray], **more: Any) -> Entry | None:
    """A metric of counts (n, c, ...) -> [M] on both sides."""
    return sides_of(pair, metric(*pair.b, **more), tuned=metric(*pair.t, **more), bounded=True)


def _pass_all(pair: BenchmarkPair) -> Entry:
    return {str(k): _both(pair, pass_all_k, k=k) for k in pair.k}


def _g_pass_k(pair: BenchmarkPair) -> int:
    return int(min(G_PASS_K, pair.largest))


def _g_pass(pair: BenchmarkPair) -> Entry:
    k = _g_pass_k(pair)
    return {"k": k, **{str(tau): _both(pair, g_pass_at_k, k=k, tau=tau) for tau in TAUS}}


def _mg_pass(pair: BenchmarkPair) -> Entry | None:
    k = _g_pass_k(pair)
    both = _both(pair, mg_pass_at_k, k=k) if k > 1 else None
    return None if both is None else {"k": k, **both}


def _cover(pair: BenchmarkPair) -> Entry:
    return {str(tau): _both(pair, lambda n, c, tau=tau: cover_at(n, c, tau=tau)[:, 0]) for tau in COVER_TAUS}


def _bayes(pair: BenchmarkPair) -> Entry:
    """Posterior mean and standard deviation, with the normal interval that the paper takes of them."""
    result = {}
    for side, counts in (("base", pair.b), ("tuned", pair.t)):
        mu, sigma = bayes_at_n(*counts)
        reach = float(special.ndtri((1 + pair.settings.confidence) / 2)) * sigma
        result[side] = {"mu": mu, "sigma": sigma, "low": max(mu - reach, 0.0), "high": min(mu + reach, 1.0)}
    return result


def _cot(pair: BenchmarkPair) -> Entry | None:
    sides = []
    for samples in pair.sides:
        if samples.cot_correct is None or samples.cot_unjudged is not None:
            return None
        sides.append(pass_at_k(samples.n, samples.cot_correct, k=pair.k))
    return {str(k): sides_of(pair, sides[0][:, i], tuned=sides[1][:, i], bounded=True) for i, k in enumerate(pair.k)}


def _majority(pair: BenchmarkPair) -> Entry | None:
    k = pair.k[pair.k <= MOST_VOTES] if pair.settings.k is None else pair.k
    if pair.base.answers is None or pair.tuned.answers is None:
        return None
    found = _votes_of_parts(pair, k)
    if found is None:
        repeats = pair.settings.maj_repeats

        def of(answers: AnswerCounts) -> np.ndarray:
            return majority_at_k(answers, len(pair), k=k, rng=pair.rng, repeats=repeats)

        answers = pair.base.answers
        found = (pair.of_base("maj@k", lambda: of(answers)), of(pair.tuned.answers))
    pair.votes = (k, *found)
    return {str(step): sides_of(pair, found[0][:, i], tuned=found[1][:, i], bounded=True) for i, step in enumerate(k)}


def _votes_of_parts(pair: BenchmarkPair, k: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """maj@k of base and tuned [M, K] from the benchmarks that make up the pooled problems; None where they lack one."""
    if not pair.parts:
        return None
    sides = (np.empty((len(pair), len(k))), np.empty((len(pair), len(k))))
    for part, index in pair.parts:
        if part.votes is None or not np.isin(k, part.votes[0]).all():
            return None
        columns = np.searchsorted(part.votes[0], k)
        for side, value in zip(sides, part.votes[1:], strict=True):
            side[index] = value[:, columns]
    return sides


PUBLISHED = (
    Metric("avg_at_n", "avg@n", lambda pair: _both(pair, avg_at_n)),
    Metric("maj_at_k", "maj@{step}", _majority),
    Metric("cot_pass_at_k", "CoT-Pass@{step}", _cot),
    Metric("pass_all_k", "pass^{step}", _pass_all, shown=lambda step: step in PASS_ALL_SHOWN),
    Metric("g_pass_at_k", "G-Pass@{k}, tau = {step}", _g_pass),
    Metric("mg_pass_at_k", "mG-Pass@{k}", _mg_pass),
    Metric("cover_at", "Cover@{step}", _cover),
    Metric("bayes_at_n", "Bayes@N (fixed problems)", _bayes, value="mu"),
)
