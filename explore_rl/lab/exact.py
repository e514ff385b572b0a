"""The exact audit: the probability of every correct answer of every problem, and what follows without sampling error.

    pairs, index = sequences(problems, tokenizer)   what has to be scored
    logprobs = ...                                  by any scorer: the learner in training, else explore_rl.lab.logprobs
    audit = summarise(problems, index, logprobs)    probabilities of answers, modes, success; pass@k for every k
    compare(base_audit, tuned_audit)                preservation, shrinkage, expansion, out of support

It needs numpy only. Definitions of support follow "The Invisible Leash" (arXiv 2507.14843, definitions 3.1 to 3.3),
with the probability itself in place of "seen in k draws".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.errors import InputError
from analysis.support import CATEGORIES, SupportCounts
from explore_rl.lab.families import BY_BASE, REGIONS, answers_of, family_of
from explore_rl.real.tokens import ways
from explore_rl.types import Problem

EPS_LADDER = (1 / 16, 1 / 64, 1 / 256, 3 / 1024, 1 / 1024, 1 / 4096, 1 / 16384, 1 / 65536)
PASS_AT = tuple(2**power for power in range(0, 17, 2))
UNITS = ("problem", "mode", "answer")
FORMAT = "explore-rl exact audit 1"
# Where the base model says what is rare: a mode's region by its probability there, from this bound on.
OFTEN, RARELY, NEVER = "often", "rarely", "never"
BY_BASE_FROM = {OFTEN: 3 / 1024, RARELY: 1e-4, NEVER: 0.0}


@dataclass(frozen=True)
class Index:
    """What each scored sequence is: N correct answers of n problems in M modes.

    answers: the N texts.
    problem: [N] position of the answer's problem.
    mode: [N] position of the answer's mode.
    modes: the M canonical writings; the same writing under two problems is two modes.
    mode_problem: [M] position of the mode's problem.
    regions: the M regions; all writings of a mode lie in one.

    Where answers end with a character of their own, the N sequences are all the token sequences that write them: a
    text stands there once for each.
    """

    answers: tuple[str, ...]
    problem: np.ndarray
    mode: np.ndarray
    modes: tuple[str, ...]
    mode_problem: np.ndarray
    regions: tuple[str, ...]

    @property
    def region_names(self) -> tuple[str, ...]:
        """All regions that there could be, in the order in which they are shown."""
        return REGIONS if set(self.regions) <= set(REGIONS) else tuple(BY_BASE_FROM)


def sequences(problems: Sequence[Problem], tokenizer: Any) -> tuple[list[tuple[list[int], list[int]]], Index]:
    """Every correct answer of every problem, problem by problem, and their index.

    An answer is (prompt ids, completion ids with the end token). In the laboratory the tokenizer must write an answer
    in one way alone; else every way is a sequence of its own, and they add up. Raises InputError for a tokenizer that
    does not fit the problems.
    """
    if not all(family_of(problem).end for problem in problems):
        _check_one_to_one(tokenizer)
    pairs: list[tuple[list[int], list[int]]] = []
    answers: list[str] = []
    problem_of: list[int] = []
    mode_of: list[int] = []
    modes: list[str] = []
    mode_problem: list[int] = []
    regions: list[str] = []
    for position, problem in enumerate(problems):
        prompt_ids = list(tokenizer(problem.prompt).input_ids)
        known: dict[str, int] = {}
        family = family_of(problem)
        for answer in answers_of(problem):
            # A mode is counted when its first answer comes.
            mode = family.mode(answer)
            if mode not in known:
                known[mode] = len(modes)
                modes.append(mode)
                regions.append(family.region(mode))
                mode_problem.append(position)
            written = (
                ways(answer, tokenizer) if family.end else [[*tokenizer(answer).input_ids, tokenizer.eos_token_id]]
            )
            for ids in written:
                pairs.append((prompt_ids, list(ids)))
                answers.append(answer)
                problem_of.append(position)
                mode_of.append(known[mode])
    index = Index(
        answers=tuple(answers),
        problem=np.array(problem_of),
        mode=np.array(mode_of),
        modes=tuple(modes),
        mode_problem=np.array(mode_problem),
        regions=tuple(regions),
    )
    return pairs, index


def _check_one_to_one(tokenizer: Any) -> None:
    """Raises InputError for a tokenizer with tokens of several characters, or without an end token."""
    special = set(tokenizer.all_special_tokens)
    long = [token for token in tokenizer.get_vocab() if len(token) > 1 and token not in special]
    if long or tokenizer.eos_token_id is None:
        what = f"the token {long[0]!r} has several characters" if long else "there is no end token"
        raise InputError(f"the exact audit needs one token sequence for each answer, one character a token, but {what}")


@dataclass
class ExactAudit:
    """What one model does on a set of problems, exactly.

    problem_ids: the n problems'.
    index: what the N answers are.
    logprobs: [N] natural log-probability of each answer with its end token, -inf where top-p cuts it off.
    settings: what it was taken under (model, problems, temperature, top_p); any keys.
    any_end: [N] log-probability of each answer with whatever ends it, where answers end with a newline; else None. A
        model that learns to end its line gains in `logprobs` alone.
    """

    problem_ids: tuple[str, ...]
    index: Index
    logprobs: np.ndarray
    settings: dict[str, Any] = field(default_factory=dict)
    any_end: np.ndarray | None = None

    @property
    def answer_probabilities(self) -> np.ndarray:
        """[N]"""
        return np.exp(self.logprobs)

    @property
    def mode_probabilities(self) -> np.ndarray:
        """[M]: a mode's answers exclude each other, so their probabilities add."""
        return np.bincount(self.index.mode, self.answer_probabilities, minlength=len(self.index.modes))

    @property
    def success(self) -> np.ndarray:
        """[n]: the probability that one draw is correct."""
        total = np.bincount(self.index.problem, self.answer_probabilities, minlength=len(self.problem_ids))
        return np.minimum(total, 1.0)

    @property
    def success_any_end(self) -> np.ndarray | None:
        """[n]: the same, whatever ends the answer."""
        if self.any_end is None:
            return None
        total = np.bincount(self.index.problem, np.exp(self.any_end), minlength=len(self.problem_ids))
        return np.minimum(total, 1.0)

    def in_regions_of(self, base: ExactAudit) -> ExactAudit:
        """The audit with the regions of another one of the same problems."""
        return replace(self, index=replace(self.index, regions=base.index.regions))

    def probabilities(self, unit: str) -> np.ndarray:
        """By unit of counting: "problem" [n], "mode" [M] or "answer" [N]."""
        return {"problem": self.success, "mode": self.mode_probabilities, "answer": self.answer_probabilities}[unit]

    def pass_at_k(self, ks: Iterable[int] = PASS_AT) -> dict[int, float]:
        """Mean over problems of 1 - (1 - p)^k: the expectation itself, not an estimate."""
        with np.errstate(divide="ignore"):
            log_failure = np.log1p(-self.success)
        return {int(k): float(np.mean(-np.expm1(k * log_failure))) for k in ks}

    def regions(self) -> dict[str, dict[str, float]]:
        """Figures of each region.

        problems: how many have a mode in it.
        modes: its modes.
        mass: probability that one draw, at a problem picked at random, is a correct answer of the region.
        mass_where_present: the same over the problems that have one.
        correct_in_a_million_draws: expected, when they are spread over all problems.
        """
        figures = {}
        names = np.array(self.index.regions)
        for name in self.index.region_names:
            inside = names == name
            mass = float(self.mode_probabilities[inside].sum())
            problems = len(np.unique(self.index.mode_problem[inside]))
            figures[name] = {
                "problems": problems,
                "modes": int(inside.sum()),
                "mass": mass / len(self.problem_ids),
                "mass_where_present": mass / problems if problems else 0.0,
                "correct_in_a_million_draws": 1e6 * mass / len(self.problem_ids),
            }
        return figures

    def save(self, path: Path) -> None:
        """As JSON, written aside and renamed. -inf is stored as null."""
        # One table each: a mode names its problem, and an answer its mode, by position.
        index = self.index
        problems = zip(self.problem_ids, self.success, strict=True)
        modes = zip(index.mode_problem, index.modes, index.regions, self.mode_probabilities, strict=True)
        answers = zip(index.mode, index.answers, self.logprobs, strict=True)
        data = {
            "format": FORMAT,
            "settings": self.settings,
            "pass_at_k": self.pass_at_k(),
            "regions": self.regions(),
            "problems": [{"id": name, "success": float(p)} for name, p in problems],
            "modes": [
                {"problem": int(problem), "mode": mode, "region": region, "probability": float(p)}
                for problem, mode, region, p in modes
            ],
            "answers": [
                {"mode": int(mode), "answer": answer, "logprob": float(logprob) if np.isfinite(logprob) else None}
                for mode, answer, logprob in answers
            ],
        }
        if self.any_end is not None:
            data["any_end"] = [float(logprob) if np.isfinite(logprob) else None for logprob in self.any_end]
        write_json(path, data)

    @classmethod
    def load(cls, path: Path) -> ExactAudit:
        """The audit that `save` wrote. Raises InputError for a file that is missing or is something else."""
        try:
            data = json.loads(Path(path).read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise InputError(f"{path}: cannot be read as an exact audit: {error}") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise InputError(f'{path}: not an exact audit: "format" must be {FORMAT!r}')
        # What is stored once in the file, such as an answer's problem, is looked up again.
        answers = data["answers"]
        modes = data["modes"]
        mode_of = np.array([answer["mode"] for answer in answers], dtype=int)
        mode_problem = np.array([mode["problem"] for mode in modes], dtype=int)
        index = Index(
            answers=tuple(answer["answer"] for answer in answers),
            problem=mode_problem[mode_of],
            mode=mode_of,
            modes=tuple(mode["mode"] for mode in modes),
            mode_problem=mode_problem,
            regions=tuple(mode["region"] for mode in modes),
        )
        logprobs = np.array([-np.inf if answer["logprob"] is None else answer["logprob"] for answer in answers])
        any_end = None
        if "any_end" in data:
            any_end = np.array([-np.inf if logprob is None else logprob for logprob in data["any_end"]])
        names = tuple(problem["id"] for problem in data["problems"])
        return cls(names, index, logprobs, data["settings"], any_end)


def write_json(path: Path, data: Any) -> None:
    """Writes the file aside and renames it. Raises ValueError for NaN and infinities, which JSON does not have."""
    path = Path(path)
    aside = path.with_name(path.name + ".partial")
    aside.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
    os.replace(aside, path)


def summarise(
    problems: Sequence[Problem],
    index: Index,
    *,
    logprobs: ArrayLike,
    settings: dict[str, Any] | None = None,
    any_end: ArrayLike | None = None,
) -> ExactAudit:
    """The audit of scored sequences. Where the base says what is rare, regions are first by the audit itself.

    Raises ValueError if their number differs, one is NaN, or some problem's answers have more than probability 1
    together.

    problems, index: those of `sequences`.
    logprobs: one a sequence that `sequences` gave, in its order.
    settings: what the log-probabilities were taken under.
    any_end: as ExactAudit.any_end.
    """
    scored = np.asarray(logprobs, dtype=np.float64)
    if scored.shape != index.problem.shape:
        raise ValueError(f"{len(index.problem)} sequences have to be scored, {scored.shape} log-probabilities came")
    if np.isnan(scored).any():
        raise ValueError(f"the log-probability of {index.answers[int(np.isnan(scored).argmax())]!r} is NaN")
    total = np.bincount(index.problem, np.exp(scored), minlength=len(problems))
    if (total > 1 + 1e-4).any():  # float32 logits leave about 1e-6
        raise ValueError(
            f"the answers of {problems[int(total.argmax())].id} have probability {total.max():.6f} together"
        )
    ended = None if any_end is None else np.asarray(any_end, dtype=np.float64)
    audit = ExactAudit(tuple(problem.id for problem in problems), index, scored, dict(settings or {}), ended)
    if BY_BASE not in index.regions:
        return audit
    bounds = BY_BASE_FROM.items()
    regions = tuple(next(name for name, least in bounds if p >= least) for p in audit.mode_probabilities)
    return replace(audit, index=replace(index, regions=regions))


def compare(base: ExactAudit, tuned: ExactAudit, *, eps_ladder: Sequence[float] = EPS_LADDER) -> dict[str, Any]:
    """What tuning did to the support, exactly, at each threshold.

    Returns {"eps": [...], "pass_at_k": {"base", "tuned"}, "regions": {"base", "tuned"},
    "support": {unit: [row per eps]}, "support_by_region": {region: [row per eps, by modes]}}.

    A row holds eps, the counts preserved, shrunk, expanded and out (> eps under both, base only, tuned only, neither),
    and the rates srr, ndr, sds and nscr, None where a denominator is zero. The units "problem" and "mode" are the
    headlines. "answer" (one writing) is a diagnostic, since a model that settles on one of two commuted writings has
    lost nothing. Raises InputError if the two are not of the same problems.
    """
    if base.problem_ids != tuned.problem_ids or base.index.answers != tuned.index.answers:
        raise InputError("exact audits can be compared only over the same problems in the same order")
    regions = np.array(base.index.regions)
    tuned = tuned.in_regions_of(base)

    # A row per eps, over all units or over the chosen ones.
    def ladder(unit: str, chosen: np.ndarray | slice = slice(None)) -> list[dict[str, Any]]:
        before = base.probabilities(unit)[chosen]
        after = tuned.probabilities(unit)[chosen]
        return [{"eps": float(eps)} | support_counts(before > eps, after > eps) for eps in eps_ladder]

    return {
        "eps": [float(eps) for eps in eps_ladder],
        "pass_at_k": {"base": base.pass_at_k(), "tuned": tuned.pass_at_k()},
        "regions": {"base": base.regions(), "tuned": tuned.regions()},
        "support": {unit: ladder(unit) for unit in UNITS},
        "support_by_region": {name: ladder("mode", regions == name) for name in base.index.region_names},
    }


def support_counts(base: np.ndarray, tuned: np.ndarray) -> dict[str, Any]:
    """Counts and rates from who holds each unit in its support (two boolean arrays of one length).

    >>> support_counts(np.array([True, True, False, False]), np.array([True, False, True, False]))["srr"]
    0.5
    """
    cells = (base & tuned, base & ~tuned, ~base & tuned, ~base & ~tuned)
    counts = SupportCounts(*(int(cell.sum()) for cell in cells))
    return {name: getattr(counts, name) for name in (*CATEGORIES, "srr", "ndr", "sds", "nscr")}
