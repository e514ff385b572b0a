"""Which completions go into the page to read, what is said of those left out, and what is refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from analysis.__main__ import main
from analysis.records import write_samples
from analysis.rollouts import GROUP_SHOWN, Limits, choose, read


def embedded(page):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)[1]
    return json.loads(text)


def test_the_choice_gives_every_step_its_share_in_whole_groups():
    step = np.repeat(np.arange(10), 40)
    group = np.repeat(np.arange(100), 4)
    chosen = choose(step, group, limits=Limits(rows=120))
    assert len(chosen) == 120 and (np.bincount(step[chosen]) == 12).all()
    assert set(np.bincount(group[chosen])[np.unique(group[chosen])]) == {4}
    assert (chosen == choose(step, group, limits=Limits(rows=120))).all()
    assert (chosen != choose(step, group, limits=Limits(rows=120, seed=1))).any()
    # small steps are taken whole, and what they leave goes to the others
    uneven = np.repeat([0, 1, 2], [4, 100, 100])
    assert np.bincount(uneven[choose(uneven, np.arange(204), limits=Limits(rows=104))]).tolist() == [4, 50, 50]
    # more steps than rows: some steps, spread over all; a large group: a part
    assert len(choose(np.arange(50), np.arange(50), limits=Limits(rows=7))) == 7
    assert len(choose(np.zeros(500, int), np.zeros(500, int), limits=Limits(rows=400))) == GROUP_SHOWN


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_file_of_samples_is_cut_to_the_limit_and_says_so(tmp_path, capsys, ending):
    rows = [
        {"problem_id": f"p{i // 8}", "sample": i % 8, "correct": i % 3 == 0, "answer": str(i), "completion": "x" * 90}
        for i in range(80)
    ]
    path = tmp_path / f"samples.{ending}"
    if ending == "parquet":
        write_samples(path, rows)
    else:
        lines = [",".join(str(value) for value in row.values()) for row in rows]
        path.write_text("\n".join([",".join(rows[0]), *lines]) + "\n")
    assert main(["rollouts", str(path), "--limit", "24", "--characters", "50"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("24 of 80 completions: whole groups drawn at random (seed 0") and "56 are left out" in out
    data = embedded(tmp_path / "samples.html")
    assert data["count"] == 24 and data["steps"] == [] and data["left"] in out
    assert set(data["columns"]["text"]) == {"x" * 50 + "\n[... 40 more characters]"}
    assert "reward" not in data["columns"] and {len(g) for g in [data["groups"]]} == {3}
    for group in data["groups"]:  # of all 8 draws, whatever is shown
        assert group["n"] == group["judged"] == 8 and group["correct"] in (2, 3)


def test_draws_without_evidence_do_not_count_as_judged(tmp_path):
    verdicts = ["correct", "wrong", "no_answer", "timeout", "error"]
    rows = [{"problem_id": "a", "verdict": v, "completion": v} for v in verdicts]
    write_samples(tmp_path / "s.parquet", rows)
    found = read([str(tmp_path / "s.parquet")], Limits())
    assert [row["verdict"] for row in found["rows"]] == verdicts
    assert found["groups"][0] | {"group": 0} == {"group": 0, "n": 5, "correct": 1, "judged": 3, "reward": None}


def test_bad_input_is_one_line(tmp_path, capsys):
    counts = tmp_path / "counts.csv"
    counts.write_text("problem_id,n,correct\na,4,1\n")
    samples = tmp_path / "samples.jsonl"
    samples.write_text('{"problem_id": "a", "correct": true, "completion": "x"}\n')
    (tmp_path / "run" / "rollouts").mkdir(parents=True)
    for arguments, words in (
        ([counts], "holds no completions"),
        ([samples, "--steps", "0", "3"], "no column step"),
        ([samples, "--limit", "0"], "rows = 0"),
        ([tmp_path / "run"], "no rollouts yet"),
        ([tmp_path / "none"], "no such file"),
        ([samples, "--out", tmp_path / "counts.csv" / "page.html"], "cannot be written"),
    ):
        assert main(["rollouts", *map(str, arguments)]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1 and words in captured.err
