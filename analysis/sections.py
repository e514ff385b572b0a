"""The sections of the audit document, one function each; those that are curves are in analysis.curves. `pair` is the
two sides of one benchmark (analysis.pair.BenchmarkPair). A section that the input cannot give is None."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis import advice as advice_of
from analysis import certified as certification
from analysis import entropy as entropy_of
from analysis import perplexity as perplexity_of
from analysis.counts import Counts
from analysis.estimates import mean_of, sides_of, total_of, triple
from analysis.intervals import PSEUDO_DIFFERENCE, PSEUDO_TUNED, clopper_pearson, wilson
from analysis.null import exact_null
from analysis.pair import BenchmarkPair
from analysis.records import AnswerCounts, ModelSamples
from analysis.significance import mcnemar
from analysis.support import (
    CATEGORIES,
    SupportCounts,
    categories,
    memberships,
    split_halves,
    support_counts,
    suspicious_flips,
)

PSEUDO_SUPPORT = np.array(
    [[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], dtype=float
)  # pseudo-problems as rows of P, S, E, O


def draws(samples: ModelSamples) -> dict[str, Any]:
    """How much was drawn of one side."""
    return {
        "min": samples.n.min(),
        "max": samples.n.max(),
        "total": samples.n.sum(),
        "excluded": samples.excluded.sum(),
        "truncated": None if samples.truncated is None else samples.truncated.sum() / samples.n.sum(),
        "mean_tokens": None if samples.num_tokens is None else np.nanmean(samples.num_tokens),
    }


def support(pair: BenchmarkPair) -> dict[str, Any]:
    """P, S, E, O at the largest k with SRR, NDR, SDS, NSCR, their intervals, the same at every k (expected counts), and
    McNemar's test."""
    k = int(pair.k[-1])
    full = bool((pair.base.n == k).all() and (pair.tuned.n == k).all())
    p_value = reason = None
    if (pair.base.n == pair.tuned.n).all():
        now = np.bincount(categories(pair.base.correct, pair.tuned.correct), minlength=4)
        p_value = mcnemar(int(now[2]), int(now[1]))
    else:
        reason = "n differs between the sides, so that E and S are not a fair coin even for one and the same model"
    return {
        "support": {"k": k, **_support_at(pair, pair.t, k=k, whole=full), "whole_numbers": full},
        "support_at_k": [{"k": int(step), **_support_at(pair, pair.t, k=int(step), whole=False)} for step in pair.k],
        "mcnemar_p": p_value,
        "mcnemar_why_null": reason,
    }


def _support_at(pair: BenchmarkPair, other: Counts, *, k: int, whole: bool) -> dict[str, Any]:
    """Counts, metrics and intervals of the base against another side, (n, c), at k draws each."""
    counts = support_counts(pair.b, other, k=k)
    named = {name: round(getattr(counts, name)) if whole else getattr(counts, name) for name in CATEGORIES}
    return {**named, **metrics(counts), "intervals": _support_intervals(pair, other, counts=counts, k=k)}


def metrics(counts: SupportCounts) -> dict[str, float | None]:
    return {"srr": counts.srr, "ndr": counts.ndr, "sds": counts.sds, "nscr": counts.nscr}


def _support_intervals(pair: BenchmarkPair, other: Counts, *, counts: SupportCounts, k: int) -> dict[str, Any]:
    """Exact and Wilson intervals for P, S, E, O, SRR and NDR (proportions), bootstrap ones for SDS and NSCR (not
    proportions).

    Of P, S, E, O: in numbers of problems, as many drawn from the same population would give. Expected counts (k < n)
    vary less than whole ones, so the exact interval is then too wide rather than too narrow.
    """
    found = [
        (name, getattr(counts, name), len(pair), len(pair)) for name in CATEGORIES
    ]  # name, hits, of how many, unit
    found += [
        ("srr", counts.preserved, counts.preserved + counts.shrunk, 1),
        ("ndr", counts.expanded, counts.preserved + counts.expanded, 1),
    ]
    result: dict[str, Any] = {name: None for name, *_ in found}
    there = [row for row in found if row[2]]
    names, hits, totals, units = zip(*there, strict=True)  # the four categories have problems
    confidence = pair.settings.confidence
    limits = np.array(
        [
            *clopper_pearson(np.array(hits), np.array(totals), confidence=confidence),
            *wilson(np.array(hits), np.array(totals), confidence=confidence),
        ]
    )
    for name, hit, total, unit, (low, high, w_low, w_high) in zip(
        names, hits, totals, units, (limits * units).T, strict=True
    ):
        result[name] = {
            **triple(unit * hit / total, (low, high)),
            "method": "Clopper-Pearson",
            "wilson": [w_low, w_high],
        }
    rows = pair.bootstrap.problems @ memberships(pair.b, other, k=k) + pair.bootstrap.pseudo @ PSEUDO_SUPPORT
    return result | ratio_intervals(pair, counts, rows=rows, names=("sds", "nscr"))


def ratio_intervals(
    pair: BenchmarkPair, counts: SupportCounts, *, rows: np.ndarray, names: tuple[str, ...]
) -> dict[str, Any]:
    """Bootstrap intervals of metrics, from replicates [B, 3 or more] of P, S and E.

    pair: whose bootstrap they are.
    counts: the values.
    rows: replicates of P, S and E.
    names: the metrics that are wanted.
    """
    p = rows[:, 0]
    s = rows[:, 1]
    e = rows[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        replicates = {
            "srr": p / (p + s),
            "ndr": e / (p + e),
            "sds": 2 * p * e / (p * p + 2 * p * e + e * s),
            "nscr": (e - s) / (p + e + s),
        }
    found = {name: (getattr(counts, name), replicates[name]) for name in names}
    return {
        name: None
        if value is None
        else {**triple(value, pair.bootstrap.interval(r)), "method": "bootstrap over problems"}
        for name, (value, r) in found.items()
    }


def certified(
    sides: tuple[Counts, Counts],
    certificate: certification.Certificate | None,
    *,
    plan: dict[str, Any] | None,
    bounds: certification.Bounds,
) -> dict[str, Any] | None:
    """Certified categories at eps, the ladder of eps, and the plan that would settle the undetermined.

    sides: independent draws of base and tuned.
    certificate: at eps; None: there can be none, and the section is None.
    plan: of further draws.
    bounds: of base and tuned, from scores.
    """
    if certificate is None or plan is None:
        return None
    return {
        "eps": certificate.eps,
        "confidence": certificate.confidence,
        **certificate.counts(),
        "ladder": certification.ladder(*sides, start=certificate.eps, confidence=certificate.confidence, bounds=bounds),
        "plan": {key: plan[key] for key in ("total_base", "total_tuned", "beyond", "settled_by")},
        "from_scores": {
            side: None if b is None else int((b > certificate.eps).sum())
            for side, b in zip(("base", "tuned"), bounds, strict=True)
        },
    }


def redraw(pair: BenchmarkPair) -> dict[str, Any] | None:
    """What a second draw of the base shows against the first: the same table and the same null as for the tuned
    model."""
    if pair.redraw is None:
        return None
    again = Counts(pair.redraw.n, pair.redraw.correct)
    null = exact_null(pair.b, again)
    k = int(min(pair.k[-1], again.n.min()))
    return {
        "k": k,
        **_support_at(pair, again, k=k, whole=bool((pair.base.n == k).all() and (again.n == k).all())),
        **null.document(),
    }


def entropies(pair: BenchmarkPair) -> dict[str, Any] | None:
    """Token entropy; entropy of answers (plug-in as published, and bias-corrected), their number, and the same for
    modes; in nats, means over problems.
    """
    result = {"unit": "nats", "token": sides_of(pair, pair.base.token_entropy, tuned=pair.tuned.token_entropy)}
    for by in ("answer", "mode"):
        counted = (
            pair.of_base(f"{by}s", lambda by=by: _answer_statistics(pair.base.answers, by, problems=len(pair))),
            _answer_statistics(pair.tuned.answers, by, problems=len(pair)),
        )
        for name in ("", "_corrected", "_distinct"):
            first, second = (None if c is None else c[name] for c in counted)
            result[by + name] = sides_of(pair, first, tuned=second)
    return result if any(value is not None for key, value in result.items() if key != "unit") else None


def _answer_statistics(answers: AnswerCounts | None, by: str, *, problems: int) -> dict[str, np.ndarray] | None:
    if answers is None or (by == "mode" and all(mode is None for mode in answers.mode)):
        return None
    problem, count = entropy_of.merged_counts(answers, by)
    return {
        "": entropy_of.plug_in(problem, count, problems=problems),
        "_corrected": entropy_of.chao_wang_jost(problem, count, problems=problems),
        "_distinct": entropy_of.distinct(problem, problems),
    }


def perplexities(pair: BenchmarkPair) -> dict[str, Any] | None:
    """Perplexity by category of problem (shrinkage, expansion, neither solves, and preserved), of traces by whoever
    wrote them under base and tuned: of all traces, and of the correct ones."""
    category = categories(pair.base.correct, pair.tuned.correct)
    rows = []
    for source, values in [*_trace_sources(pair, correct_only=False), *_trace_sources(pair, correct_only=True)]:
        for index, name in enumerate(CATEGORIES):
            here = np.where(category == index, values, np.nan)
            if not np.isnan(here).all():
                estimate = mean_of(pair, here, least=1.0) or {}
                rows.append({**source, "category": name, **estimate, "problems": int((~np.isnan(here)).sum())})
    return {"formula": perplexity_of.FORMULA, "rows": rows} if rows else None


def _trace_sources(pair: BenchmarkPair, *, correct_only: bool) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Who wrote the traces, and under which model and settings they are measured, with the mean of each problem [M]."""
    traces = "correct" if correct_only else "all"
    found = []
    for side, samples in (("base", pair.base), ("tuned", pair.tuned)):
        if (own := perplexity_of.of_draws(samples.draws, correct_only=correct_only)) is not None:
            drawn_at = {key: samples.settings.get(key) for key in ("temperature", "top_p")}
            found.append(({"written_by": samples.name, "under": side, "traces": traces, **drawn_at}, own[0]))
        if pair.scores is not None:
            of = perplexity_of.of_scores(pair.scores, samples, correct_only=correct_only)
            for (author, temperature, top_p), (values, _) in of.items():
                scored_at = {"temperature": temperature, "top_p": top_p}
                found.append(({"written_by": author, "under": side, "traces": traces, **scored_at}, values))
    return found


def halves(pair: BenchmarkPair) -> dict[str, Any] | None:
    """Selection effect, by splitting draws, in numbers of problems; None with fewer than two draws."""
    if pair.largest < 2:
        return None
    each = split_halves(pair.b, pair.t)
    pseudo = {"corrected_gain": PSEUDO_DIFFERENCE, "corrected_loss": -PSEUDO_DIFFERENCE}
    found = {name: total_of(pair, values, pseudo=pseudo.get(name, PSEUDO_TUNED)) for name, values in each.items()}
    draws_a_half = {"base": int(pair.base.n.min() // 2), "tuned": int(pair.tuned.n.min() // 2)}
    return {"draws_per_half": draws_a_half, **{name: x["value"] for name, x in found.items()}, "intervals": found}


def flips(pair: BenchmarkPair) -> list[dict[str, Any]]:
    """Problems from 0 of n to nearly all, or back, to be read first; with the answers that speak for a matter of
    format, where they are recorded."""
    rows = []
    for i in np.flatnonzero(suspicious_flips(pair.b, pair.t)):
        row = {
            "problem_id": pair.base.problem_ids[i],
            "benchmark": pair.base.benchmarks[i],
            "base": {"n": pair.base.n[i], "correct": pair.base.correct[i]},
            "tuned": {"n": pair.tuned.n[i], "correct": pair.tuned.correct[i]},
        }
        first = pair.base.answers
        second = pair.tuned.answers
        if first is not None and second is not None:
            never, nearly = (first, second) if pair.base.correct[i] == 0 else (second, first)
            wrong = _most_frequent(never, i, correct=False)
            right = _most_frequent(nearly, i, correct=True)
            row |= {"usual_wrong_answer": wrong, "usual_right_answer": right}
            row["same_but_for_format"] = None if wrong is None or right is None else _bare(wrong) == _bare(right)
        rows.append(row)
    return rows


def _most_frequent(answers: AnswerCounts, problem: int, *, correct: bool) -> str | None:
    rows = np.flatnonzero((answers.problem == problem) & (answers.correct == correct))
    rows = [row for row in rows if answers.answer[row] is not None]
    return str(answers.answer[max(rows, key=lambda row: answers.count[row])]) if rows else None


def _bare(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum() or character in "+-.")


def advice(pair: BenchmarkPair) -> list[dict[str, Any]]:
    """What to do with a budget of K samples, for every asked K."""
    return advice_of.advise(pair.b, pair.t, budgets=pair.k, bootstrap=pair.bootstrap)
