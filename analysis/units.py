"""Support by unit: distinct correct answers, or modes (ways of solving), instead of problems.

The counts are read at a common k, since the side with more draws sees more units, and stand beside what one model
drawn twice would show (analysis.unit_null), from which the verdict by unit follows by the rules of analysis.verdict.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis import certified as certification
from analysis.counts import Counts
from analysis.estimates import total_of
from analysis.null import one_side_only
from analysis.pair import BenchmarkPair
from analysis.records import ModelSamples, Scores
from analysis.scored import lower_bounds_by_name
from analysis.sections import PSEUDO_SUPPORT, metrics, ratio_intervals
from analysis.significance import holm
from analysis.support import CATEGORIES, SupportCounts, answer_support, memberships
from analysis.unit_null import unit_null
from analysis.verdict import Rules, Spans, word

LABELS = {"answers": "distinct correct answers", "modes": "solution modes"}


def units(pair: BenchmarkPair, by: str, *, eps: float | None, independent: bool = True) -> dict[str, Any] | None:
    """Support per distinct correct answer (by="answer") or mode (by="mode"), its null, and its certified version.

    "out" is null: answers never seen cannot be counted. With false-positive rates there is no null either: accepted
    answers that are wrong are spread over any number of units.

    pair: both sides of one benchmark.
    by: "answer" or "mode".
    eps: of certified support; None where none can be certified.
    independent: whether draws are; else there is no null and no certificate.
    """
    first = pair.base.answers
    second = pair.tuned.answers
    if first is None or second is None:
        return None
    if by == "mode" and any(all(mode is None for mode in side.mode) for side in (first, second)):
        return None
    _, table, _ = answer_support(first, second, by=by, problems=len(pair))
    problem = np.array([row[0] for row in table], dtype=np.int64)
    base, tuned = (
        Counts(side.n[problem], np.array([row[i] for row in table], dtype=np.int64))
        for i, side in ((2, pair.base), (3, pair.tuned))
    )
    # at a common k, expected over which k of the draws are taken
    k = int(pair.k[-1])
    each = np.zeros((len(pair), 3))
    np.add.at(each, problem, memberships(base, tuned, k=k)[:, :3] if table else np.zeros((0, 3)))
    preserved, shrunk, expanded = each.sum(axis=0).tolist()
    counts = SupportCounts(preserved, shrunk, expanded, float("nan"))
    given = zip(pair.settings.false_positives, (pair.b, pair.t), strict=True)
    why_no_null = "false-positive rates are given" if any(rate.of(side) for rate, side in given) else None
    if not independent:
        why_no_null = "draws are not independent"
    return {
        "k": k,
        "correct_answers_seen": len(table),
        **{name: getattr(counts, name) for name in CATEGORIES},
        **metrics(counts),
        "intervals": _intervals(pair, counts, each=each),
        "certified": _certified(pair, by, table=table, sides=(base, tuned), eps=eps) if independent else None,
        "within": Spans.of(pair.b, pair.t).within,
        "why_no_null": why_no_null,
        **(
            {"null": None, "verdict": None, "evidence": None}
            if why_no_null
            else _against_null(pair, problem, base=base, tuned=tuned)
        ),
    }


def _against_null(pair: BenchmarkPair, problem: np.ndarray, *, base: Counts, tuned: Counts) -> dict[str, Any]:
    """The null over all draws, and upper bounds of the shares of units lost and gained beyond it."""
    null = unit_null(problem, base, tuned=tuned)
    return {
        "null": null.document(),
        "p_gain": null.expanded.p,
        "p_loss": null.shrunk.p,
        "upper_gain": _upper(pair, problem, one=tuned, other=base),
        "upper_loss": _upper(pair, problem, one=base, other=tuned),
        "verdict": None,
        "evidence": None,
    }


def _upper(pair: BenchmarkPair, problem: np.ndarray, *, one: Counts, other: Counts) -> float | None:
    """Upper bound of the share of units that changed sides beyond the null: bootstrap over problems, since the units of
    one problem belong together; not below what no change at all in as many problems would give."""
    if not len(problem):
        return None
    chance = one_side_only(one.n, other.n, correct=one.correct + other.correct)
    happened = (one.correct > 0) & (other.correct == 0)
    beyond = np.bincount(problem, weights=happened - chance, minlength=len(pair))
    size = np.bincount(problem, minlength=len(pair)).astype(float)
    replicates = (pair.bootstrap.problems @ beyond) / np.maximum(pair.bootstrap.problems @ size, 1e-9)
    bound = pair.settings.rules.bound
    least = -np.expm1(np.log1p(-bound) / int((size > 0).sum()))
    return float(max(np.quantile(replicates, bound), least))


def judge_units(blocks: dict[str, dict[str, Any] | None], *, rules: Rules, pooled: str) -> None:
    """Fills in the verdict by unit of each benchmark: p-values adjusted by Holm over the benchmarks, but for the pooled
    problems, which are one question."""
    names = [name for name, block in blocks.items() if block and block["null"] and name != pooled]
    adjusted = {
        key: holm(np.array([(blocks[name] or {})[key] for name in names])).tolist() for key in ("p_gain", "p_loss")
    }
    for i, name in enumerate(names):
        _judge(blocks[name] or {}, adjusted["p_gain"][i], p_loss=adjusted["p_loss"][i], rules=rules)
    if (block := blocks.get(pooled)) and block["null"] and block["verdict"] is None:
        _judge(block, block["p_gain"], p_loss=block["p_loss"], rules=rules)


def _judge(block: dict[str, Any], p_gain: float, *, p_loss: float, rules: Rules) -> None:
    verdict = word(p_gain, p_loss, level=rules.level)
    upper = [1.0 if block[key] is None else block[key] for key in ("upper_gain", "upper_loss")]
    if verdict == "inconclusive" and max(upper) < rules.margin:
        verdict = "held"
    n = block["null"]
    block |= {"verdict": verdict, "p_gain": p_gain, "p_loss": p_loss}
    block["evidence"] = (
        f"Of {block['correct_answers_seen']:,} seen, {n['observed_shrunk']:,} were drawn from the base only, where one "
        f"model drawn twice would show {n['expected_shrunk']:.3g}, and {n['observed_expanded']:,} from the tuned model "
        f"only, where it would show {n['expected_expanded']:.3g} (loss p = {p_loss:.2g}, gain p = {p_gain:.2g}): "
        f"{verdict} {block['within']}."
    )
    if verdict in ("expanded", "shrank", "traded"):
        block["evidence"] += " A model that is only faster or slower changes these too; no speed-up is tested by unit."
    if verdict in ("held", "inconclusive") and block["upper_loss"] is not None:
        block["evidence"] += (
            f" At {rules.bound:.0%} confidence at most {block['upper_loss']:.1%} of them were lost and "
            f"{block['upper_gain']:.1%} gained beyond chance in these draws (margin {100 * rules.margin:g}%)."
        )


def _certified(
    pair: BenchmarkPair,
    by: str,
    *,
    table: list[tuple[int, str, int, int]],
    sides: tuple[Counts, Counts],
    eps: float | None,
) -> dict[str, Any] | None:
    """What can be said of each unit with stated confidence; None without an eps or units."""
    if eps is None or not table:
        return None
    keys = [(row[0], row[1]) for row in table]
    bounds = certification.Bounds(*(_named_bounds(pair.scores, side, by=by, keys=keys) for side in pair.sides))
    asked = max(len(table), int(len(pair) / eps))  # at most 1 / eps answers of a problem can lie above eps
    certificate = certification.certify(
        *sides, eps=eps, confidence=pair.settings.confidence, bounds=bounds, hypotheses=asked
    )
    return {
        "eps": eps,
        "confidence": certificate.confidence,
        **{k: v for k, v in certificate.counts().items() if k != "out"},
        "hypotheses": asked,
    }


def _named_bounds(
    scores: Scores | None, samples: ModelSamples, *, by: str, keys: list[tuple[int, str]]
) -> np.ndarray | None:
    """Lower bounds of the probabilities of answers or modes (problem, name), from scores: float64 [A]."""
    found = None if scores is None else lower_bounds_by_name(scores, samples, by=by)[0]
    return None if found is None else np.array([found.get(key, 0.0) for key in keys])


def _intervals(pair: BenchmarkPair, counts: SupportCounts, *, each: np.ndarray) -> dict[str, Any]:
    """Bootstrap over problems, since the answers of one problem belong together. each: [M, 3], its P, S and E."""
    totals = {
        name: {**total_of(pair, each[:, i], pseudo=PSEUDO_SUPPORT[:, i]), "method": "bootstrap over problems"}
        for i, name in enumerate(CATEGORIES[:3])
    }
    rows = pair.bootstrap.problems @ each + pair.bootstrap.pseudo @ PSEUDO_SUPPORT[:, :3]
    return totals | ratio_intervals(pair, counts, rows=rows, names=("srr", "ndr", "sds", "nscr"))
