#!/usr/bin/env python3
"""Holds what `analysis` says of samples to what is exactly true, in the laboratory.

    scripts/check_audit_against_exact.py --base runs/board/base.parquet --tuned runs/board/grpo-seed0/samples.parquet \\
        --base-model lab:base --tuned-model runs/board/grpo-seed0/final \\
        --problems "lab:countdown?level=3&split=audit&size=500"

Prints, for the problems that were sampled, the sampled categories against the exact ones at eps = 1/k, and how many
members of each certified category are wrong.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

from analysis import readers
from analysis.certified import certify, default_eps
from analysis.counts import Counts
from analysis.support import categories
from explore_rl.lab import problems
from explore_rl.lab.audits import audit_of
from explore_rl.models import resolve_model

NAMES = ("preserved", "shrunk", "expanded", "out")


def exact_categories(base: np.ndarray, tuned: np.ndarray, *, eps: float) -> list[str]:
    return [
        NAMES[{(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}[(b, t)]]
        for b, t in zip(base > eps, tuned > eps, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("base", "tuned", "base-model", "tuned-model", "problems"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--temperature", type=float, default=1.0)
    args = parser.parse_args()
    base, tuned = readers.load([args.base], name="base"), readers.load([args.tuned], name="tuned")
    base, tuned, _ = readers.align(base, tuned)
    known = {p.id: p for p in problems.load(args.problems)}
    asked = [known[i] for i in base.problem_ids]
    truth = [
        audit_of(resolve_model(m), asked, temperature=args.temperature).success
        for m in (args.base_model, args.tuned_model)
    ]
    n = int(base.n.min())
    expected = [1 - (1 - p) ** n for p in truth]
    print(f"{len(asked)} problems, {n} draws a side")
    for side, samples, p in (("base", base, truth[0]), ("tuned", tuned, truth[1])):
        z = (samples.correct.sum() - (samples.n * p).sum()) / np.sqrt((samples.n * p * (1 - p)).sum())
        print(
            f"  {side:6} correct draws {samples.correct.sum()},"
            f" exactly expected {(samples.n * p).sum():.1f} (z = {z:+.2f})"
        )
    sampled = Counter(NAMES[c] for c in categories(base.correct, tuned.correct))
    b, t = expected
    print("  solved in n draws, sampled: ", dict(sampled))
    print(
        "  solved in n draws, expected:",
        {
            k: round(float(v), 1)
            for k, v in zip(
                NAMES, ((b * t).sum(), (b * (1 - t)).sum(), ((1 - b) * t).sum(), ((1 - b) * (1 - t)).sum()), strict=True
            )
        },
    )
    eps = default_eps(n, len(asked))
    if eps is None:
        print(f"  {n} draws a side certify nothing of {len(asked)} problems")
        return
    found = certify(Counts(base.n, base.correct), Counts(tuned.n, tuned.correct), eps=eps)
    exact = np.array(exact_categories(truth[0], truth[1], eps=eps))
    print(f"  certified at eps = {eps:.4f}:")
    for name in NAMES:
        members = found.category == NAMES.index(name)
        print(
            f"    {name:10} {int(members.sum()):4} certified, {int((members & (exact != name)).sum())} of them wrong;"
            f" exactly {int((exact == name).sum())}"
        )


if __name__ == "__main__":
    main()
