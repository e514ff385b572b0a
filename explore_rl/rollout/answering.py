"""Answers at inference time, focused or exploratory: k draws shared out between a tuned model and its base.

    focused       all k draws from the tuned model: the answers that training made likely
    exploratory   all k draws from the base: the answers that training may have given up
    split         some of each; by the advice of an audit (`audit.json`), else half and half

Both kinds of draws are ordinary samples (`rollout.sampling`). What comes back are distinct answers, ranked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from analysis.errors import InputError
from explore_rl.rollout.engines import Engines
from explore_rl.rollout.sampling import SamplingSettings, sample
from explore_rl.types import Status
from explore_rl.verifiers.pool import VerifierPool

MODES = ("focused", "exploratory", "split")
SIDES = ("tuned", "base")


def shares(mode: str, k: int, *, audit: Path | None = None) -> dict[str, int]:
    """How many of k draws each side gets: {"tuned": n, "base": n}, sum k.

    Raises InputError for an unknown mode, a k below 1, and an audit without advice.

    audit: an audit.json; its best split at the largest budget up to k (else the smallest) is scaled to k.

    >>> shares("split", 9)
    {'tuned': 5, 'base': 4}
    """
    if mode not in MODES:
        raise InputError(f"--mode={mode}: must be one of {', '.join(MODES)}")
    if k < 1:
        raise InputError(f"--k={k}: expected at least 1")
    if audit is not None and mode != "split":
        raise InputError(f"--audit says how to split draws, and has no meaning with --mode {mode}")
    if mode != "split":
        return {"tuned": k if mode == "focused" else 0, "base": 0 if mode == "focused" else k}
    of_base = 0.5 if audit is None else _advised(audit, k)
    base = int(of_base * k)
    return {"tuned": k - base, "base": base}


def _advised(audit: Path, k: int) -> float:
    """The share of the draws that the audit's advice gives to the base."""
    try:
        rows = json.loads(audit.read_text())["advice"]
        best = {row["budget"]: row["best_split"] for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{audit}: no audit.json with advice ({type(error).__name__}: {error})") from None
    if not best:
        raise InputError(f"{audit}: its advice is empty; leave --audit out to split draws evenly")
    budget = max((budget for budget in best if budget <= k), default=min(best))
    return best[budget]["k_base"] / budget


@dataclass
class Answer:
    """One distinct answer to a problem.

    key: its mode, or, where there is none, the extracted answer.
    text: the first completion that gave it.
    draws: how many gave it, by side.
    correct: what the verifier said; None where it was not asked or could not say.
    """

    key: str
    text: str
    draws: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SIDES, 0))
    correct: bool | None = None

    @property
    def votes(self) -> int:
        return sum(self.draws.values())


def ranked(rows: Mapping[str, Iterable[Mapping[str, Any]]], *, verified: bool = True) -> dict[str, list[Answer]]:
    """problem id -> its distinct answers: correct ones first, then those that more draws gave.

    Two completions are one answer if their modes are equal, or, where there is none, their extracted answers. Draws
    without an answer are left out.

    rows: side -> records of `sample`.
    verified: whether verdicts count; False: ranked by draws alone, as without a reference.
    """
    found: dict[str, dict[str, Answer]] = {}
    for side in SIDES:
        for row in rows.get(side, ()):
            key = row["mode"] or row["answer"]
            if key is None or row["verdict"] == Status.NO_ANSWER:
                continue
            answer = found.setdefault(row["problem_id"], {}).setdefault(key, Answer(key, row["completion"]))
            answer.draws[side] += 1
            if verified and row["correct"] is not None:
                answer.correct = bool(row["correct"])
    return {
        problem: sorted(answers.values(), key=lambda answer: (not answer.correct, -answer.votes))
        for problem, answers in found.items()
    }


def answer(
    settings: SamplingSettings,
    base: str,
    *,
    split: Mapping[str, int],
    out: Path,
    drawing: Mapping[str, AbstractContextManager[Engines]],
    pool: VerifierPool,
    verified: bool = True,
) -> dict[str, list[Answer]]:
    """Draws what is missing, and ranks the answers.

    settings: how the tuned model draws; `n` is taken from the split.
    base: the model of the other side.
    split: one that `shares` gives.
    out: folder of the samples, tuned.parquet and base.parquet, each with its count; complete ones are kept.
    drawing: side -> engines that hold its model, entered only if draws are missing.
    pool: that judges the draws.
    verified: as in `ranked`.
    """
    rows = {}
    for side, model in zip(SIDES, (settings.model, base), strict=True):
        if not split[side]:
            continue
        asked = replace(settings, model=model, n=split[side])
        file = out / f"{side}-{asked.digest()}.parquet"
        if not file.exists():
            sample(asked, file, drawing=drawing[side], pool=pool)
        rows[side] = pq.read_table(
            file, columns=["problem_id", "mode", "answer", "verdict", "correct", "completion"]
        ).to_pylist()
    return ranked(rows, verified=verified)
