"""What samples and scores add to an audit: entropy, perplexity, votes, support by answer, certificates."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.audit import AuditSettings, audit
from analysis.readers import align, load, load_scores
from analysis.records import write_samples, write_scores

FAST = AuditSettings(replicates=200, maj_repeats=20)
DRAWS = {  # problem -> answer, whether it is correct, tokens
    "1": [("4", True, 10), ("5", False, 20), (None, False, 30), ("4", True, 10)],
    "2": [("7", False, 10)] * 4,
}
SAMPLES = [
    {
        "problem_id": problem,
        "sample": i,
        "correct": correct,
        "answer": answer,
        "mode": answer,
        "num_tokens": tokens,
        "logprob": -0.1 * tokens,
        "token_entropy": 0.3,
        "cot_correct": correct and i == 0,
        "temperature": 0.6,
        "top_p": 0.95,
        "model": "org/base",
    }
    for problem, rows in DRAWS.items()
    for i, (answer, correct, tokens) in enumerate(rows)
]


def test_samples_give_entropy_perplexity_votes_and_support_by_answer(tmp_path):
    write_samples(tmp_path / "base.parquet", SAMPLES)
    write_samples(
        tmp_path / "tuned.parquet",
        [
            {**row, "model": "tuned", "num_tokens": 2 * row["num_tokens"], "logprob": -0.1 * row["num_tokens"]}
            for row in SAMPLES
        ],
    )
    base, tuned, _ = align(load([str(tmp_path / "base.parquet")]), load([str(tmp_path / "tuned.parquet")]))
    section = audit(base, tuned, settings=FAST)["benchmarks"]["default"]
    assert section["entropy"]["answer"]["base"]["value"] == pytest.approx(
        (0.5 * np.log(2) + 0.5 * np.log(4)) / 2
    )  # no answer is a class
    assert section["entropy"]["token"]["tuned"]["value"] == pytest.approx(0.3)
    ppl = {
        (row["under"], row["category"]): row["value"] for row in section["perplexity"]["rows"] if row["traces"] == "all"
    }
    assert ppl == pytest.approx(
        {
            ("base", "preserved"): np.exp(0.1),
            ("base", "out"): np.exp(0.1),
            ("tuned", "preserved"): np.exp(0.05),
            ("tuned", "out"): np.exp(0.05),
        }
    )
    assert section["metrics"]["maj_at_k"]["4"]["base"]["value"] == pytest.approx(0.5)
    assert section["metrics"]["cot_pass_at_k"]["1"]["base"]["value"] == pytest.approx(1 / 8)
    assert {k: entry["value"] for k, entry in section["pass_at_first_k"]["base"].items()} == {
        "1": 0.5,
        "2": 0.5,
        "4": 0.5,
    }
    assert section["answers"]["intervals"]["expanded"]["low"] == 0 < section["answers"]["intervals"]["expanded"]["high"]
    assert section["num_tokens"]["difference"]["value"] == pytest.approx(13.75)
    assert section["perplexity"]["rows"][0]["low"] is None  # one problem says nothing of others
    assert section["answers"]["preserved"] == 1 and section["answers"]["out"] is None
    assert section["pass_at_tokens"]["mean_tokens"] == {"base": 13.75, "tuned": 27.5}
    assert (
        section["pass_at_tokens"]["base"]["value"][-1] > section["pass_at_tokens"]["tuned"]["value"][-1]
    )  # equal pass@k at twice the price


def test_scores_certify_only_under_the_samples_own_distribution(tmp_path):
    write_samples(tmp_path / "base.parquet", SAMPLES)
    write_samples(tmp_path / "tuned.parquet", [{**row, "model": "tuned"} for row in SAMPLES])
    score = {
        "problem_id": "2",
        "model": "base",
        "logprob": np.log(0.45),
        "num_tokens": 5,
        "correct": True,
        "temperature": 0.6,
        "top_p": 0.95,
    }
    rows = [{**score, "sequence": s} for s in ("a", "a", "b")]  # a twice is one sequence: .45 + .45
    write_scores(tmp_path / "good.parquet", rows)
    write_scores(tmp_path / "hot.parquet", [{**row, "temperature": 1.0} for row in rows])
    base, tuned, _ = align(load([str(tmp_path / "base.parquet")]), load([str(tmp_path / "tuned.parquet")]))
    good = audit(
        base,
        tuned,
        scores=load_scores([str(tmp_path / "good.parquet")]),
        settings=AuditSettings(eps=0.8, replicates=200),
    )
    assert good["benchmarks"]["default"]["certified"]["from_scores"] == {"base": 1, "tuned": None}
    assert any("no score is by tuned" in line for line in good["warnings"])
    hot = audit(
        base,
        tuned,
        scores=load_scores([str(tmp_path / "hot.parquet")]),
        settings=AuditSettings(eps=0.8, replicates=200),
    )
    assert hot["benchmarks"]["default"]["certified"]["from_scores"]["base"] is None
    assert any("were not taken at its samples' temperature of 0.6" in line for line in hot["warnings"])
    row = next(r for r in hot["benchmarks"]["default"]["perplexity"]["rows"] if r["temperature"] == 1.0)
    assert row["category"] == "out" and row["value"] == pytest.approx(
        0.45 ** (-1 / 5)
    )  # still good for perplexity, with its temperature beside it
