"""explore-rl problems, as a user calls it."""

import json

import pytest

from explore_rl.cli import main
from explore_rl.problems import load_problems

ROWS = [
    {"id": f"p{i}", "prompt": f"What is {i} + 1?", "answer": str(i + 1), "verifier": "math", "benchmark": "sums"}
    for i in range(20)
]


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


def run(capsys, *argv):
    code = main(["problems", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


def test_what_was_read_and_the_first_prompts(problems, capsys):
    code, out, _ = run(capsys, problems, "--template", "plain", "--show", 2)
    assert code == 0
    for line in (
        "20 problems",
        "benchmarks sums 20",
        "verifiers  math 20",
        "traces     none",
        "Question: What is 1 + 1?\nAnswer:<<<",
    ):
        assert line in out
    assert "What is 2 + 1?" not in out


def test_prompts_as_a_model_sees_them(problems, capsys, qwen, tmp_path):
    qwen.save_pretrained(tmp_path / "tokenizer")
    code, out, _ = run(capsys, problems, "--tokenizer", tmp_path / "tokenizer", "--template", "chat", "--show", 1)
    assert (
        code == 0
        and "<|im_start|>user\nWhat is 0 + 1?<|im_end|>\n<|im_start|>assistant\n<<< completion begins here, after"
        in out
    )
    assert "completions end with '<|im_end|>'" in out and "note: template 'chat' ends turns with '<|im_end|>'" in out
    code, out, _ = run(capsys, "lab:countdown?level=3&split=train", "--model", "lab:base", "--show", 1)
    assert code == 0 and "300 problems" in out and "completions end with '<end>'" in out


def test_bad_input_is_one_line_and_exit_code_2(problems, capsys, tmp_path):
    (tmp_path / "bad.jsonl").write_text(json.dumps(ROWS[0] | {"answer": None}) + "\n")
    (tmp_path / "config.json").write_text('{"model_type": "odd", "eos_token_id": 1}')
    code, _, err = run(capsys, tmp_path / "bad.jsonl")
    assert code == 2 and err.count("\n") == 1 and "bad.jsonl:1: key 'answer': missing" in err
    for argv, says in [
        (["--template", "chat"], "give --model or --tokenizer"),
        (["--max-prompt-tokens", 3], "give --model or --tokenizer"),
        (["--tokenizer", tmp_path / "none"], "no tokenizer there"),
        (["--model", tmp_path], "of no model that transformers can read"),
        (["--success-range", 0, 0.5], "no meaning without --success"),
        (["--part", "0.9"], "expected two shares"),
        (["--subset", 21], "there are only 20 problems"),
    ]:
        code, _, err = run(capsys, problems, *argv)
        assert code == 2 and says in err and err.count("\n") == 1


def test_overlap_is_reported_and_left_out(problems, capsys, tmp_path):
    audit = tmp_path / "audit.jsonl"
    audit.write_text(json.dumps(ROWS[3] | {"id": "x"}) + "\n")
    out_path = tmp_path / "clean.jsonl"
    code, out, _ = run(capsys, problems, "--against", audit, "--drop-overlap", "--write-jsonl", out_path)
    assert code == 0 and "1 of 1 audit problems are among the 20 others: 1 exact" in out and "exact: p3 ~ x" in out
    assert f"wrote 19 problems to {out_path}" in out and "p3" not in {p.id for p in load_problems(out_path)}


def test_choosing_and_writing_verl(problems, capsys, tmp_path):
    counts = tmp_path / "counts.csv"
    counts.write_text("problem_id,benchmark,n,correct\n" + "".join(f"p{i},sums,4,{i % 5}\n" for i in range(20)))
    out_path = tmp_path / "hard.parquet"
    code, out, _ = run(
        capsys,
        problems,
        "--success",
        counts,
        "--success-range",
        0,
        0.25,
        "--shuffle",
        "--seed",
        3,
        "--write-verl",
        out_path,
    )
    assert code == 0 and "8 problems" in out and "12 left out: success rate above 0.25" in out
    written = [p.id for p in load_problems(out_path)]
    assert sorted(written) == sorted(f"p{i}" for i in range(20) if i % 5 <= 1) and written != sorted(written)
    low = run(capsys, problems, "--part", "0:0.5", "--write-jsonl", tmp_path / "low.jsonl")
    high = run(capsys, problems, "--part", "0.5:1", "--write-jsonl", tmp_path / "high.jsonl")
    assert low[0] == high[0] == 0
    parts = [{p.id for p in load_problems(tmp_path / name)} for name in ("low.jsonl", "high.jsonl")]
    assert parts[0] | parts[1] == {row["id"] for row in ROWS} and not parts[0] & parts[1]


def test_traces_are_verified_on_the_way(tmp_path, capsys):
    spec, traces, out_path = (
        "lab:countdown?level=3&split=train&size=3",
        tmp_path / "traces.jsonl",
        tmp_path / "out.jsonl",
    )
    problem = load_problems(spec)[0]
    traces.write_text(json.dumps({"problem_id": problem.id, "text": "1+1", "source": "forger"}) + "\n")
    code, out, _ = run(capsys, spec, "--traces", traces, "--verify-traces", "--write-jsonl", out_path)
    total = sum(len(p.traces) for p in load_problems(spec))
    assert code == 0 and f"{total} of {total + 1} traces correct, 1 wrong" in out and "(forger)" in out
    assert load_problems(out_path)[0].traces == problem.traces


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["problems", "--help"])
    out = capsys.readouterr().out
    assert "examples:" in out and "olympiadbench" in out and "--drop-overlap" in out
