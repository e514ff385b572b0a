"""One base against one tuned model: everything this package knows to say, as one JSON document.

document = audit(base, tuned)          # ModelSamples from analysis.readers.load and align
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow
import scipy

from analysis import curves, sections
from analysis.certified import CERTIFIED, certify, default_eps, sampling_plan
from analysis.errors import InputError
from analysis.intervals import Bootstrap, clopper_pearson
from analysis.null import Null, exact_null
from analysis.records import SCHEMA_VERSION, ModelSamples, Scores
from analysis.scored import lower_bounds
from analysis.support import CATEGORIES, categories, suspicious_flips
from analysis.verdict import Judgement, Rules, evidence, judge, judge_all

DOCUMENT_VERSION = 1
POOLED = "all"


@dataclass(frozen=True)
class AuditSettings:
    """k: values of k (None: the powers of two up to n, and n; the support is read at the largest). eps: threshold of
    certified support (None: ln(20 M)/n).

    confidence: of every interval and certificate. level, margin: the verdict's (see analysis.verdict). replicates: of
    the bootstrap. maj_repeats: draws behind each maj@k. seed: of all that is random here.
    """

    k: tuple[int, ...] | None = None
    eps: float | None = None
    confidence: float = 0.95
    level: float = 0.025
    margin: float = 0.02
    replicates: int = 2000
    maj_repeats: int = 50
    seed: int = 0

    def __post_init__(self):
        if self.k is not None and (not self.k or min(self.k) < 1):
            raise InputError(f"k = {list(self.k)}; give at least one k, each at least 1")
        if self.eps is not None and not 0 < self.eps < 1:
            raise InputError(f"eps = {self.eps}; it is a probability between 0 and 1")
        if not 0 < self.confidence < 1:
            raise InputError(f"confidence = {self.confidence}; it must lie between 0 and 1")
        for name in ("level", "margin"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}; it must lie between 0 and 1")
        if self.replicates < 100:
            raise InputError(f"replicates = {self.replicates}; an interval needs at least 100")


def audit(
    base: ModelSamples,
    tuned: ModelSamples,
    redraw: ModelSamples | None = None,
    scores: Scores | None = None,
    settings: AuditSettings = AuditSettings(),
    warnings: list[str] = (),
) -> dict[str, Any]:
    """The audit document (docs/analysis.md describes every key): JSON-ready, null where the input cannot give a
    statistic.

    base, tuned, redraw: aligned (same problems in the same order, every n >= 1); redraw is a second, independent draw
    of the base. warnings: lines of `align`, repeated in the document. Raises InputError where k is above n.
    """
    names = sorted(set(base.benchmarks))
    if POOLED in names:
        raise InputError(f"a benchmark is called {POOLED!r}, which is the name of the pooled problems; rename it")
    if base.problem_ids != tuned.problem_ids or base.benchmarks != tuned.benchmarks:
        raise InputError("base and tuned hold different problems; line them up with analysis.readers.align")
    warnings = list(warnings)
    bounds: dict[str, np.ndarray | None] = {"base": None, "tuned": None}
    if scores is not None:
        for side, samples in (("base", base), ("tuned", tuned)):
            bounds[side], refused = lower_bounds(scores, samples)
            if refused:
                warnings.append(f"scores do not certify the {side}'s support: {refused}")
    labels = np.array(base.benchmarks)
    groups = {name: np.flatnonzero(labels == name) for name in names} | {POOLED: np.arange(len(labels))}
    rules = Rules(settings.level, settings.margin)
    nulls = {name: exact_null(base.n[i], base.correct[i], tuned.n[i], tuned.correct[i]) for name, i in groups.items()}
    judged = _judge_groups(nulls, groups, names, rules)
    other = _other_readings(base, tuned, groups, names, rules)
    document: dict[str, Any] = {"benchmarks": {}}
    details: list[dict[str, Any]] = [{} for _ in labels]
    for name, index in groups.items():
        if len(names) == 1 and name == POOLED:  # the same problems: the same numbers, in their own copy
            document["benchmarks"][POOLED] = document["benchmarks"][names[0]]
            continue
        pair = _Pair(
            base.subset(index), tuned.subset(index), None if redraw is None else redraw.subset(index), scores, settings
        )
        pair_bounds = tuple(None if b is None else b[index] for b in (bounds["base"], bounds["tuned"]))
        section, certificate, plan = _section(pair, nulls[name], pair_bounds)
        section["verdict"] = judged[name].verdict
        section["evidence"] = evidence(
            nulls[name],
            judged[name],
            len(index),
            rules,
            len(names) > 1 and name != POOLED,
            {label: by[name] for label, by in other.items()},
        )
        section["verdict_detail"] = _plain(
            asdict(judged[name]) | {"other_readings": {label: by[name] for label, by in other.items()}}
        )
        document["benchmarks"][name] = section
        if name != POOLED:
            for row, problem in zip(_problem_rows(pair, certificate, plan), index, strict=True):
                details[problem] = row
    document["problems_detail"] = details
    document["inputs"] = {
        side: s.files for side, s in (("base", base), ("tuned", tuned), ("redraw", redraw)) if s is not None
    }
    document["inputs"] |= {"scores": scores.files} if scores is not None else {}
    document["models"] = {
        "base": {"name": base.name, "settings": base.settings},
        "tuned": {"name": tuned.name, "settings": tuned.settings},
    }
    document["settings"] = asdict(settings)
    document["versions"] = {
        "document": DOCUMENT_VERSION, "schema": SCHEMA_VERSION, "python": platform.python_version(),
        "numpy": np.__version__, "scipy": scipy.__version__, "pyarrow": pyarrow.__version__,
    }  # fmt: skip
    document["seed"] = settings.seed
    document["warnings"] = warnings
    return _plain(document)


@dataclass
class _Pair:
    """One benchmark of both sides, and what its sections share."""

    base: ModelSamples
    tuned: ModelSamples
    redraw: ModelSamples | None
    scores: Scores | None
    settings: AuditSettings

    def __post_init__(self):
        self.b, self.t = (self.base.n, self.base.correct), (self.tuned.n, self.tuned.correct)
        self.largest = int(min(self.base.n.min(), self.tuned.n.min()))  # what every problem of both sides allows
        if self.settings.k is None:
            self.k = np.unique([2**p for p in range(self.largest.bit_length())] + [self.largest])
        else:
            self.k = np.unique(self.settings.k)
            if self.k[-1] > self.largest:
                where = min((self.base, self.tuned), key=lambda s: s.n.min())
                raise InputError(
                    f"k = {self.k[-1]} is above n = {self.largest}, "
                    f"the draws of problem {where.problem_ids[int(where.n.argmin())]!r} of {where.name}; "
                    "ask for a smaller k (extrapolations beyond n are in the document, as such)"
                )
        self.rng = np.random.default_rng(self.settings.seed)
        self.bootstrap = Bootstrap.draw(len(self.base), self.settings.replicates, self.rng, self.settings.confidence)

    def __len__(self) -> int:
        return len(self.base)


def _section(pair: _Pair, null: Null, bounds: tuple):
    """The document of one benchmark but for its verdict, with the certificate and the sampling plan (None where n is
    too small)."""
    settings, problems = pair.settings, len(pair)
    eps = settings.eps or default_eps(pair.largest, problems, settings.confidence)
    certificate = None if eps is None else certify(pair.b, pair.t, eps, settings.confidence, bounds)
    plan = None if certificate is None else sampling_plan(pair.b, pair.t, certificate)
    section = {
        "problems": problems,
        "draws": {side: sections.draws(s) for side, s in (("base", pair.base), ("tuned", pair.tuned))},
        **sections.support(pair),
        "certified": sections.certified(pair, certificate, plan, bounds),
        "null": {
            "expected_shrunk": null.expected_shrunk,
            "expected_expanded": null.expected_expanded,
            "p_shrunk": null.p_shrunk,
            "p_expanded": null.p_expanded,
            "observed_shrunk": null.observed_shrunk,
            "observed_expanded": null.observed_expanded,
        },  # fmt: skip
        "redraw": sections.redraw(pair),
        **curves.curves(pair),
        **curves.token_budget(pair),
        "extrapolation": curves.extrapolation(pair),
        "metrics": sections.published_metrics(pair),
        "entropy": sections.entropies(pair),
        "perplexity": sections.perplexities(pair),
        "answers": sections.answers(pair, "answer", eps),
        "modes": sections.answers(pair, "mode", eps),
        "split_halves": sections.halves(pair),
        "suspicious_flips": sections.flips(pair),
        "advice": sections.advice(pair),
    }
    return section, certificate, plan


def _judge_groups(
    nulls: dict[str, Null], groups: dict[str, np.ndarray], names: list[str], rules: Rules
) -> dict[str, Judgement]:
    each = judge_all([nulls[name] for name in names], [len(groups[name]) for name in names], rules)
    return dict(zip(names, each, strict=True)) | {POOLED: judge(nulls[POOLED], len(groups[POOLED]), rules)}


def _other_readings(
    base: ModelSamples, tuned: ModelSamples, groups: dict, names: list[str], rules: Rules
) -> dict[str, dict[str, str]]:
    """Verdicts under another reading of the same draws: label -> benchmark -> verdict. Only readings that differ in
    their data are there."""

    def verdicts(keep: np.ndarray, n_base: np.ndarray, n_tuned: np.ndarray) -> dict[str, str]:
        left = {name: index[keep[index]] for name, index in groups.items()}
        nulls = {name: exact_null(n_base[i], base.correct[i], n_tuned[i], tuned.correct[i]) for name, i in left.items()}
        return {name: judgement.verdict for name, judgement in _judge_groups(nulls, left, names, rules).items()}

    readings = {}
    flips = suspicious_flips((base.n, base.correct), (tuned.n, tuned.correct))
    keep = ~flips
    if flips.any() and all(keep[index].any() for index in groups.values()):
        label = (
            f"without the {flips.sum()} suspicious flip{'s' * bool(flips.sum() > 1)} (0 of n to nearly all, or back)"
        )
        readings[label] = verdicts(keep, base.n, tuned.n)
    if (excluded := int(base.excluded.sum() + tuned.excluded.sum())) > 0:
        readings[f"with the {excluded} draws that the verifier could not judge counted as wrong"] = verdicts(
            np.ones(len(base), dtype=bool), base.n + base.excluded, tuned.n + tuned.excluded
        )
    return readings


def _problem_rows(pair: _Pair, certificate, plan) -> list[dict[str, Any]]:
    """One row a problem: counts, success rates with exact intervals, categories, further draws."""
    base, tuned, confidence = pair.base, pair.tuned, pair.settings.confidence
    low_b, high_b = clopper_pearson(base.correct, base.n, confidence)
    low_t, high_t = clopper_pearson(tuned.correct, tuned.n, confidence)
    category, flip = categories(base.correct, tuned.correct), suspicious_flips(pair.b, pair.t)
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
            "category": CATEGORIES[category[i]],
            "certified": None if certificate is None else CERTIFIED[certificate.category[i]],
            "further_draws": None if plan is None else {"base": plan["base"][i], "tuned": plan["tuned"][i]},
            "suspicious_flip": bool(flip[i]),
        }
        for i in range(len(base))
    ]


def _plain(value: Any) -> Any:
    """JSON-ready: numpy becomes Python; NaN and infinity, which JSON does not know, become null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
