"""One base against one tuned model: everything this package knows to say, as one JSON document.

document = audit(base, tuned)          # ModelSamples from analysis.readers.load and align
"""

from __future__ import annotations

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
from analysis.equivalence import equivalence
from analysis.errors import InputError
from analysis.fold import efficiency_equivalent, odds_ratio_bounds, support_at_budgets
from analysis.intervals import clopper_pearson
from analysis.json_files import plain
from analysis.lucky import rates_in_words, tipping_points, tipping_words, verdicts_at_least
from analysis.null import Null
from analysis.order_of_draws import chosen_warnings, order_warnings
from analysis.pair import DEFAULTS, AuditSettings, BenchmarkPair
from analysis.patterns import PatternCounts, pattern_rates
from analysis.posterior import posterior
from analysis.published import published
from analysis.readings import POOLED, Benchmarks, Verdicts, find_verdicts, groups_of
from analysis.records import SCHEMA_VERSION, ModelSamples, Scores
from analysis.scored import lower_bounds
from analysis.strata import strata
from analysis.support import CATEGORIES, categories, suspicious_flips
from analysis.tail_miss import tail_miss
from analysis.units import judge_units, units
from analysis.verdict import Spans, evidence
from analysis.witnesses import witnesses

__all__ = ["DOCUMENT_VERSION", "POOLED", "AuditSettings", "audit"]
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
    groups = _groups(base, tuned, settings=settings)
    bounds, refused = _bounds_of(scores, base, tuned=tuned)
    verdicts = find_verdicts(base, tuned, groups=groups, settings=settings)

    # then each benchmark alone; with a single one, the pooled problems are the same and get the same numbers
    found: dict[str, Any] = {}
    details: list[dict[str, Any]] = [{} for _ in base.problem_ids]
    pairs: dict[str, BenchmarkPair] = {}
    for name, index in groups.items():
        if len(groups) == 2 and name == POOLED:
            found[POOLED] = found[next(iter(groups))]
            continue
        progress(name)
        # of the pooled problems, what is found problem by problem has been found with their benchmarks
        known = tuple((pair, groups[part]) for part, pair in pairs.items()) if name == POOLED else ()
        again = None if redraw is None else redraw.subset(index)
        pair = BenchmarkPair(base.subset(index), tuned.subset(index), again, scores, settings, known, shared)
        pairs[name] = pair
        # what is said of single problems takes draws for independent: one of each cluster is
        cells = verdicts.dependence.at(index).cells
        single = (pair.b, pair.t) if cells is None else single_draws(cells, seed=settings.seed)
        certificate, plan = _certificate(pair, single, bounds=bounds.at(index))
        found[name] = _section(
            pair,
            verdicts.nulls[name],
            certificate=certificate,
            plan=plan,
            bounds=bounds.at(index),
            single=single,
            independent=cells is None,
        )
        if patterns is not None:
            found[name]["patterns"] = pattern_rates(pair, patterns[0].at(index), tuned=patterns[1].at(index))
        found[name] |= _verdict_keys(name, pair, verdicts=verdicts)
        if name != POOLED:
            rows = _problem_rows(pair, certificate=certificate, plan=plan, single=single)
            for row, problem in zip(rows, index, strict=True):
                details[problem] = row

    # and what needs all benchmarks again
    tasks = {name: (pair.b, pair.t, pair.bootstrap) for name, pair in pairs.items() if name != POOLED}
    found[POOLED]["cross_task"] = cross_task(tasks, trained_on=settings.trained_on)
    for key in ("answers", "modes"):
        judge_units({name: section[key] for name, section in found.items()}, rules=settings.rules, pooled=POOLED)
    independent = verdicts.dependence.cells is None
    order = [line for side in (base, tuned) for line in order_warnings(side, independent=independent)]
    order += chosen_warnings(base, tuned)
    lines = [*warnings, *refused, *verdicts.dependence.warnings, *order, *_unread(patterns)]
    sides = {"base": base, "tuned": tuned, "redraw": redraw, "scores": scores}
    return plain(
        {"benchmarks": found, "problems_detail": details, **_provenance(sides, settings=settings), "warnings": lines}
    )


def _groups(base: ModelSamples, tuned: ModelSamples, *, settings: AuditSettings) -> Benchmarks:
    """Benchmark -> indices of its problems, by name, and the pooled problems last. Raises InputError where the sides do
    not belong together or a name is not allowed."""
    names = sorted(set(base.benchmarks))
    if POOLED in names:
        raise InputError(f"a benchmark is called {POOLED!r}, which is the name of the pooled problems; rename it")
    if base.problem_ids != tuned.problem_ids or base.benchmarks != tuned.benchmarks:
        raise InputError("base and tuned hold different problems; line them up with analysis.readers.align")
    check_trained(settings.trained_on, names)
    return groups_of(base.benchmarks)


def _provenance(sides: dict[str, Any], *, settings: AuditSettings) -> dict[str, Any]:
    """What was read, with which settings and versions: given again, it gives the same document."""
    return {
        "inputs": {side: given.files for side, given in sides.items() if given is not None},
        "models": {side: {"name": sides[side].name, "settings": sides[side].settings} for side in ("base", "tuned")},
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
    }


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


def _verdict_keys(name: str, pair: BenchmarkPair, *, verdicts: Verdicts) -> dict[str, Any]:
    """The part of a benchmark's block that says what happened to its support, and by what evidence."""
    rules = pair.settings.rules
    judged = verdicts.judged[name]
    readings = verdicts.readings(name)
    dependence = verdicts.dependence
    clusters = dependence.cells is not None
    draws = Spans.of(pair.b, pair.t)
    said = evidence(
        verdicts.nulls[name],
        judged,
        problems=len(pair),
        draws=draws.sentence,
        rules=rules,
        adjusted=name != POOLED and len(verdicts.groups) > 2,
        others=readings,
    )
    given = pair.settings.false_positives
    said += rates_in_words(pair.b, pair.t, rates=verdicts.rates, given=given, rules=rules, clusters=clusters)
    said += dependence.sentence
    lucky = None
    if not clusters:  # both recount single draws
        lucky = {
            "rates": dict(zip(("base", "tuned"), verdicts.rates, strict=True)),
            "at_least": verdicts_at_least(pair.b, pair.t, rules=rules),
            "tipping": tipping_points(pair.b, pair.t, rates=verdicts.rates, rules=rules),
        }
        said += tipping_words(lucky["tipping"], verdict=judged.verdict)
    return {
        "verdict": judged.verdict,
        "within": draws.within,
        "evidence": said,
        "dependence": dependence.document(),
        "lucky_guesses": lucky,
        "verdict_detail": plain(asdict(judged) | {"other_readings": readings}),
    }


def _certificate(
    pair: BenchmarkPair, single: tuple[Counts, Counts], *, bounds: Bounds
) -> tuple[Certificate | None, dict[str, Any] | None]:
    """The certificate of one benchmark and the draws that would settle the rest; None where n is too small."""
    settings = pair.settings
    fewest = int(min(side.n.min() for side in single))
    eps = settings.eps or default_eps(max(fewest, 1), len(pair), confidence=settings.confidence)
    if eps is None:
        return None, None
    certificate = certify(*single, eps=eps, confidence=settings.confidence, bounds=bounds)
    return certificate, sampling_plan(*single, certificate=certificate)


def _section(
    pair: BenchmarkPair,
    null: Null,
    *,
    certificate: Certificate | None,
    plan: dict[str, Any] | None,
    bounds: Bounds,
    single: tuple[Counts, Counts],
    independent: bool,
) -> dict[str, Any]:
    """The document of one benchmark but for its verdict.

    single: independent draws of both sides. independent: whether these are all draws.
    """
    eps = None if certificate is None else certificate.eps
    return {
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
        # This and `patterns` are filled in afterwards: they need the other benchmarks, and the texts.
        "cross_task": None,
        "posterior": posterior(pair, single),
        "equivalence": equivalence(pair),
        "tail_miss": tail_miss(pair),
        "patterns": None,
        "split_halves": sections.halves(pair),
        "suspicious_flips": sections.flips(pair),
        "advice": sections.advice(pair),
    }


def _problem_rows(
    pair: BenchmarkPair, *, certificate: Certificate | None, plan: dict[str, Any] | None, single: tuple[Counts, Counts]
) -> list[dict[str, Any]]:
    """One row a problem: counts, success rates with exact intervals, categories, further draws.

    single: independent draws of both sides, on which intervals and odds ratios rest.
    """
    base = pair.base
    tuned = pair.tuned
    confidence = pair.settings.confidence
    # Intervals and odds ratios need draws that do not depend on each other; categories are of all draws.
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
