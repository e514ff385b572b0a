"""Splits, subsets, orders and filters. What is drawn depends on a problem's id and the seed alone, not on its place in
the file: a problem stays on its side of a split when others are added or the file is reordered."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from analysis.errors import InputError
from explore_rl.problems.templates import Template
from explore_rl.types import Problem


def place(problem: Problem, seed: int, *, purpose: str = "") -> float:
    """A number in [0, 1), uniform over problems, fixed by (purpose, seed, benchmark, id)."""
    key = repr((purpose, int(seed), problem.benchmark, problem.id)).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()[:6], "big") / 2**48


def split(problems: Iterable[Problem], shares: Mapping[str, float], *, seed: int = 0) -> dict[str, list[Problem]]:
    """Deals problems out to named parts. shares: name -> share, adding up to at most 1 (what is left over is in no
    part).

    Sizes are close to the shares, not exact: that is the price of parts that do not move when problems are added.
    """
    total = sum(shares.values())
    if not shares or any(not share > 0 for share in shares.values()) or total > 1 + 1e-9:
        raise InputError(f"split {dict(shares)!r}: expected shares above 0 that add up to at most 1")
    parts: dict[str, list[Problem]] = {name: [] for name in shares}
    for problem in problems:
        name = part_of(problem, shares, seed=seed)
        if name is not None:
            parts[name].append(problem)
    return parts


def part_of(problem: Problem, shares: Mapping[str, float], *, seed: int = 0) -> str | None:
    """The part a problem belongs to (None: to none). For files that are streamed."""
    where = place(problem, seed, purpose="split")
    end = 0.0
    for name, share in shares.items():
        end += share
        if where < end:
            return name
    return None


def subset(problems: Iterable[Problem], size: int, *, seed: int = 0) -> list[Problem]:
    """`size` problems at random, in the order of the file. A smaller subset of the same seed is part of a larger
    one."""
    if size < 1:
        raise InputError(f"subset of {size}: expected at least 1 problem")
    placed = ((place(problem, seed, purpose="subset"), i, problem) for i, problem in enumerate(problems))
    drawn = heapq.nsmallest(size, placed, key=lambda entry: entry[:2])  # holds no more than these
    if len(drawn) < size:
        raise InputError(f"subset of {size}: there are only {len(drawn)} problems")
    return [problem for _, _, problem in sorted(drawn, key=lambda entry: entry[1])]


def shuffle(problems: Iterable[Problem], seed: int = 0) -> list[Problem]:
    """All problems in an order that the seed fixes, whatever the order of the file."""
    return sorted(problems, key=lambda problem: (place(problem, seed, purpose="shuffle"), problem.id))


# --- filters ----------------------------------------------------------------------------------------------------------


@dataclass
class Dropped:
    """What a filter left out, counted while it streams. examples: the first few ids of each reason."""

    kept: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, problem: Problem, reason: str) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < 5:
            examples.append(problem.id)

    def lines(self) -> list[str]:
        shown = {
            reason: ", ".join(ids) + (", ..." if self.reasons[reason] > len(ids) else "")
            for reason, ids in self.examples.items()
        }
        return [f"{count} left out: {reason} ({shown[reason]})" for reason, count in self.reasons.items()]


def filter_by_length(
    problems: Iterable[Problem],
    template: Template,
    *,
    tokenizer: Any,
    at_most: int,
    at_least: int = 0,
    dropped: Dropped | None = None,
) -> Iterator[Problem]:
    """Problems whose prompt, as the model sees it, has at_least to at_most tokens.

    problems: streamed.
    template: as the prompts are written.
    tokenizer: the model's.
    at_most, at_least: tokens, both ends included.
    dropped: is told of each problem that is left out.
    """
    dropped = Dropped() if dropped is None else dropped
    for problem in problems:
        length = len(template.encode(problem, tokenizer))
        if length > at_most:
            dropped.drop(problem, f"prompt longer than {at_most} tokens")
        elif length < at_least:
            dropped.drop(problem, f"prompt shorter than {at_least} tokens")
        else:
            dropped.kept += 1
            yield problem


def filter_by_success(
    problems: Iterable[Problem],
    counts: Mapping[tuple[str, str], tuple[int, int]],
    *,
    low: float = 0.0,
    high: float = 1.0,
    unmeasured: str = "error",
    dropped: Dropped | None = None,
) -> Iterator[Problem]:
    """Problems whose measured success rate correct / n lies in [low, high].

    A rate of 0 of n says less the smaller n is; the range is on what was measured, not on what is true.

    problems: streamed.
    counts: (benchmark, problem id) -> (correct, n), as `read_counts` gives them.
    low, high: the range, both ends included.
    unmeasured: what becomes of problems without draws: "error", "keep" or "drop".
    dropped: is told of each problem that is left out.
    """
    if not 0 <= low <= high <= 1:
        raise InputError(f"success rates from {low} to {high}: expected 0 <= low <= high <= 1")
    if unmeasured not in ("error", "keep", "drop"):
        raise InputError(f"unmeasured={unmeasured!r}: expected error, keep or drop")
    dropped = Dropped() if dropped is None else dropped
    for problem in problems:
        correct, n = _count(problem, counts)
        if n == 0 and unmeasured == "error":
            raise InputError(
                f"problem {problem.id!r} of benchmark {problem.benchmark!r}: no measured success rate; "
                f"unmeasured=keep or drop allows that"
            )
        if n == 0 and unmeasured == "drop":
            dropped.drop(problem, "no measured success rate")
        elif n and not low <= correct / n <= high:
            dropped.drop(problem, f"success rate {'below ' + str(low) if correct / n < low else 'above ' + str(high)}")
        else:
            dropped.kept += 1
            yield problem


def read_counts(paths: Sequence[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """(benchmark, problem id) -> (correct, n) from sample or count files, in any form that the analysis reads. Raises
    InputError."""
    from analysis.readers import load

    samples = load(list(paths))
    return {
        (benchmark, problem): (int(correct), int(n))
        for benchmark, problem, correct, n in zip(
            samples.benchmarks, samples.problem_ids, samples.correct, samples.n, strict=True
        )
    }


def _count(problem: Problem, counts: Mapping[tuple[str, str], tuple[int, int]]) -> tuple[int, int]:
    from analysis.records import DEFAULT_BENCHMARK

    named = counts.get((problem.benchmark or DEFAULT_BENCHMARK, problem.id))
    return named or counts.get((DEFAULT_BENCHMARK, problem.id)) or (0, 0)
