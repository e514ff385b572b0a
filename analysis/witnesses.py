"""The witness bank: what became of traces of the base that are known to be correct.

A correct trace that the base wrote is a witness of its support. Teacher-forced under the tuned model it needs no
sampling: delta = log pi_tuned(trace) - log pi_base(trace), in nats. Support that shrinks shows here, continuously,
before pass@k moves. Kept: delta >= log alpha. Collapsed: delta < -10.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.estimates import mean_of, triple
from analysis.intervals import PSEUDO_TUNED
from analysis.pair import BenchmarkPair
from analysis.records import ModelSamples, Scores
from analysis.scored import problem_index, rows_of

COLLAPSED = -10.0  # nats; a trace that is e^10 times rarer is as good as gone


def deltas(scores: Scores, base: ModelSamples, *, tuned: ModelSamples) -> tuple[np.ndarray, np.ndarray]:
    """Problem (int64 [W]) and delta (float64 [W], nats) of each correct trace of the base that both models scored.

    Rows are paired by problem, token sequence (or sample, where there is none), temperature and top-p. Where the scores
    say who wrote a text, only those of the base count; a sequence counts once.
    """
    problem = problem_index(scores, base)
    correct = scores["correct"]
    identity = scores["sequence"] if scores["sequence"] is not None else scores["sample"]
    if correct is None or identity is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    author = scores["written_by"]
    names = {base.name, *map(str, base.settings.get("model", []))}
    names |= {name.rstrip("/").rsplit("/", 1)[-1] for name in names}
    written = np.array(
        [a is None or str(a).rstrip("/").rsplit("/", 1)[-1] in names for a in author]
        if author is not None
        else [True] * len(scores)
    )
    eligible = (problem >= 0) & written & np.array([bool(x) for x in correct])
    given = [scores["temperature"], scores["top_p"]]
    settings = [np.ones(len(scores)) if column is None else column for column in given]
    found: list[dict[tuple, float]] = []
    for side in (base, tuned):
        rows = np.flatnonzero(eligible & rows_of(scores, side))
        keys = [(int(problem[i]), str(identity[i]), *(str(s[i]) for s in settings)) for i in rows]
        found.append(dict(zip(keys, scores.of("logprob")[rows].tolist(), strict=True)))
    both = sorted(found[0].keys() & found[1].keys())
    delta = np.array([found[1][key] - found[0][key] for key in both])
    return np.array([key[0] for key in both], dtype=np.int64), delta


def witnesses(pair: BenchmarkPair) -> dict[str, Any] | None:
    """The bank of one benchmark, means over a problem's traces and then over problems; None without such scores."""
    if pair.scores is None:
        return None
    problem, delta = deltas(pair.scores, pair.base, tuned=pair.tuned)
    if not len(delta):
        return None
    alpha = pair.settings.alpha
    count = np.bincount(problem, minlength=len(pair))

    def per_problem(values: np.ndarray) -> np.ndarray:
        total = np.bincount(problem, weights=values, minlength=len(pair))
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    kept = per_problem((delta >= np.log(alpha)).astype(float))
    collapsed = per_problem((delta < COLLAPSED).astype(float))
    return {
        "traces": len(delta),
        "problems": int((count > 0).sum()),
        "alpha": alpha,
        "mean_delta": mean_of(pair, per_problem(delta)),
        "median_delta": triple(float(np.median(delta))),
        "kept": mean_of(pair, kept, pseudo=PSEUDO_TUNED),
        "collapsed": mean_of(pair, collapsed, pseudo=PSEUDO_TUNED),
    }
