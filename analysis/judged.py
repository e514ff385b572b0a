"""The verdict where only draws whose reasoning a judge found right count as correct (CoT-Pass@K, arXiv 2506.14245).

A judge looks at correct draws, and often at some of them only. Then three readings are given:

- the base's unjudged draws as right and the tuned model's as wrong, and the other way round. Whatever the judge would
  have said of each, the numbers of gains and losses lie between those of these two.
- unjudged draws taken for as good as the judged ones. A side is thinned to the draws that were judged and the same
  share of its wrong draws, which need no judge; the share is that of the side's problems with about as many correct
  draws (1, 2 to 3, 4 to 7, ...), so that a judge who looks at the first few of each problem is allowed for. Assumption:
  among these, which correct draws were judged has nothing to do with their reasoning.
"""

from __future__ import annotations

import numpy as np

from analysis.counts import Counts
from analysis.null import upper_tail
from analysis.records import ModelSamples

WHOLE = 0.05  # p-value of "draws were chosen, not problems" below which no unjudged draw is taken for judged
ALL_JUDGED = "with draws whose reasoning the judge found correct as the only correct ones"


def judged_counts(base: ModelSamples, tuned: ModelSamples) -> dict[str, tuple[Counts, Counts]]:
    """Readings of the same draws by their reasoning: label -> counts of base and tuned; empty where a side has no
    judgements."""
    if base.cot_correct is None or tuned.cot_correct is None:
        return {}
    right = [np.asarray(side.cot_correct) for side in (base, tuned)]
    open_ = [_unjudged(side) for side in (base, tuned)]
    sides = (base, tuned)
    missing = [int(x.sum()) for x in open_]
    if not any(missing):
        return {ALL_JUDGED: (Counts(base.n, right[0]), Counts(tuned.n, right[1]))}
    of = [int(side.correct.sum()) for side in sides]
    stated = (
        f"{missing[0]:,} of the base's {of[0]:,} correct draws unjudged, {missing[1]:,} of the tuned model's {of[1]:,}"
    )
    whole = any(_left_out(side) for side in sides)
    if whole:
        stated += "; some whole problems, so that no reading takes the unjudged for as good"
    bounds = {
        f"by reasoning ({stated}), the base's unjudged as right and the tuned model's as wrong": (
            Counts(base.n, right[0] + open_[0]),
            Counts(tuned.n, right[1]),
        ),
        "by reasoning, the base's unjudged as wrong and the tuned model's as right": (
            Counts(base.n, right[0]),
            Counts(tuned.n, right[1] + open_[1]),
        ),
    }
    if whole:
        return bounds
    return bounds | {
        "by reasoning, unjudged draws taken for as good as the judged ones": (thinned(base), thinned(tuned))
    }


def _unjudged(side: ModelSamples) -> np.ndarray:
    return np.zeros(len(side), dtype=np.int64) if side.cot_unjudged is None else side.cot_unjudged


def thinned(side: ModelSamples) -> Counts:
    """The judged draws of a side and the same share of its wrong ones; problems may keep no draw.

    >>> two = np.array([8, 8])
    >>> half = ModelSamples("m", ["a", "b"], ["x", "x"], two, two // 4, 0 * two)
    >>> half.cot_correct, half.cot_unjudged = np.array([1, 0]), np.array([1, 1])
    >>> thinned(half).n.tolist(), thinned(half).correct.tolist()
    ([4, 4], [1, 0])
    """
    judged = np.asarray(side.correct) - _unjudged(side)
    kept = judged + np.round(_share(side) * (side.n - side.correct)).astype(np.int64)
    return Counts(kept, np.asarray(side.cot_correct))


def _share(side: ModelSamples) -> np.ndarray:
    """Share of the correct draws that were judged, of the problems with about as many: float64 [M]."""
    correct = np.asarray(side.correct)
    judged = correct - _unjudged(side)
    level = np.log2(np.maximum(correct, 1)).astype(np.int64)  # problems without a correct draw go with those of one
    size = int(level.max(initial=0)) + 1
    of = np.bincount(level, weights=correct, minlength=size)
    share = np.bincount(level, weights=judged, minlength=size) / np.maximum(of, 1)
    return np.where(of > 0, share, judged.sum() / max(int(correct.sum()), 1))[level]


def _left_out(side: ModelSamples) -> bool:
    """Whether whole problems were left to one side: more of them have no judged draw than a choice of draws leaves.
    Of a problem without judged draws it is not known then whether it would be solved by reasoning."""
    solved = np.asarray(side.correct) > 0
    none = solved & (_unjudged(side) == side.correct)
    chance = (1 - _share(side)[solved]) ** np.asarray(side.correct)[solved]
    return bool(none.any()) and upper_tail(chance, int(none.sum())) < WHOLE
