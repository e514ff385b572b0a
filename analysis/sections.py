"""The sections of the audit document, one function each; those that are curves are in analysis.curves. `pair` is the
two sides of one benchmark (analysis.audit._Pair). A section that the input cannot give is None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from analysis import advice as advice_of
from analysis import certified as certification
from analysis import entropy as entropy_of
from analysis import perplexity as perplexity_of
from analysis.estimates import mean_of, sides_of, total_of, triple
from analysis.intervals import PSEUDO_DIFFERENCE, PSEUDO_TUNED, clopper_pearson, wilson
from analysis.metrics import bayes_at_n, cover_at, majority_at_k
from analysis.null import exact_null
from analysis.pass_at_k import g_pass_at_k, mg_pass_at_k, pass_all_k, pass_at_k
from analysis.records import AnswerCounts, ModelSamples
from analysis.scored import lower_bounds
from analysis.significance import mcnemar
from analysis.support import (
    CATEGORIES,
    SupportCounts,
    answer_support,
    categories,
    memberships,
    split_halves,
    support_counts,
    suspicious_flips,
)

PSEUDO_SUPPORT = np.array(
    [[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], dtype=float
)  # pseudo-problems as rows of P, S, E, O
G_PASS_K, TAUS = 16, (0.25, 0.5, 0.75, 1.0)
COVER_TAUS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


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


def support(pair) -> dict[str, Any]:
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
        "support": {"k": k, **_support_at(pair, pair.t, k, full), "whole_numbers": full},
        "support_at_k": [{"k": int(step), **_support_at(pair, pair.t, int(step), False)} for step in pair.k],
        "mcnemar_p": p_value,
        "mcnemar_why_null": reason,
    }


def _support_at(pair, other: tuple, k: int, whole: bool) -> dict[str, Any]:
    """Counts, metrics and intervals of the base against another side, (n, c), at k draws each."""
    counts = support_counts(pair.b, other, k)
    named = {name: round(getattr(counts, name)) if whole else getattr(counts, name) for name in CATEGORIES}
    return {**named, **_metrics(counts), "intervals": _support_intervals(pair, other, counts, k)}


def _metrics(counts: SupportCounts) -> dict[str, float | None]:
    return {"srr": counts.srr, "ndr": counts.ndr, "sds": counts.sds, "nscr": counts.nscr}


def _support_intervals(pair, other: tuple, counts: SupportCounts, k: int) -> dict[str, Any]:
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
    result: dict[str, Any] = {}
    for name, hits, total, unit in found:
        if not total:
            result[name] = None
            continue
        low, high = (unit * x for x in clopper_pearson(hits, total, pair.settings.confidence))
        w_low, w_high = (unit * x for x in wilson(hits, total, pair.settings.confidence))
        result[name] = {
            **triple(unit * hits / total, low, high),
            "method": "Clopper-Pearson",
            "wilson": [w_low, w_high],
        }
    rows = pair.bootstrap.problems @ memberships(pair.b, other, k) + pair.bootstrap.pseudo @ PSEUDO_SUPPORT
    return result | _ratio_intervals(pair, counts, rows, ("sds", "nscr"))


def _ratio_intervals(pair, counts: SupportCounts, rows: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    """Bootstrap intervals of metrics, from replicates [B, 3 or more] of P, S and E."""
    p, s, e = rows[:, 0], rows[:, 1], rows[:, 2]
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
        else {**triple(value, *pair.bootstrap.interval(r)), "method": "bootstrap over problems"}
        for name, (value, r) in found.items()
    }


def certified(pair, certificate, plan, bounds: tuple) -> dict[str, Any] | None:
    """Certified categories at eps, the ladder of eps, and the plan that would settle the undetermined."""
    if certificate is None:
        return None
    return {
        "eps": certificate.eps,
        "confidence": certificate.confidence,
        **certificate.counts(),
        "ladder": certification.ladder(pair.b, pair.t, certificate.eps, certificate.confidence, bounds),
        "plan": {key: plan[key] for key in ("total_base", "total_tuned", "beyond")},
        "from_scores": {
            side: None if b is None else int((b > certificate.eps).sum())
            for side, b in zip(("base", "tuned"), bounds, strict=True)
        },
    }


def redraw(pair) -> dict[str, Any] | None:
    """What a second draw of the base shows against the first: the same table and the same null as for the tuned
    model."""
    if pair.redraw is None:
        return None
    again = (pair.redraw.n, pair.redraw.correct)
    null = exact_null(*pair.b, *again)
    k = int(min(pair.k[-1], again[0].min()))
    return {
        "k": k,
        **_support_at(pair, again, k, bool((pair.base.n == k).all() and (again[0] == k).all())),
        "observed_shrunk": null.observed_shrunk,
        "observed_expanded": null.observed_expanded,
        "expected_shrunk": null.expected_shrunk,
        "expected_expanded": null.expected_expanded,
        "p_shrunk": null.p_shrunk,
        "p_expanded": null.p_expanded,
    }


def published_metrics(pair) -> dict[str, Any]:
    """The published relatives of pass@k, with intervals over problems."""
    g_k = int(min(G_PASS_K, pair.largest))
    (b, t), n = (pair.b, pair.t), pair.k

    def both(metric: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> dict[str, Any]:
        return sides_of(pair, metric(*b), metric(*t), bounded=True)

    result: dict[str, Any] = {
        "avg_at_n": both(lambda n, c: c / n),
        "pass_all_k": {str(k): both(lambda n, c, k=k: pass_all_k(n, c, k)) for k in n},
        "g_pass_at_k": {
            "k": g_k,
            **{str(tau): both(lambda n, c, tau=tau: g_pass_at_k(n, c, g_k, tau)) for tau in TAUS},
        },
        "mg_pass_at_k": {"k": g_k, **both(lambda n, c: mg_pass_at_k(n, c, g_k))} if g_k > 1 else None,
        "cover_at": {str(tau): both(lambda n, c, tau=tau: cover_at(n, c, tau)[:, 0]) for tau in COVER_TAUS},
        "bayes_at_n": {side: _bayes(pair, *x) for side, x in (("base", b), ("tuned", t))},
        "cot_pass_at_k": None,
        "maj_at_k": None,
    }
    if pair.base.cot_correct is not None and pair.tuned.cot_correct is not None:
        cot = [pass_at_k(s.n, s.cot_correct, pair.k) for s in (pair.base, pair.tuned)]
        result["cot_pass_at_k"] = {
            str(k): sides_of(pair, cot[0][:, i], cot[1][:, i], bounded=True) for i, k in enumerate(pair.k)
        }
    if pair.base.answers is not None and pair.tuned.answers is not None:
        k = pair.k[pair.k <= 1024] if pair.settings.k is None else pair.k
        votes = [
            majority_at_k(s.answers, len(pair), k, pair.rng, pair.settings.maj_repeats) for s in (pair.base, pair.tuned)
        ]
        result["maj_at_k"] = {
            str(step): sides_of(pair, votes[0][:, i], votes[1][:, i], bounded=True) for i, step in enumerate(k)
        }
    return result


def _bayes(pair, n: np.ndarray, c: np.ndarray) -> dict[str, float]:
    """Posterior mean and standard deviation, with the normal interval that the paper takes of them."""
    mu, sigma = bayes_at_n(n, c)
    reach = float(stats.norm.ppf((1 + pair.settings.confidence) / 2)) * sigma
    return {"mu": mu, "sigma": sigma, "low": max(mu - reach, 0.0), "high": min(mu + reach, 1.0)}


def entropies(pair) -> dict[str, Any] | None:
    """Token entropy; entropy of answers (plug-in as published, and bias-corrected), their number, and the same for
    modes; in nats, means over problems.
    """
    result = {"unit": "nats", "token": sides_of(pair, pair.base.token_entropy, pair.tuned.token_entropy)}
    for by in ("answer", "mode"):
        counted = [_answer_statistics(s.answers, by, len(pair)) for s in (pair.base, pair.tuned)]
        for name in ("", "_corrected", "_distinct"):
            result[by + name] = sides_of(pair, *(None if c is None else c[name] for c in counted))
    return result if any(value is not None for key, value in result.items() if key != "unit") else None


def _answer_statistics(answers: AnswerCounts | None, by: str, problems: int) -> dict[str, np.ndarray] | None:
    if answers is None or (by == "mode" and all(mode is None for mode in answers.mode)):
        return None
    problem, count = entropy_of.merged_counts(answers, by)
    return {
        "": entropy_of.plug_in(problem, count, problems),
        "_corrected": entropy_of.chao_wang_jost(problem, count, problems),
        "_distinct": entropy_of.distinct(problem, problems),
    }


def perplexities(pair) -> dict[str, Any] | None:
    """Perplexity by category of problem (shrinkage, expansion, neither solves, and preserved), of traces by whoever
    wrote them under base and tuned."""
    category = categories(pair.base.correct, pair.tuned.correct)
    sources: list[dict[str, Any]] = []
    for side, samples in (("base", pair.base), ("tuned", pair.tuned)):
        if (own := perplexity_of.of_draws(samples.draws)) is not None:
            setting = samples.settings
            sources.append(
                {
                    "written_by": samples.name,
                    "under": side,
                    "temperature": setting.get("temperature"),
                    "top_p": setting.get("top_p"),
                    "values": own,
                }
            )
        if pair.scores is not None:
            for (author, temperature, top_p), values in perplexity_of.of_scores(pair.scores, samples).items():
                sources.append(
                    {"written_by": author, "under": side, "temperature": temperature, "top_p": top_p, "values": values}
                )
    if not sources:
        return None
    rows = []
    for source in sources:
        values, _ = source.pop("values")
        for index, name in enumerate(CATEGORIES):
            here = np.where(category == index, values, np.nan)
            if not np.isnan(here).all():
                rows.append(
                    {**source, "category": name, **mean_of(pair, here), "problems": int((~np.isnan(here)).sum())}
                )
    return {"formula": perplexity_of.FORMULA, "rows": rows}


def answers(pair, by: str, eps: float | None) -> dict[str, Any] | None:
    """Support per distinct correct answer or mode instead of per problem, and its certified version. "out" is null:
    answers never seen cannot be counted."""
    sides = (pair.base.answers, pair.tuned.answers)
    if any(side is None or (by == "mode" and all(m is None for m in side.mode)) for side in sides):
        return None
    counts, table, each = answer_support(*sides, by, len(pair))
    problem = np.array([row[0] for row in table], dtype=np.int64)
    seen = [np.array([row[i] for row in table], dtype=np.int64) for i in (2, 3)]
    certificate = None
    if eps is not None and table:
        bounds = [
            lower_bounds(pair.scores, s, by)[0] if pair.scores is not None else None for s in (pair.base, pair.tuned)
        ]
        bounds = [None if b is None else np.array([b.get((row[0], row[1]), 0.0) for row in table]) for b in bounds]
        asked = max(len(table), int(len(pair) / eps))  # at most 1 / eps answers of a problem can lie above eps
        certificate = certification.certify(
            (pair.base.n[problem], seen[0]),
            (pair.tuned.n[problem], seen[1]),
            eps,
            pair.settings.confidence,
            tuple(bounds),
            asked,
        )
    return {
        "correct_answers_seen": len(table),
        **{name: getattr(counts, name) for name in CATEGORIES},
        **_metrics(counts),
        "intervals": _answer_intervals(pair, counts, each),
        "certified": None
        if certificate is None
        else {
            "eps": eps,
            "confidence": certificate.confidence,
            **{k: v for k, v in certificate.counts().items() if k != "out"},
            "hypotheses": asked,
        },
    }


def _answer_intervals(pair, counts: SupportCounts, each: np.ndarray) -> dict[str, Any]:
    """Bootstrap over problems, since the answers of one problem belong together. each: [M, 3], its P, S and E."""
    totals = {
        name: {**total_of(pair, each[:, i], PSEUDO_SUPPORT[:, i]), "method": "bootstrap over problems"}
        for i, name in enumerate(CATEGORIES[:3])
    }
    rows = pair.bootstrap.problems @ each + pair.bootstrap.pseudo @ PSEUDO_SUPPORT[:, :3]
    return totals | _ratio_intervals(pair, counts, rows, ("srr", "ndr", "sds", "nscr"))


def halves(pair) -> dict[str, Any] | None:
    """Selection effect, by splitting draws, in numbers of problems; None with fewer than two draws."""
    if pair.largest < 2:
        return None
    each = split_halves(pair.b, pair.t)
    pseudo = {"corrected_gain": PSEUDO_DIFFERENCE, "corrected_loss": -PSEUDO_DIFFERENCE}
    found = {name: total_of(pair, values, pseudo.get(name, PSEUDO_TUNED)) for name, values in each.items()}
    draws_a_half = {"base": int(pair.base.n.min() // 2), "tuned": int(pair.tuned.n.min() // 2)}
    return {"draws_per_half": draws_a_half, **{name: x["value"] for name, x in found.items()}, "intervals": found}


def flips(pair) -> list[dict[str, Any]]:
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
        if pair.base.answers is not None and pair.tuned.answers is not None:
            never, nearly = (pair.base, pair.tuned) if pair.base.correct[i] == 0 else (pair.tuned, pair.base)
            wrong, right = _most_frequent(never.answers, i, False), _most_frequent(nearly.answers, i, True)
            row |= {"usual_wrong_answer": wrong, "usual_right_answer": right}
            row["same_but_for_format"] = None if wrong is None or right is None else _bare(wrong) == _bare(right)
        rows.append(row)
    return rows


def _most_frequent(answers: AnswerCounts, problem: int, correct: bool) -> str | None:
    rows = np.flatnonzero((answers.problem == problem) & (answers.correct == correct))
    rows = [row for row in rows if answers.answer[row] is not None]
    return str(answers.answer[max(rows, key=lambda row: answers.count[row])]) if rows else None


def _bare(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum() or character in "+-.")


def advice(pair) -> list[dict[str, Any]]:
    """What to do with a budget of K samples, for every asked K."""
    return advice_of.advise(pair.b, pair.t, pair.k, pair.bootstrap)
