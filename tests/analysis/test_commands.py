"""The commands `audit` and `compare` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.__main__ import main
from analysis.records import write_samples, write_scores

PAIR = str(Path(__file__).parents[2] / "examples" / "simplerl_math500.csv")


def test_the_command_writes_the_document_and_refuses_in_one_line(tmp_path, capsys):
    arguments = [
        "audit",
        "--base",
        PAIR + "::base",
        "--tuned",
        PAIR + "::simplerl",
        "--replicates",
        "200",
        "--no-report",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(arguments) == 0
    assert "traded" in capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert document["inputs"]["base"][0]["sha256"] and document["settings"]["replicates"] == 200
    assert main([*arguments, "--k", "1", "4096"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "k = 4096 is above n = 128" in error


def test_compare_gives_every_run_its_verdict_and_says_that_one_run_is_few(tmp_path, capsys):
    out = tmp_path / "board"
    arguments = [
        "compare",
        "--base",
        PAIR + "::base",
        "--method",
        "simplerl",
        PAIR + "::simplerl",
        "--method",
        "none",
        PAIR + "::base",
    ]
    assert main([*arguments, "--replicates", "200", "--no-report", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "simplerl, none have one run: no method has two" in said and "simplerl on default: traded\n" in said
    document = json.loads((out / "compare.json").read_text())
    assert document["methods"]["simplerl"]["per_run"]["all"][0]["verdict"] == "traded"
    assert document["methods"]["simplerl"]["verdict"]["all"]["verdict"] == "traded"
    assert document["methods"]["none"]["per_run"]["all"][0]["verdict"] == "held"
    (pair,) = document["pairs"]
    row = pair["benchmarks"]["all"]["pass_at_k_difference"]["1"]
    assert row["p_over_runs"] is None and row["value"] == pytest.approx(0.613921875 - 0.779328125) and row["high"] < 0
    assert pair["benchmarks"]["all"]["verdicts_run_by_run"] == [["traded"]]  # seen from SimpleRL, the base solves more


def test_compare_takes_a_redraw_and_scores(tmp_path, capsys):
    rng = np.random.default_rng(4)
    p = np.where(np.arange(60) < 40, rng.beta(0.3, 3, 60), 0.0)
    draws = {name: rng.binomial(32, q) for name, q in (("base", p), ("again", p), ("tuned", np.clip(p + 0.2, 0, 1)))}
    for name, correct in draws.items():
        rows = [
            {
                "problem_id": str(i),
                "sample": s,
                "correct": s < c,
                "model": name.replace("again", "base"),
                "temperature": 0.6,
                "top_p": 0.95,
            }
            for i, c in enumerate(correct.tolist())
            for s in range(32)
        ]
        write_samples(tmp_path / f"{name}.parquet", rows)
    score = {
        "problem_id": "50",
        "model": "base",
        "num_tokens": 5,
        "correct": True,
        "temperature": 0.6,
        "top_p": 0.95,
        "sequence": "a",
    }
    write_scores(tmp_path / "scores.parquet", [score | {"logprob": float(np.log(0.6))}])
    file = {name: str(tmp_path / f"{name}.parquet") for name in (*draws, "scores")}
    arguments = [
        "compare",
        "--base",
        file["base"],
        "--method",
        "grpo",
        file["tuned"],
        "--scores",
        file["scores"],
        "--replicates",
        "100",
    ]
    assert main([*arguments, "--redraw", file["again"], "--out", str(tmp_path / "out")]) == 0
    assert "scores do not certify the tuned's support" in capsys.readouterr().out  # the tuned model has none
    document = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert (
        document["redraw"]["files"][0]["path"] == file["again"]
        and document["scores"]["files"][0]["path"] == file["scores"]
    )
    block = document["audits"]["grpo"][0]["benchmarks"]["all"]
    expected = ((draws["base"] > 0) & (draws["again"] == 0)).sum()
    assert block["redraw"]["shrunk"] == expected == block["redraw"]["intervals"]["shrunk"]["value"]
    assert block["certified"]["from_scores"] == {"base": 1, "tuned": None}
    assert "base drawn again" in (tmp_path / "out" / "report.html").read_text()
    assert main([*arguments, "--redraw", file["base"], "--out", str(tmp_path / "out")]) == 2
    assert "second, independent draw" in capsys.readouterr().err


def test_sides_of_one_name_are_told_apart_and_the_verdict_comes_last(tmp_path, capsys):
    for folder, correct in (("before", 1), ("after", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "counts.csv").write_text(f"problem_id,n,correct\na,4,{correct}\nb,4,0\n")
    sides = [str(tmp_path / folder / "counts.csv") for folder in ("before", "after")]
    command = [
        "audit",
        "--base",
        sides[0],
        "--tuned",
        sides[1],
        "--no-report",
        "--replicates",
        "100",
        "--out",
        str(tmp_path),
    ]
    assert main(command) == 0
    document = json.loads((tmp_path / "audit.json").read_text())
    assert [document["models"][side]["name"] for side in ("base", "tuned")] == ["counts (before)", "counts (after)"]
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert document["benchmarks"]["all"]["verdict"] in last
    assert main([*command, "--base-name", "Qwen", "--tuned-name", "Qwen, tuned"]) == 0
    document = json.loads((tmp_path / "audit.json").read_text())
    assert [document["models"][side]["name"] for side in ("base", "tuned")] == ["Qwen", "Qwen, tuned"]
