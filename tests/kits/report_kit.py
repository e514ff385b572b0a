"""A made-up pair of models for tests of reports: two benchmarks, every category, texts that try to break a page."""

from __future__ import annotations

import numpy as np

from analysis.audit import AuditSettings

SETTINGS = AuditSettings(replicates=200, maj_repeats=20)
N = 16


def rows(model, rates, seed, benchmarks=("aime24", "math500")):
    rng = np.random.default_rng(seed)
    out = []
    for i, p in enumerate(rates):
        for s in range(N):
            correct = bool(rng.random() < p)
            answer = "7" if correct else str(rng.integers(0, 4))
            text = (
                f"<img src=x onerror=alert(1)> problem {i}, draw {s} of {model} </script><b>bold</b> "
                f"\\boxed{{{answer}}}"
            )
            out.append(
                {
                    "problem_id": f"p{i}",
                    "benchmark": benchmarks[i % len(benchmarks)],
                    "sample": s,
                    "correct": correct,
                    "answer": answer,
                    "mode": answer,
                    "completion": text,
                    "logprob": -float(rng.random() * 30),
                    "num_tokens": int(rng.integers(20, 60)),
                    "token_entropy": float(rng.random()),
                    "model": model,
                    "temperature": 0.6,
                }
            )
    return out


BASE = [0.0, 0.0, 0.9, 0.7, 0.5, 0.5, 0.4, 0.3, 1.0, 0.0, 0.6, 0.5]
TUNED = [1.0, 0.0, 0.0, 0.8, 0.6, 0.7, 0.5, 0.5, 1.0, 0.6, 0.7, 0.6]


def exact_section():
    """The laboratory's figures, as `docs/analysis.md` describes them."""
    ladder = [
        {
            "eps": eps,
            "preserved": 9,
            "shrunk": i,
            "expanded": 2 * i,
            "out": 1,
            "srr": 0.9,
            "ndr": 0.1,
            "sds": 0.18,
            "nscr": 0.0,
        }
        for i, eps in enumerate((0.0625, 0.003))
    ]
    runs = [
        {
            "method": method,
            "seed": seed,
            "pass@1": 0.2,
            "mode_srr": 0.9,
            "mass_sum": 0.1,
            "mass_division": 1e-6 * (seed or 1),
            "support": {"mode": ladder},
            "pass_at_k": {"1": 0.2, "16": 0.5, "256": 0.7},
        }
        for method, seed in (("base", None), ("base at T=1.5", None), ("grpo", 0), ("grpo", 1))
    ]
    rows = []
    for method in ("base", "base at T=1.5", "grpo"):
        mine = [run for run in runs if run["method"] == method]
        spread = lambda key, mine=mine: {
            "mean": float(np.mean([r[key] for r in mine])),
            "low": min(r[key] for r in mine),
            "high": max(r[key] for r in mine),
        }  # noqa: E731
        rows.append(
            {"method": method, "runs": len(mine)}
            | {key: spread(key) for key in ("pass@1", "mode_srr", "mass_sum", "mass_division")}
        )
    training = [
        {"method": "grpo", "seed": seed, "steps": [{"step": step, "support": {"mode": ladder}} for step in (0, 10)]}
        for seed in (0, 1)
    ]
    picture = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><text y="15">5-2</text></svg>'
    return {
        "tree": {"problem": "5 2=3:", "svg": picture},
        "rows": rows,
        "runs": runs,
        "training": training,
        "settings": {"eps": 0.003},
    }
