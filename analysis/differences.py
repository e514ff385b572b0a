"""Differences of pass@k between methods, and of methods to their base, with runs and problems as two samples.

value: mean over problems of the mean over runs. Its interval widens the paired bootstrap over problems by the spread
between runs (analysis.over_runs), moderated over the methods of the board at the same k (analysis.moderated).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.counts import Counts
from analysis.errors import InputError
from analysis.intervals import PSEUDO_DIFFERENCE, Bootstrap
from analysis.moderated import Moderated, moderate
from analysis.over_runs import RunLuck, widened
from analysis.pair import AuditSettings, ks_up_to
from analysis.pass_at_k import pass_at_k


class BenchmarkRuns:
    """The runs of all methods on the problems of one benchmark.

    base: counts of its M problems.
    methods: method -> counts of the same problems, one a run.
    settings: k, confidence, replicates and seed are read.
    bootstrap: over M problems; None draws one.
    """

    def __init__(
        self,
        base: Counts,
        methods: dict[str, list[Counts]],
        *,
        settings: AuditSettings,
        bootstrap: Bootstrap | None = None,
    ):
        self.base = base
        self.methods = methods
        self.settings = settings
        self.bootstrap = bootstrap or Bootstrap.draw(
            len(base.n),
            settings.replicates,
            rng=np.random.default_rng(settings.seed),
            confidence=settings.confidence,
        )
        self._curves: dict[tuple[str, int], np.ndarray] = {}
        self._tables: dict[tuple[int, int], np.ndarray] = {}
        self._spreads: dict[int, tuple[list[str], Moderated | None]] = {}

    def curve(self, name: str, k: int) -> np.ndarray:
        """pass@k of every run and problem: [R, M]."""
        if (name, k) not in self._curves:
            self._curves[name, k] = np.stack([self._pass_at_k(run, k) for run in self.methods[name]])
        return self._curves[name, k]

    def _pass_at_k(self, run: Counts, k: int) -> np.ndarray:
        """pass@k of every problem [M]; read off a table where all problems have as many draws."""
        n = int(run.n[0])
        if (run.n != n).any():
            return pass_at_k(run.n, run.correct, k=k)
        if (n, k) not in self._tables:
            self._tables[n, k] = pass_at_k(n, np.arange(n + 1), k=k)
        return self._tables[n, k][run.correct]

    def spread(self, k: int) -> tuple[list[str], Moderated | None]:
        """The methods whose runs all have k draws a problem, and their moderated variances between runs at this k."""
        if k not in self._spreads:
            able = [name for name, runs in self.methods.items() if min(run.n.min() for run in runs) >= k]
            means = [self.curve(name, k).mean(axis=1) for name in able]
            self._spreads[k] = (
                able,
                moderate(
                    np.array([m.var(ddof=1) if len(m) > 1 else np.nan for m in means]),
                    np.array([len(m) - 1.0 for m in means]),
                ),
            )
        return self._spreads[k]

    def luck(self, names: Sequence[str], k: int) -> RunLuck | None:
        """What the runs of these methods add to the variance of a difference; the smaller degrees of freedom count."""
        able, spread = self.spread(k)
        if spread is None:
            return None
        at = [able.index(name) for name in names]
        parts = [spread.variance[i] / len(self.methods[name]) for i, name in zip(at, names, strict=True)]
        return RunLuck(float(sum(parts)), float(spread.df[at].min()))

    def between(self, first: str, second: str) -> dict[str, dict[str, Any]]:
        """Second method minus first, k -> row."""
        runs = [*self.methods[first], *self.methods[second]]
        rows = {}
        for k in self._ks(runs, f"a run of {first} or {second}"):
            one = self.curve(first, k)
            two = self.curve(second, k)
            a = one.mean(axis=1)
            b = two.mean(axis=1)
            luck = self.luck((first, second), k)
            row = self._row(two.mean(axis=0) - one.mean(axis=0), luck)
            rows[str(k)] = row | {
                "first_runs": a,
                "second_runs": b,
                "range": [b.min() - a.max(), b.max() - a.min()],
                "p_over_runs": None if luck is None else luck.p(row["value"]),
            }
        return rows

    def against_base(self, name: str) -> dict[str, dict[str, Any]]:
        """The method minus the base, which is one checkpoint and has no spread; k -> row."""
        rows = {}
        for k in self._ks([self.base, *self.methods[name]], f"the base or a run of {name}"):
            difference = self.curve(name, k).mean(axis=0) - self._pass_at_k(self.base, k)
            rows[str(k)] = self._row(difference, self.luck((name,), k))
        return rows

    def spreads(self) -> dict[str, dict[str, Any] | None]:
        """The spread between runs at every k that was asked for, k -> row; None where no method has two runs."""
        return {str(k): self._spread_row(k) for k in sorted(self._spreads)}

    def _spread_row(self, k: int) -> dict[str, Any] | None:
        able, spread = self.spread(k)
        if spread is None:
            return None
        of = {}
        for i, name in enumerate(able):
            means = self.curve(name, k).mean(axis=1)
            of[name] = {
                "runs": len(means),
                "sd": means.std(ddof=1) if len(means) > 1 else None,
                "moderated_sd": np.sqrt(spread.variance[i]),
                "df": spread.df[i],
                "apart": spread.apart[i],
            }
        return {
            "methods": spread.methods,
            "pooled_df": spread.pooled_df,
            "prior_df": None if np.isinf(spread.prior_df) else spread.prior_df,
            "all_pooled": bool(np.isinf(spread.prior_df)),
            "common_sd": np.sqrt(spread.prior_variance),
            "of": of,
        }

    def _ks(self, runs: Sequence[Counts], where: str) -> list[int]:
        largest = int(min(run.n.min() for run in runs))
        k = ks_up_to(largest) if self.settings.k is None else np.unique(self.settings.k)
        if k[-1] > largest:
            raise InputError(f"k = {k[-1]} is above n = {largest} in {where}")
        return k.tolist()

    def _row(self, difference: np.ndarray, luck: RunLuck | None) -> dict[str, Any]:
        """difference: [M]. The interval, what of it is luck of the problems alone, and the degrees of freedom."""
        value = float(difference.mean())
        low, high = self.bootstrap.interval(self.bootstrap.means(difference, PSEUDO_DIFFERENCE))
        over_problems = (float(low), float(high))
        low, high = widened(value, over_problems, luck=luck, confidence=self.settings.confidence)
        return {
            "value": value,
            "low": low,
            "high": high,
            "over_problems": list(over_problems),
            "df": None if luck is None else luck.df,
        }
