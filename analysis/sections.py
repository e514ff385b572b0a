"""The sections of the audit document, one function each. `pair` is the two sides of one benchmark (analysis.audit._Pair); a section the input cannot give is None."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis import advice as advice_of
from analysis import certified as certification
from analysis import entropy as entropy_of
from analysis import perplexity as perplexity_of
from analysis.crossing import Crossing, find_crossing, grid_up_to
from analysis.extrapolate import extrapolate, fit
from analysis.intervals import PSEUDO_BASE, PSEUDO_DIFFERENCE, PSEUDO_TUNED, clopper_pearson, fixed_problems_interval, wilson
from analysis.metrics import bayes_at_n, cover_at, delta_se, majority_at_k
from analysis.null import exact_null
from analysis.pass_at_k import first_k, g_pass_at_k, log_miss, mg_pass_at_k, pass_all_k, pass_at_k
from analysis.records import AnswerCounts, ModelSamples
from analysis.scored import lower_bounds
from analysis.significance import mcnemar
from analysis.support import CATEGORIES, SupportCounts, answer_support, categories, memberships, split_halves, support_counts, suspicious_flips

PSEUDO_SUPPORT = np.array([[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], dtype=float)  # pseudo-problems as rows of P, S, E, O
G_PASS_K, TAUS = 16, (0.25, 0.5, 0.75, 1.0)
COVER_TAUS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
BEYOND = (2, 4, 16, 64)  # the extrapolation goes to so many times the draws there are
REFITS = 0.1  # share of the bootstrap replicates to which the extrapolation is fitted again


def _triple(value, low, high) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


def _mean(pair, values: np.ndarray, pseudo: np.ndarray | None = None) -> dict[str, Any] | None:
    """Mean over problems with its bootstrap interval; None where no problem has a value."""
    if np.isnan(values).all():
        return None
    return _triple(np.nanmean(values), *pair.bootstrap.interval(pair.bootstrap.means(values, pseudo)))


def _sides(pair, base: np.ndarray | None, tuned: np.ndarray | None, bounded: bool = False) -> dict[str, Any] | None:
    """base, tuned, and their paired difference (tuned minus base), each [M] with NaN for nothing, as value, low, high. bounded: values in [0, 1]."""
    if base is None or tuned is None:
        if base is None and tuned is None:
            return None
        one = {"base": base, "tuned": tuned}
        return {side: None if values is None else _mean(pair, values) for side, values in one.items()} | {"difference": None}
    pseudo = (PSEUDO_BASE, PSEUDO_TUNED, PSEUDO_DIFFERENCE) if bounded else (None, None, None)
    values = (base, tuned, tuned - base)
    return {name: _mean(pair, x, p) for name, x, p in zip(("base", "tuned", "difference"), values, pseudo, strict=True)}


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
    """P, S, E, O at the largest k with SRR, NDR, SDS, NSCR, their intervals, expected counts at every k, and McNemar's test."""
    k = int(pair.k[-1])
    counts = support_counts(pair.b, pair.t, k)
    full = bool((pair.base.n == k).all() and (pair.tuned.n == k).all())
    equal_n = bool((pair.base.n == pair.tuned.n).all())
    each = [support_counts(pair.b, pair.t, int(step)) for step in pair.k]
    p_value = reason = None
    if equal_n:
        now = np.bincount(categories(pair.base.correct, pair.tuned.correct), minlength=4)
        p_value = mcnemar(int(now[2]), int(now[1]))
    else:
        reason = "n differs between the sides, so that E and S are not a fair coin even for one and the same model"
    return {
        "support": {"k": k, **_counts(counts, full), **_metrics(counts), "intervals": _support_intervals(pair, counts, k), "whole_numbers": full},
        "support_at_k": [{"k": int(step), **_counts(c, False), **_metrics(c)} for step, c in zip(pair.k, each, strict=True)],
        "mcnemar_p": p_value,
        "mcnemar_why_null": reason,
    }


def _counts(counts: SupportCounts, whole: bool) -> dict[str, float]:
    return {name: round(getattr(counts, name)) if whole else getattr(counts, name) for name in CATEGORIES}


def _metrics(counts: SupportCounts) -> dict[str, float | None]:
    return {"srr": counts.srr, "ndr": counts.ndr, "sds": counts.sds, "nscr": counts.nscr}


def _support_intervals(pair, counts: SupportCounts, k: int) -> dict[str, Any]:
    """Exact and Wilson intervals for SRR and NDR (proportions), bootstrap ones for SDS and NSCR (not proportions)."""
    result: dict[str, Any] = {}
    for name, value, hits, total in (
        ("srr", counts.srr, counts.preserved, counts.preserved + counts.shrunk),
        ("ndr", counts.ndr, counts.expanded, counts.preserved + counts.expanded),
    ):
        if value is None:
            result[name] = None
            continue
        low, high = clopper_pearson(hits, total, pair.settings.confidence)
        w_low, w_high = wilson(hits, total, pair.settings.confidence)
        result[name] = {**_triple(value, low, high), "method": "Clopper-Pearson", "wilson": [w_low, w_high]}
    rows = pair.bootstrap.problems @ memberships(pair.b, pair.t, k) + pair.bootstrap.pseudo @ PSEUDO_SUPPORT
    p, s, e = rows[:, 0], rows[:, 1], rows[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        replicates = {"sds": 2 * p * e / (p * p + 2 * p * e + e * s), "nscr": (e - s) / (p + e + s)}
    for name, values in replicates.items():
        value = getattr(counts, name)
        result[name] = None if value is None else {**_triple(value, *pair.bootstrap.interval(values)), "method": "bootstrap over problems"}
    return result


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
        "from_scores": {side: None if b is None else int((b > certificate.eps).sum()) for side, b in zip(("base", "tuned"), bounds, strict=True)},
    }


def redraw(pair) -> dict[str, Any] | None:
    """What a second draw of the base shows against the first: the same table and the same null as for the tuned model."""
    if pair.redraw is None:
        return None
    again = (pair.redraw.n, pair.redraw.correct)
    null = exact_null(*pair.b, *again)
    k = int(min(pair.k[-1], again[0].min()))
    return {
        "k": k,
        **_counts(support_counts(pair.b, again, k), bool((pair.base.n == k).all() and (again[0] == k).all())),
        "observed_shrunk": null.observed_shrunk,
        "observed_expanded": null.observed_expanded,
        "expected_shrunk": null.expected_shrunk,
        "expected_expanded": null.expected_expanded,
        "p_shrunk": null.p_shrunk,
        "p_expanded": null.p_expanded,
    }


def curves(pair) -> dict[str, Any]:
    """pass@k of both sides and their difference at the asked k, on a grid for drawing, with the crossing; Delta_SE; first k of n; the draws-only interval."""
    grid = np.union1d(grid_up_to(pair.largest), pair.k)
    base, tuned = pass_at_k(*pair.b, grid), pass_at_k(*pair.t, grid)
    table, band, difference_replicates = {}, None, None
    for name, values, pseudo in (("base", base, PSEUDO_BASE), ("tuned", tuned, PSEUDO_TUNED), ("difference", tuned - base, PSEUDO_DIFFERENCE)):
        replicates = pair.bootstrap.means(values, pseudo)
        low, high = pair.bootstrap.interval(replicates)
        table[name] = {"value": values.mean(axis=0), "low": low, "high": high}
        if name == "difference":
            difference_replicates = replicates
            band = pair.bootstrap.simultaneous(table[name]["value"], replicates)
            table[name] |= {"band_low": band[0], "band_high": band[1]}
    at = np.searchsorted(grid, pair.k)
    columns = {
        name: {str(k): _triple(*(entry[key][i] for key in ("value", "low", "high"))) for k, i in zip(pair.k, at, strict=True)} for name, entry in table.items()
    }

    def exact(k: np.ndarray) -> np.ndarray:
        return np.concatenate([(pass_at_k(*pair.t, part) - pass_at_k(*pair.b, part)).mean(axis=0) for part in np.array_split(k, max(1, len(k) // 256))])

    crossing = find_crossing(grid, table["difference"]["value"], difference_replicates, exact, pair.settings.confidence)
    return {
        "pass_at_k": columns,
        "pass_at_k_fixed_problems": _fixed_problems(pair),
        "pass_at_first_k": _first_k(pair),
        "curves": {"k": grid, **table},
        "crossing_k": _crossing(crossing),
        "crossing_detail": _crossing_detail(crossing, grid, band),
        "delta_se": _delta_se(pair, 256) if pair.largest >= 256 else None,
        "delta_se_at_largest_k": _delta_se(pair, int(pair.k[-1])),
    }


def _crossing(crossing: Crossing) -> dict[str, Any] | None:
    return None if crossing.value is None else _triple(crossing.value, crossing.low, crossing.high)


def _crossing_detail(crossing: Crossing, grid: np.ndarray, band: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """Share of replicates that cross, the interval whether or not the point crosses, and where each side is ahead beyond its simultaneous band."""
    tuned_ahead, base_ahead = grid[band[0] > 0], grid[band[1] < 0]
    return {
        "share": crossing.share,
        "low": crossing.low,
        "high": crossing.high,
        "tuned_significantly_ahead": bool(len(tuned_ahead)),
        "base_significantly_ahead": bool(len(base_ahead)),
        "tuned_ahead_range": [tuned_ahead.min(), tuned_ahead.max()] if len(tuned_ahead) else None,
        "base_ahead_range": [base_ahead.min(), base_ahead.max()] if len(base_ahead) else None,
    }


def _fixed_problems(pair) -> dict[str, Any]:
    """The second, named interval: the problem set is what it is, only the draws are uncertain."""
    result = {}
    for side, (n, c) in (("base", pair.b), ("tuned", pair.t)):
        low, high = fixed_problems_interval(n, c, pair.k, fit(n, c, inflated=False).posterior, pair.rng, pair.settings.confidence)
        value = pass_at_k(n, c, pair.k).mean(axis=0)
        result[side] = {str(k): _triple(*row) for k, *row in zip(pair.k, value, low, high, strict=True)}
    return result


def _first_k(pair) -> dict[str, Any] | None:
    """ "First k of n" instead of the unbiased estimate, to replicate tables made that way; needs the order of the draws."""
    if pair.base.draws is None or pair.tuned.draws is None:
        return None
    sides = {side: first_k(s.draws.correct, s.draws.start, pair.k).mean(axis=0) for side, s in (("base", pair.base), ("tuned", pair.tuned))}
    return {side: {str(k): value for k, value in zip(pair.k, values, strict=True)} for side, values in sides.items()}


def _delta_se(pair, k: int) -> dict[str, Any]:
    return {"k": k, **_mean(pair, delta_se(pair.b, pair.t, k), -PSEUDO_DIFFERENCE)}


def token_budget(pair) -> dict[str, Any]:
    """pass@tokens: both curves against tokens spent a problem, k being the budget over the model's mean completion length here; and where they cross."""
    if pair.base.num_tokens is None or pair.tuned.num_tokens is None:
        return {"pass_at_tokens": None, "crossing_tokens": None}
    lengths = np.array([np.nanmean(pair.base.num_tokens), np.nanmean(pair.tuned.num_tokens)])
    reach = pair.largest * lengths.min()
    if not (np.isfinite(lengths).all() and lengths.min() > 0 and reach > lengths.max()):
        return {"pass_at_tokens": None, "crossing_tokens": None}
    budget = np.geomspace(lengths.max(), reach * (1 - 1e-9), 128)
    values = [-np.expm1(log_miss(n[:, None], c[:, None], budget / length)) for (n, c), length in zip((pair.b, pair.t), lengths, strict=True)]
    table: dict[str, Any] = {"tokens": budget, "mean_tokens": {"base": lengths[0], "tuned": lengths[1]}}
    for name, rows, pseudo in (("base", values[0], PSEUDO_BASE), ("tuned", values[1], PSEUDO_TUNED), ("difference", values[1] - values[0], PSEUDO_DIFFERENCE)):
        replicates = pair.bootstrap.means(rows, pseudo)
        low, high = pair.bootstrap.interval(replicates)
        table[name] = {"value": rows.mean(axis=0), "low": low, "high": high}
    crossing = find_crossing(budget, table["difference"]["value"], replicates, None, pair.settings.confidence)
    band = pair.bootstrap.simultaneous(table["difference"]["value"], replicates)
    return {
        "pass_at_tokens": table,
        "crossing_tokens": _crossing(crossing),
        "crossing_tokens_detail": _crossing_detail(crossing, budget, band),
    }


def extrapolation(pair) -> dict[str, Any]:
    """pass@k beyond n: an extrapolation by a fitted model, not an estimate."""
    k = pair.largest * np.array(BEYOND)
    result: dict[str, Any] = {"note": "extrapolated by a zero-inflated beta-binomial fitted to the counts; the interval does not know whether the model holds"}
    for side, (n, c) in (("base", pair.b), ("tuned", pair.t)):
        model, value, low, high = extrapolate(n, c, k, pair.bootstrap.problems[: int(REFITS * pair.settings.replicates)], pair.settings.confidence)
        result[side] = {
            "zero": model.zero,
            "a": model.a,
            "b": model.b,
            "pass_at_k": {str(step): _triple(*row) for step, *row in zip(k, value, low, high, strict=True)},
        }
    return result


def published_metrics(pair) -> dict[str, Any]:
    """The published relatives of pass@k, with intervals over problems."""
    g_k = int(min(G_PASS_K, pair.largest))
    (b, t), n = (pair.b, pair.t), pair.k
    both = lambda f: _sides(pair, f(*b), f(*t), bounded=True)  # noqa: E731
    result: dict[str, Any] = {
        "avg_at_n": both(lambda n, c: c / n),
        "pass_all_k": {str(k): both(lambda n, c, k=k: pass_all_k(n, c, k)) for k in n},
        "g_pass_at_k": {"k": g_k, **{str(tau): both(lambda n, c, tau=tau: g_pass_at_k(n, c, g_k, tau)) for tau in TAUS}},
        "mg_pass_at_k": {"k": g_k, **both(lambda n, c: mg_pass_at_k(n, c, g_k))} if g_k > 1 else None,
        "cover_at": {str(tau): both(lambda n, c, tau=tau: cover_at(n, c, tau)[:, 0]) for tau in COVER_TAUS},
        "bayes_at_n": {side: dict(zip(("mu", "sigma"), bayes_at_n(*x), strict=True)) for side, x in (("base", b), ("tuned", t))},
        "cot_pass_at_k": None,
        "maj_at_k": None,
    }
    if pair.base.cot_correct is not None and pair.tuned.cot_correct is not None:
        cot = [pass_at_k(s.n, s.cot_correct, pair.k) for s in (pair.base, pair.tuned)]
        result["cot_pass_at_k"] = {str(k): _sides(pair, cot[0][:, i], cot[1][:, i], bounded=True) for i, k in enumerate(pair.k)}
    if pair.base.answers is not None and pair.tuned.answers is not None:
        k = pair.k[pair.k <= 1024] if pair.settings.k is None else pair.k
        votes = [majority_at_k(s.answers, len(pair), k, pair.rng, pair.settings.maj_repeats) for s in (pair.base, pair.tuned)]
        result["maj_at_k"] = {str(step): _sides(pair, votes[0][:, i], votes[1][:, i], bounded=True) for i, step in enumerate(k)}
    return result


def entropies(pair) -> dict[str, Any] | None:
    """Token entropy; entropy of answers (plug-in as published, and bias-corrected), their number, and the same for modes; in nats, means over problems."""
    result = {"unit": "nats", "token": _sides(pair, pair.base.token_entropy, pair.tuned.token_entropy)}
    for by in ("answer", "mode"):
        counted = [_answer_statistics(s.answers, by, len(pair)) for s in (pair.base, pair.tuned)]
        for name in ("", "_corrected", "_distinct"):
            result[by + name] = _sides(pair, *(None if c is None else c[name] for c in counted))
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
    """Perplexity by category of problem (shrinkage, expansion, neither solves, and preserved), of traces by whoever wrote them under base and tuned."""
    category = categories(pair.base.correct, pair.tuned.correct)
    sources: list[dict[str, Any]] = []
    for side, samples in (("base", pair.base), ("tuned", pair.tuned)):
        if (own := perplexity_of.of_draws(samples.draws)) is not None:
            setting = samples.settings
            sources.append({"written_by": samples.name, "under": side, "temperature": setting.get("temperature"), "top_p": setting.get("top_p"), "values": own})
        if pair.scores is not None:
            for (author, temperature, top_p), values in perplexity_of.of_scores(pair.scores, samples).items():
                sources.append({"written_by": author, "under": side, "temperature": temperature, "top_p": top_p, "values": values})
    if not sources:
        return None
    rows = []
    for source in sources:
        values, _ = source.pop("values")
        for index, name in enumerate(CATEGORIES):
            here = np.where(category == index, values, np.nan)
            if not np.isnan(here).all():
                rows.append({**source, "category": name, **_mean(pair, here), "problems": int((~np.isnan(here)).sum())})
    return {"formula": perplexity_of.FORMULA, "rows": rows}


def answers(pair, by: str, eps: float | None) -> dict[str, Any] | None:
    """Support per distinct correct answer or mode instead of per problem, and its certified version. "out" is null: answers never seen cannot be counted."""
    sides = (pair.base.answers, pair.tuned.answers)
    if any(side is None or (by == "mode" and all(m is None for m in side.mode)) for side in sides):
        return None
    counts, table = answer_support(*sides, by)
    problem = np.array([row[0] for row in table], dtype=np.int64)
    seen = [np.array([row[i] for row in table], dtype=np.int64) for i in (2, 3)]
    certificate = None
    if eps is not None and table:
        bounds = [lower_bounds(pair.scores, s, by)[0] if pair.scores is not None else None for s in (pair.base, pair.tuned)]
        bounds = [None if b is None else np.array([b.get((row[0], row[1]), 0.0) for row in table]) for b in bounds]
        asked = max(len(table), int(len(pair) / eps))  # at most 1 / eps answers of a problem can lie above eps
        certificate = certification.certify(
            (pair.base.n[problem], seen[0]), (pair.tuned.n[problem], seen[1]), eps, pair.settings.confidence, tuple(bounds), asked
        )
    return {
        "correct_answers_seen": len(table),
        **{name: getattr(counts, name) for name in CATEGORIES},
        **_metrics(counts),
        "certified": None
        if certificate is None
        else {"eps": eps, "confidence": certificate.confidence, **{k: v for k, v in certificate.counts().items() if k != "out"}, "hypotheses": asked},
    }


def halves(pair) -> dict[str, Any] | None:
    """Selection effect, by splitting draws; None with fewer than two draws."""
    if pair.largest < 2:
        return None
    return {"draws_per_half": {"base": int(pair.base.n.min() // 2), "tuned": int(pair.tuned.n.min() // 2)}, **split_halves(pair.b, pair.t)}


def flips(pair) -> list[dict[str, Any]]:
    """Problems from 0 of n to nearly all, or back, to be read first; with the answers that speak for a matter of format, where they are recorded."""
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
