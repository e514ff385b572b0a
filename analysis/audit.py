"""One base against one tuned model: everything this package knows to say, as one JSON document.

document = audit(base, tuned)          # ModelSamples from analysis.readers.load and align
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow
import scipy

from analysis import curves, sections
from analysis.certified import CERTIFIED, UNSCORED, Bounds, Certificate, certify, default_eps, sampling_plan
from analysis.cluster_null import single_draws
from analysis.counts import Counts
from analysis.cross_task import check_trained, cross_task
from analysis.dependence import look
from analysis.equivalence import equivalence
from analysis.errors import InputError
from analysis.fold import efficiency_equivalent, odds_ratio_bounds, support_at_budgets
from analysis.intervals import Bootstrap, clopper_pearson
from analysis.lucky import tipping_points, tipping_words, verdicts_at_least
from analysis.null import Null
from analysis.pair import DEFAULTS, AuditSettings, BenchmarkPair
from analysis.patterns import PatternCounts, pattern_rates
from analysis.posterior import posterior
from analysis.published import published
from analysis.readings import (
    AS_IF_INDEPENDENT,
    POOLED,
    by_single_draws,
    group_nulls,
    judge_groups,
    other_readings,
)
from analysis.records import SCHEMA_VERSION, ModelSamples, Scores
from analysis.scored import lower_bounds
from analysis.strata import strata
from analysis.support import CATEGORIES, categories, suspicious_flips
from analysis.tail_miss import tail_miss
from analysis.units import judge_units, units
from analysis.verdict import Rules, evidence
from analysis.witnesses import witnesses

__all__ = ["DOCUMENT_VERSION", "POOLED", "AuditSettings", "audit", "plain"]
DOCUMENT_VERSION = 1


def audit(
    base: ModelSamples,
    tuned: ModelSamples,
    *,
    redraw: ModelSamples | None = None,
    scores: Scores | None = None,
    patterns: tuple[PatternCounts, PatternCounts] | None = None,
    settings: AuditSettings = DEFAULTS,
    warnings: Sequence[str] = (),
    progress: Callable[[str], None] = lambda benchmark: None,
    shared: dict[Any, Any] | None = None,
) -> dict[str, Any]:
    """The audit document (docs/analysis.md describes every key): JSON-ready, null where the input cannot give a
    statistic.

    base, tuned: aligned, that is, the same problems in the same order, every n >= 1.
    redraw: a second, independent draw of the base, aligned with it.
    scores: log-probabilities of texts under the models.
    patterns: draws of base and tuned by reasoning pattern.
    settings: what to compute, and how surely.
    warnings: lines of `align`, repeated in the document.
    progress: told each benchmark before its turn.
    shared: one dict for several runs against this very base (and these settings), whose parts are then found once.
    Raises InputError where k is above n.
    """
    names = sorted(set(base.benchmarks))
    if POOLED in names:
        raise InputError(f"a benchmark is called {POOLED!r}, which is the name of the pooled problems; rename it")
    if base.problem_ids != tuned.problem_ids or base.benchmarks != tuned.benchmarks:
        raise InputError("base and tuned hold different problems; line them up with analysis.readers.align")
    check_trained(settings.trained_on, names)
    bounds, refused = _bounds_of(scores, base, tuned=tuned)

    # verdicts of all benchmarks together, since Holm's correction needs them all
    labels = np.array(base.benchmarks)
    groups = {name: np.flatnonzero(labels == name) for name in names} | {POOLED: np.arange(len(labels))}
    b = Counts(base.n, base.correct)
    t = Counts(tuned.n, tuned.correct)
    first, second = settings.false_positives
    rates = (first.of(b), second.of(t))
    dependence = look(base, tuned, choice=settings.clusters, seed=settings.seed)
    nulls = group_nulls(
        b, t, groups=groups, dependence=dependence, rates=rates, rules=settings.rules, seed=settings.seed
    )
    judged = judge_groups(nulls, groups, rules=settings.rules)
    if dependence.cells is None:
        other = other_readings(base, tuned, groups=groups, rules=settings.rules)
    else:  # the others relabel single draws too
        other = {AS_IF_INDEPENDENT: by_single_draws(nulls, groups, rules=settings.rules)}

    # then each benchmark alone; with a single one, the pooled problems are the same and get the same numbers
    found: dict[str, Any] = {}
    details: list[dict[str, Any]] = [{} for _ in labels]
    tasks: dict[str, tuple[Counts, Counts, Bootstrap]] = {}
    parts: list[tuple[BenchmarkPair, np.ndarray]] = []
    for name, index in groups.items():
        if len(names) == 1 and name == POOLED:
            found[POOLED] = found[names[0]]
            continue
        progress(name)
        again = None if redraw is None else redraw.subset(index)
        known = tuple(parts) if name == POOLED else ()
        pair = BenchmarkPair(base.subset(index), tuned.subset(index), again, scores, settings, known, shared)
        parts.append((pair, index))
        here = dependence.at(index).cells
        # what is said of single problems takes draws for independent: one of each cluster is
        single = (pair.b, pair.t) if here is None else single_draws(here, seed=settings.seed)
        section, certificate, plan = _section(
            pair, nulls[name], bounds=bounds.at(index), single=single, independent=here is None
        )
        if patterns is not None:
            section["patterns"] = pattern_rates(pair, patterns[0].at(index), tuned=patterns[1].at(index))
        readings = {label: by[name] for label, by in other.items()}
        adjusted = len(names) > 1 and name != POOLED
        section["verdict"] = judged[name].verdict
        section["within"] = f"within {draws_in_words(pair)} draws"
        section["evidence"] = evidence(
            nulls[name],
            judged[name],
            problems=len(index),
            draws=draws_in_words(pair),
            rules=settings.rules,
            adjusted=adjusted,
            others=readings,
        )
        section["evidence"] += dependence.sentence
        section["dependence"] = dependence.document()
        section["lucky_guesses"] = None
        if dependence.cells is None:
            section["lucky_guesses"] = _lucky(b.at(index), t.at(index), rates=rates, rules=settings.rules)
            section["evidence"] += tipping_words(section["lucky_guesses"]["tipping"])
        section["verdict_detail"] = plain(asdict(judged[name]) | {"other_readings": readings})
        found[name] = section
        tasks[name] = (pair.b, pair.t, pair.bootstrap)
        if name != POOLED:
            for row, problem in zip(
                _problem_rows(pair, certificate=certificate, plan=plan, single=single), index, strict=True
            ):
                details[problem] = row

    found[POOLED]["cross_task"] = cross_task(
        {name: task for name, task in tasks.items() if name != POOLED}, trained_on=settings.trained_on
    )
    for key in ("answers", "modes"):
        judge_units({name: section[key] for name, section in found.items()}, rules=settings.rules, pooled=POOLED)
    sides = {"base": base, "tuned": tuned, "redraw": redraw, "scores": scores}
    return plain(
        {
            "benchmarks": found,
            "problems_detail": details,
            "inputs": {side: given.files for side, given in sides.items() if given is not None},
            "models": {
                side: {"name": m.name, "settings": m.settings} for side, m in (("base", base), ("tuned", tuned))
            },
            "settings": settings.document(),
            "versions": {
                "document": DOCUMENT_VERSION,
                "schema": SCHEMA_VERSION,
                "python": platform.python_version(),
                "numpy": np.__version__,
                "scipy": scipy.__version__,
                "pyarrow": pyarrow.__version__,
            },
            "seed": settings.seed,
            "warnings": [*warnings, *refused, *dependence.warnings, *_unread(patterns)],
        }
    )


def _bounds_of(scores: Scores | None, base: ModelSamples, *, tuned: ModelSamples) -> tuple[Bounds, list[str]]:
    """Lower bounds that the scores give, and a line for each side that they say nothing of."""
    if scores is None:
        return UNSCORED, []
    found: list[np.ndarray | None] = []
    refused = []
    for side, samples in (("base", base), ("tuned", tuned)):
        bound, why = lower_bounds(scores, samples)
        found.append(bound)
        if why:
            refused.append(f"scores do not certify the {side}'s support: {why}")
    return Bounds(*found), refused


def _unread(patterns: tuple[PatternCounts, PatternCounts] | None) -> list[str]:
    """A line for each side of whose draws some have no text."""
    return [
        f"{side.unread:,} draws of the {name} have no text, so reasoning patterns leave them out"
        for name, side in zip(("base", "tuned model"), patterns or (), strict=False)
        if side.unread
    ]


def _lucky(b: Counts, t: Counts, *, rates: tuple[float, float], rules: Rules) -> dict[str, Any]:
    """What false positives of the verifier do to the verdict of one benchmark (without Holm over several)."""
    return {
        "rates": {"base": rates[0], "tuned": rates[1]},
        "at_least": verdicts_at_least(b, t, rules=rules),
        "tipping": tipping_points(b, t, rates=rates, rules=rules),
    }


def draws_in_words(pair: BenchmarkPair) -> str:
    """Draws a problem, as sentences name them: 128, or 64 to 128, or both sides where they differ."""
    spans = [f"{n.min():,}" if n.min() == n.max() else f"{n.min():,} to {n.max():,}" for n in (pair.b.n, pair.t.n)]
    return spans[0] if spans[0] == spans[1] else f"{spans[0]} and {spans[1]}"


def _section(
    pair: BenchmarkPair, null: Null, *, bounds: Bounds, single: tuple[Counts, Counts], independent: bool
) -> tuple[dict[str, Any], Certificate | None, dict[str, Any] | None]:
    """The document of one benchmark but for its verdict, with the certificate and the sampling plan (None where n is
    too small).

    single: independent draws of both sides. independent: whether these are all draws.
    """
    settings = pair.settings
    fewest = int(min(side.n.min() for side in single))
    eps = settings.eps or default_eps(max(fewest, 1), len(pair), confidence=settings.confidence)
    certificate = None
    plan = None
    if eps is not None:
        certificate = certify(*single, eps=eps, confidence=settings.confidence, bounds=bounds)
        plan = sampling_plan(*single, certificate=certificate)
    section = {
        "problems": len(pair),
        "draws": {side: sections.draws(s) for side, s in (("base", pair.base), ("tuned", pair.tuned))},
        **sections.support(pair),
        "certified": sections.certified(single, certificate, plan=plan, bounds=bounds),
        "null": null.document(),
        "efficiency": efficiency_equivalent(pair),
        "support_at_budgets": support_at_budgets(pair),
        "redraw": sections.redraw(pair),
        **curves.curves(pair),
        **curves.token_budget(pair),
        "metrics": published(pair),
        "entropy": sections.entropies(pair),
        "perplexity": sections.perplexities(pair),
        "answers": units(pair, "answer", eps=eps, independent=independent),
        "modes": units(pair, "mode", eps=eps, independent=independent),
        "strata": strata(pair),
        "witnesses": witnesses(pair),
        "cross_task": None,
        "posterior": posterior(pair, single),
        "equivalence": equivalence(pair),
        "tail_miss": tail_miss(pair),
        "patterns": None,
        "split_halves": sections.halves(pair),
        "suspicious_flips": sections.flips(pair),
        "advice": sections.advice(pair),
    }
    return section, certificate, plan


def _problem_rows(
    pair: BenchmarkPair, *, certificate: Certificate | None, plan: dict[str, Any] | None, single: tuple[Counts, Counts]
) -> list[dict[str, Any]]:
    """One row a problem: counts, success rates with exact intervals, categories, further draws.

    single: independent draws of both sides, on which intervals and odds ratios rest.
    """
    base = pair.base
    tuned = pair.tuned
    confidence = pair.settings.confidence
    low_b, high_b = clopper_pearson(single[0].correct, single[0].n, confidence=confidence)
    low_t, high_t = clopper_pearson(single[1].correct, single[1].n, confidence=confidence)
    category = categories(base.correct, tuned.correct)
    flip = suspicious_flips(pair.b, pair.t)
    ratio_low, ratio_high = odds_ratio_bounds(*single, confidence=confidence)
    return [
        {
            "problem_id": base.problem_ids[i],
            "benchmark": base.benchmarks[i],
            "base": {
                "n": base.n[i],
                "correct": base.correct[i],
                "p": base.correct[i] / base.n[i],
                "low": low_b[i],
                "high": high_b[i],
            },
            "tuned": {
                "n": tuned.n[i],
                "correct": tuned.correct[i],
                "p": tuned.correct[i] / tuned.n[i],
                "low": low_t[i],
                "high": high_t[i],
            },
            "odds_ratio": {"low": ratio_low[i], "high": ratio_high[i]},
            "category": CATEGORIES[category[i]],
            "certified": None if certificate is None else CERTIFIED[certificate.category[i]],
            "further_draws": None if plan is None else {"base": plan["base"][i], "tuned": plan["tuned"][i]},
            "suspicious_flip": bool(flip[i]),
        }
        for i in range(len(base))
    ]


def _is_finite(value: np.ndarray) -> bool:
    return value.dtype.kind in "biu" or (value.dtype.kind == "f" and bool(np.isfinite(value).all()))


def plain(value: Any) -> Any:
    """JSON-ready: numpy becomes Python; NaN and infinity, which JSON does not know, become null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.tolist() if _is_finite(value) else plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
