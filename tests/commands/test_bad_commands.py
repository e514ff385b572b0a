"""What a user gets wrong at sample, score, sweep and compare: one line, exit code 2, before any engine starts."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explore_rl.cli import main
from explore_rl.cluster.faults import RunStopped
from explore_rl.experiments import runs

PROBLEMS = "lab:countdown?level=3&split=audit&size=2"


def refused(capsys, *argv):
    assert main([str(word) for word in argv]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if line.startswith(f"explore-rl {argv[0]}: error: ")]
    assert len(errors) == 1 and errors[0] == lines[-1]
    return errors[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--n", "0"], "--n=0: expected at least 1"),
        (["--part", "0"], "--part=0: expected at least 1"),
        (["--actors", "0"], "--actors=0: expected at least 1"),
        (["--tensor-parallel", "-1"], "--tensor-parallel=-1: expected at least 1"),
        (["--max-tokens", "0"], "--max-tokens=0: expected at least 1"),
        (["--limit", "0"], "limit=0"),
        (["--temperature", "nan"], "--temperature=nan"),
        (["--top-p", "1.5"], "--top-p=1.5"),
        (["--verifier-options", "{"], "--verifier-options: not JSON"),
        (["--verifier-options", '{"math": 1}'], "--verifier-options: expected a mapping"),
        (["--verifier-options", '{"mathh": {}}'], "unknown verifier 'mathh'"),
        (["--problems", "missing.jsonl"], "missing.jsonl"),
    ],
)
def test_sample(capsys, tmp_path, words, said):
    out = tmp_path / "s.parquet"
    assert said in refused(capsys, "sample", "lab:base", "--problems", PROBLEMS, "--out", out, *words)
    assert not list(tmp_path.iterdir())


def scored(tmp_path, table, *words):
    pq.write_table(pa.table(table), tmp_path / "samples.parquet")
    return [
        "score",
        "lab:base",
        "--problems",
        PROBLEMS,
        "--samples",
        tmp_path / "samples.parquet",
        "--out",
        tmp_path / "out.parquet",
        *words,
    ]


def test_score_refuses_samples_that_it_cannot_score(capsys, tmp_path):
    from explore_rl.models import load_tokenizer
    from explore_rl.problems import load_problems, load_template
    from explore_rl.problems.templates import template_hash

    problem = load_problems(PROBLEMS)[0].id
    row = {"problem_id": [problem], "completion": ["1+2"], "temperature": [0.0]}
    none = template_hash(load_template("none"), load_tokenizer("lab:base"))
    plain = template_hash(load_template("plain"), load_tokenizer("lab:base"))
    missing = [
        "score",
        "lab:base",
        "--problems",
        PROBLEMS,
        "--samples",
        tmp_path / "no.parquet",
        "--out",
        tmp_path / "out.parquet",
    ]
    assert "no.parquet: no such file" in refused(capsys, *missing)
    (tmp_path / "no.parquet").write_text("text")
    assert "expected a Parquet file" in refused(capsys, *missing)
    assert "no column problem_id; it has text" in refused(capsys, *scored(tmp_path, {"text": ["a"]}))
    assert "holds no rows" in refused(capsys, *scored(tmp_path, {"problem_id": pa.array([], pa.string())}))
    assert "row 1: problem_id 'x'" in refused(capsys, *scored(tmp_path, row | {"problem_id": ["x"]}))
    assert "row 1: temperature 0: a greedy text" in refused(capsys, *scored(tmp_path, row, "--at", "own"))
    assert f"drawn with template {plain}, and none is {none}" in refused(
        capsys, *scored(tmp_path, row | {"template": [plain]})
    )
    assert not (tmp_path / "out.parquet").exists()


def test_scores_keep_how_their_texts_were_drawn(tmp_path, monkeypatch):
    from contextlib import nullcontext

    from explore_rl.config.schema import Config
    from explore_rl.learner import scoring
    from explore_rl.learner.messages import LearnerNeeds
    from explore_rl.models import load_tokenizer
    from explore_rl.problems import load_problems, load_template
    from explore_rl.problems.templates import template_hash
    from explore_rl.testing import LogitTable, TableLearner

    table = LogitTable.by_last_token(len(load_tokenizer("lab:base")))
    learner = TableLearner(Config(), table, needs=LearnerNeeds(base=True))
    monkeypatch.setattr(scoring, "reader", lambda *_, **__: nullcontext(learner))
    template = template_hash(load_template("none"), load_tokenizer("lab:base"))
    drawn = {
        "problem_id": [load_problems(PROBLEMS)[0].id],
        "completion": ["1+2"],
        "model": ["me"],
        "max_tokens": [24],
        "finish_reason": ["length"],
    }
    words = scored(tmp_path, drawn | {"template": [template]})
    assert main([str(word) for word in words]) == 0
    [record] = pq.read_table(tmp_path / "out.parquet").to_pylist()
    kept = {name: record[name] for name in ("template", "finish_reason", "max_tokens", "written_by", "num_tokens")}
    assert kept == {
        "template": template,
        "finish_reason": "length",
        "max_tokens": 24,
        "written_by": "me",
        "num_tokens": 3,
    }


RUNS = [{"name": "a", "recipe": "configs/lab/grpo.yaml"}]


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ([], "expected keys base, seeds, output and runs"),
        ({"seeds": [0]}, "runs is missing"),
        ({"runs": []}, "runs: expected a list"),
        ({"runs": ["a"]}, "runs: expected a list"),
        ({"runs": RUNS, "sedes": [0]}, "unknown key sedes"),
        ({"runs": RUNS, "seeds": 3}, "seeds: expected a list of whole numbers such as [0, 1, 2], got 3"),
        ({"runs": RUNS, "seeds": []}, "seeds: expected a list of whole numbers"),
        ({"runs": RUNS, "seeds": [0, "1"]}, "seeds: expected a list of whole numbers"),
        ({"runs": RUNS, "seeds": [0, 0]}, "seeds: [0, 0] holds one twice"),
        ({"runs": RUNS, "overrides": "run.steps=4"}, "overrides: expected a list of texts"),
        ({"runs": RUNS, "output": 3}, "output: expected text"),
        ({"runs": [{"recipe": "configs/lab/grpo.yaml"}]}, "runs[0]: name is missing"),
        ({"runs": [{"name": 0.25}]}, "runs[0]: name: expected text, got 0.25"),
        ({"runs": [{"name": "a", "overrides": "run.steps=4"}]}, "runs[0]: overrides: expected a list of texts"),
        ({"runs": [{"name": "a", "recipe": ["x"]}]}, "runs[0]: recipe: expected text"),
        ({"runs": RUNS + RUNS}, "runs[1].name: 'a' is there already"),
    ],
)
def test_sweep_files(capsys, tmp_path, sweep, said):
    (tmp_path / "sweep.yaml").write_text(json.dumps(sweep))
    error = refused(capsys, "sweep", tmp_path / "sweep.yaml")
    assert said in error and "sweep.yaml" in error


def test_samples_of_a_comparison(capsys, tmp_path):
    (tmp_path / "sweep.yaml").write_text(json.dumps({"runs": RUNS, "output": str(tmp_path / "runs")}))
    assert "--samples=0: expected at least 1" in refused(capsys, "sweep", tmp_path / "sweep.yaml", "--samples", "0")
    assert "missing.jsonl" in refused(capsys, "sweep", tmp_path / "sweep.yaml", "--problems", "missing.jsonl")


def test_compare_leaves_nothing_behind(capsys, tmp_path):
    from explore_rl.config.loading import load_config, to_yaml

    assert "no finished run" in refused(capsys, "compare", tmp_path / "run", "--out", tmp_path / "out")
    (tmp_path / "run" / "final").mkdir(parents=True)
    (tmp_path / "run" / "final" / "config.json").write_text("{}")
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(load_config("configs/lab/grpo.yaml")))
    for words in (["--samples", "0"], ["--problems", "missing.jsonl"]):
        assert words[1] in refused(capsys, "compare", tmp_path / "run", "--out", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_line(capsys):
    from explore_rl.commands.reporting import reported

    with reported("explore-rl sample", "give the command again") as outcome:
        raise OSError(errno.ENOSPC, "No space left on device")
    assert outcome.code == 1
    assert (
        capsys.readouterr().err
        == "explore-rl sample: stopped: the disk is full; free some room\nexplore-rl sample: give the command again\n"
    )
    with pytest.raises(FileNotFoundError), reported("explore-rl sample", ""):
        open("/no/such/file")


@pytest.mark.parametrize("tuned", ["good.csv", "bad.csv"])
@pytest.mark.parametrize("command", ["analysis", "explore_rl.cli"])
def test_an_audit_leaves_with_all_it_had_to_say(tmp_path, command, tuned):
    """Both commands end their process themselves: what was printed into a pipe has to be out by then."""
    (tmp_path / "good.csv").write_text("problem_id,n,correct\na,8,3\nb,8,1\n")
    (tmp_path / "bad.csv").write_text("problem_id,n,correct\na,8,3\nb,8,9\n")

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    files = ["--base", "good.csv", "--tuned", tuned, "--out", "out", "--no-report"]
    ended = subprocess.run(
        [sys.executable, "-m", command, "audit", *files],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if tuned == "good.csv":
        assert ended.returncode == 0 and "inconclusive" in ended.stdout and (tmp_path / "out" / "audit.json").is_file()
    else:
        assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and "bad.csv, row 2" in ended.stderr


def test_a_run_that_stops_itself_is_one_line_and_how_to_go_on(capsys, tmp_path, monkeypatch):
    def stops(*_, **__):
        raise RunStopped("the disk is full; free some room and go on with --resume")

    monkeypatch.setattr(runs, "run", stops)
    assert main(["train", str(RECIPE), f"run.output={tmp_path}/run"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("explore-rl train: stopped: the disk is full;") and "--resume" in said
    assert "Traceback" not in said


RECIPE = Path(__file__).resolve().parents[2] / "configs" / "lab" / "mixture_policy.yaml"


def test_train_can_only_check(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(RECIPE), "learner.ranks=2", "devices.device=cpu", "--check"]) == 0
    said = capsys.readouterr().out
    assert "16 prompts x 16 = 256 completions" in said and "takes:      4 CPUs and 0 GPUs (learner.ranks=2" in said
    assert "learner.ranks" in refused(capsys, "train", RECIPE, "learner.rankz=2", "--check")
    assert main(["train", str(RECIPE), "devices.device=cpu", "--check", "learner.ranks=3"]) == 0
    assert "learner.ranks=3" in capsys.readouterr().out  # settings may stand before and behind options
    assert not list(tmp_path.iterdir())
    (tmp_path / "config.yaml").write_text("name: an earlier run")
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
    assert "go on with explore-rl resume" in refused(capsys, "train", RECIPE, f"run.output={tmp_path}", "--check")
