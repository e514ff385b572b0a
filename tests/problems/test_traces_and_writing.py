"""Traces are verified before they teach anything, and what is written is what was there."""

import json

import pyarrow.parquet as pq
import pytest

from analysis.errors import InputError
from explore_rl.problems import load_problems
from explore_rl.problems.traces import attach_traces, load_traces, verify_traces
from explore_rl.problems.writing import write_jsonl, write_verl
from explore_rl.types import Problem, Status, Trace, Verdict

PROBLEMS = [
    Problem(
        "a",
        "1 + 1?",
        "2",
        "math",
        (Trace(r"\boxed{2}", "teacher", -3.25, "easy"), Trace(r"\boxed{3}", "student")),
        "sums",
        {"level": 1},
    ),
    Problem("b", [{"role": "system", "content": "Brief."}, {"role": "user", "content": "é ½?"}], ["1", "2"], "math"),
    Problem("c", "Use 1 2", {"numbers": [1, 2], "target": 3}, "countdown", (Trace("1+2", "enumerator"),)),
    Problem("d", "Haiku", None, "format"),
]


def stub_verify(verdicts):
    """Verdicts by text: how a pool answers, without its processes."""
    return lambda items: [verdicts[item.completion] for item in items]


def test_wrong_traces_are_left_out_and_reported():
    verdicts = {
        r"\boxed{2}": Verdict(Status.CORRECT, 1.0),
        r"\boxed{3}": Verdict(Status.WRONG, 0.0, "3", None, "3 is not 2"),
        "1+2": Verdict(Status.TIMEOUT, None, reason="10 s"),
    }
    kept, report = verify_traces(PROBLEMS, stub_verify(verdicts))
    assert [p.id for p in kept] == ["a", "b", "c", "d"]  # problems stay, whatever becomes of their traces
    assert [t.text for p in kept for t in p.traces] == [r"\boxed{2}"]
    assert (report.checked, report.correct, report.bare) == (3, 1, ["c"])
    assert [(bad.problem, bad.index, bad.source, bad.status) for bad in report.bad] == [
        ("a", 1, "student", "wrong"),
        ("c", 0, "enumerator", "timeout"),
    ]
    assert report.lines()[0] == "1 of 3 traces correct, 1 timeout, 1 wrong; 1 problems are left without a trace"
    assert verify_traces(PROBLEMS, stub_verify(verdicts), keep_wrong=True)[0] == PROBLEMS


@pytest.fixture(scope="module")
def pool():
    from explore_rl.verifiers import VerifierPool

    with VerifierPool(workers=1) as pool:
        yield pool


def test_traces_through_the_real_pool(pool):
    problem = load_problems("lab:countdown?level=3&split=train&size=1")[0]
    doctored = Problem(**{**problem.__dict__, "traces": (*problem.traces, Trace("1+1", "forger"))})
    kept, report = verify_traces([doctored], pool.verify)
    assert kept == [problem] and [bad.source for bad in report.bad] == ["forger"]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "2 * 6?", "answer": "2*6=<<2*6=12>>12\n#### 12"},
        {"problem": "x?", "solution": r"so $x = \frac{1}{2}$, $\boxed{\frac12}$", "level": 1},
        {"question": "x?", "final_answer": ["$1$", "$2$"], "solution": ["Both."], "error": None},
        {"question": "How much?", "final_answer": ["4.2"], "solution": [r"\boxed{4.25}"], "error": "1e-1"},
        {"task_id": "H/0", "prompt": "def f(a):\n", "entry_point": "f", "canonical_solution": "    return a + 1\n",
         "test": "def check(candidate):\n    assert candidate(1) == 2\n"},
        {"task_id": 1, "text": "Add 1.", "code": "def f(a):\n    return a + 1",
        "test_list": ["assert f(1) == math.floor(2.5)"],
         "test_imports": ["import math"]},
        {"question": "Calculate 1 + 2 + 3 =", "answer": "6",
        "metadata": {"source_dataset": "chain_sum", "num_terms": 3}},
    ],
)  # fmt: skip
def test_reference_solutions_of_each_form_satisfy_its_verifier(row, tmp_path, pool):
    """What an adapter makes is what the verifier wants: the two were written apart."""
    (tmp_path / "p.jsonl").write_text(json.dumps(row) + "\n")
    (problem,) = load_problems(tmp_path / "p.jsonl")
    assert problem.traces
    _, report = verify_traces([problem], pool.verify)
    assert report.correct == report.checked == 1, report.lines()


def test_traces_from_a_file_of_their_own(tmp_path):
    path = tmp_path / "traces.jsonl"
    rows = [
        {"problem_id": "a", "text": r"\boxed{2}", "source": "again"},
        {"problem_id": "a", "text": "2!", "source": "late", "logprob": -1, "region": "easy"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    attached = list(attach_traces(PROBLEMS, load_traces(path), path=str(path)))
    assert [t.source for t in attached[0].traces] == ["teacher", "student", "late"]  # the same text is not there twice
    assert attached[0].traces[2] == Trace("2!", "late", -1.0, "easy") and attached[1:] == PROBLEMS[1:]
    (tmp_path / "t.csv").write_text("problem_id,text,source,logprob\na,2!,late,-1.5\n")
    assert load_traces(tmp_path / "t.csv")["a"][0].logprob == -1.5


@pytest.mark.parametrize(
    "row, says",
    [
        ({"text": "x", "source": "s"}, "t.jsonl:1: key 'problem_id'"),
        ({"problem_id": "a", "source": "s"}, "t.jsonl:1: key 'trace': trace 0: text"),
        ({"problem_id": "a", "text": "x", "source": "s", "logprob": 2}, "at most 0, got|at most 0\\), got"),
        ({"problem_id": "zz", "text": "x", "source": "s"}, "1 ids belong to no problem, for example zz"),
    ],
)
def test_traces_that_cannot_be_used(tmp_path, row, says):
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match=says):
        list(attach_traces(PROBLEMS, load_traces(tmp_path / "t.jsonl"), path="t.jsonl"))


def test_json_lines_come_back_as_they_were(tmp_path):
    assert write_jsonl(tmp_path / "out.jsonl", iter(PROBLEMS)) == 4
    assert load_problems(tmp_path / "out.jsonl") == PROBLEMS


def test_verl_parquet_has_verls_columns_and_comes_back(tmp_path):
    path = tmp_path / "new" / "out.parquet"
    assert write_verl(path, PROBLEMS, split="test") == 4
    rows = pq.read_table(path).to_pylist()
    assert rows[0]["data_source"] == "sums" and rows[0]["prompt"] == [{"role": "user", "content": "1 + 1?"}]
    assert rows[0]["reward_model"] == {"style": "rule", "ground_truth": "2"} and rows[0]["ability"] == "math"
    assert rows[0]["target"] == [{"role": "assistant", "content": r"\boxed{2}"}] and rows[1]["target"] is None
    assert rows[2]["reward_model"]["ground_truth"] == '{"numbers": [1, 2], "target": 3}'
    assert (rows[3]["extra_info"]["index"], rows[3]["extra_info"]["split"]) == (3, "test")
    back = load_problems(path)
    texts = [
        p.prompt if isinstance(p.prompt, str) else p.prompt[-1]["content"] for p in back
    ]  # verl knows messages only
    assert texts == ["1 + 1?", "é ½?", "Use 1 2", "Haiku"]
    for there, here in zip(PROBLEMS, back, strict=True):
        for name in ("id", "answer", "verifier", "traces", "metadata", "benchmark"):
            assert getattr(there, name) == getattr(here, name), name


def test_a_failure_while_writing_leaves_the_old_file(tmp_path):
    def breaks():
        yield PROBLEMS[0]
        raise OSError("No space left on device")

    for name, write in (("p.jsonl", write_jsonl), ("p.parquet", write_verl)):
        (tmp_path / name).write_text("old")
        with pytest.raises(OSError, match="No space"):
            write(tmp_path / name, breaks())
        assert (tmp_path / name).read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.jsonl", "p.parquet"]
