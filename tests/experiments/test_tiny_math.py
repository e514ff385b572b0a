"""The recipe in the shape of real work, as a user runs it.

Byte-pair tokenizer, chat template, stop string, math verifier, traces.
"""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("tiny")
    subprocess.run(
        [sys.executable, "scripts/make_tiny_math.py", "--out", str(out), "--problems", "16"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=300,
    )
    command = [
        *(sys.executable, "-m", "explore_rl.cli", "train", "configs/math/tiny.yaml"),
        f"model.path={out}/model",
        f"problems.train={out}/train.jsonl",
        f"problems.heldout={out}/heldout.jsonl",
        f"run.output={out}/run",
        "run.steps=2",
        "rollout.max_new_tokens=128",
        "rollout.stop=['<|im_start|>']",
        "verifiers.workers=1",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_prompts_are_the_chat_template_and_traces_end_with_the_turn(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    table = pq.read_table(folder / "run" / "rollouts" / "step-000000.parquet").to_pylist()
    problems = {p["id"]: p for p in map(json.loads, (folder / "train.jsonl").read_text().splitlines())}
    for row in table:
        problem = problems[row["problem_id"]]
        expected = tokenizer.apply_chat_template(problem["prompt"], tokenize=False, add_generation_prompt=True)
        assert tokenizer.decode(row["prompt_tokens"]) == expected
        assert "<|im_end|>" not in row["text"]
        if row["source"] == "trace":
            assert row["tokens"][-1] == end and tokenizer.decode(row["tokens"][:-1]) == problem["traces"][0]["text"]
            assert row["verdict"] == "correct"
        else:
            assert (row["finish_reason"] == "length") == (len(row["tokens"]) == 128 and row["tokens"][-1] != end)
    assert {r["source"] for r in table} == {"policy", "trace"}


def test_engine_and_learner_agree_and_no_verdict_is_an_error(folder):
    metrics = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(metrics) == 2
    for m in metrics:
        assert (
            m["engine/logprob_difference_mean"] < 1e-4
            and m["verdict/error"] == m["verdict/timeout"] == 0
            and m["update/gradient_norm"] > 0
        )
