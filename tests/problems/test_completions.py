"""Completions of other projects are graded: lm-eval's repeats, verl's generations."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.readers import load
from explore_rl.cli import main


@pytest.fixture
def problems(tmp_path):
    rows = [{"id": f"g{i}", "prompt": f"What is {i} + 1?", "answer": str(i + 1), "verifier": "math"} for i in range(2)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "problems.jsonl"


def graded(tmp_path, file, problems):
    out = tmp_path / "graded.parquet"
    assert main(["verify", str(file), "--problems", str(problems), "--out", str(out), "--workers", "1"]) == 0
    found = load([str(out)])
    return dict(zip(found.problem_ids, zip(found.n.tolist(), found.correct.tolist(), strict=True), strict=True))


def test_repeats_of_lm_eval_are_graded_one_by_one(tmp_path, problems, capsys):
    rows = [
        {
            "doc_id": i,
            "doc": {},
            "target": f"we add\n#### {i + 1}",
            "resps": [[r"\boxed{1}", r"\boxed{2}", "none"]],
            "filtered_resps": ["1"],
            "filter": name,
            "metrics": ["exact_match"],
            "exact_match": 1.0,
        }
        for name in ("strict", "flexible")
        for i in range(2)
    ]
    file = tmp_path / "samples_gsm8k.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert graded(tmp_path, file, problems) == {"g0": (3, 1), "g1": (3, 1)}
    rows[0]["target"] = "#### 7"
    file.write_text(json.dumps(rows[0]) + "\n")
    words = ["verify", str(file), "--problems", str(problems), "--out", str(tmp_path / "other.parquet")]
    assert main(words) == 2
    assert "is not the answer of problem 'g0' at this place" in capsys.readouterr().err


def test_generations_of_verl_are_graded(tmp_path, problems):
    row = {
        "data_source": "x",
        "prompt": [{"role": "user", "content": "What is 1 + 1?"}],
        "reward_model": {"style": "rule", "ground_truth": "2"},
        "responses": [r"\boxed{2}", r"\boxed{3}"],
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "gen.parquet")
    assert graded(tmp_path, tmp_path / "gen.parquet", problems) == {"g1": (2, 1)}
