"""Reading our own records: what is understood, what is refused, and how the refusal says where."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import InputError
from analysis.examples import examples
from analysis.readers import align, load, load_scores
from analysis.records import COUNT_COLUMNS, SAMPLE_COLUMNS, SCORE_COLUMNS, write_samples, write_scores

ROWS = [
    {
        "problem_id": 2,
        "sample": 1,
        "correct": True,
        "answer": "4",
        "benchmark": "b",
        "num_tokens": 10,
        "finish_reason": "stop",
        "token_entropy": 0.5,
    },
    {
        "problem_id": 10,
        "sample": 0,
        "correct": False,
        "answer": "5",
        "benchmark": "b",
        "num_tokens": 20,
        "finish_reason": "length",
        "token_entropy": 0.1,
    },
    {
        "problem_id": 2,
        "sample": 0,
        "correct": False,
        "answer": None,
        "benchmark": "b",
        "num_tokens": 30,
        "finish_reason": "stop",
        "token_entropy": 0.3,
    },
    {
        "problem_id": 2,
        "sample": 2,
        "correct": True,
        "answer": "4",
        "benchmark": "b",
        "num_tokens": 20,
        "finish_reason": "stop",
        "token_entropy": 0.1,
    },
]


def write(path, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "json"])
def test_every_format_gives_the_same_samples(tmp_path, ending):
    path = tmp_path / f"base.{ending}"
    if ending == "json":
        path.write_text(json.dumps(ROWS))
    else:
        write(path, ROWS)
    got = load([str(path)])
    assert got.name == "base"
    assert got.problem_ids == ["2", "10"] and got.benchmarks == ["b", "b"]  # numbers in order of size
    assert got.n.tolist() == [3, 1] and got.correct.tolist() == [2, 0]
    assert got.draws.correct.tolist() == [0, 1, 1, 0]  # in order of `sample`, not of the file
    assert got.draws.num_tokens.tolist() == [30, 10, 20, 20]
    assert got.truncated.tolist() == [0, 1]
    assert got.token_entropy == pytest.approx([0.3, 0.1]) and got.num_tokens == pytest.approx([20, 20])
    answers = {
        (int(p), a, bool(c)): int(n)
        for p, a, n, c in zip(
            got.answers.problem, got.answers.answer, got.answers.count, got.answers.correct, strict=False
        )
    }
    assert answers == {(0, "4", True): 2, (0, None, False): 1, (1, "5", False): 1}
    assert got.files[0]["rows"] == 4 and len(got.files[0]["sha256"]) == 64


def test_a_folder_and_several_files_add_up_and_json_beside_is_left_aside(tmp_path):
    folder = tmp_path / "runs"
    (folder / "deep").mkdir(parents=True)
    write(folder / "a.parquet", ROWS[:2])
    write(folder / "deep" / "b.jsonl", ROWS[2:])
    (folder / "config.json").write_text("{}")
    whole = load([str(folder)])
    assert whole.n.tolist() == [3, 1] and len(whole.files) == 2
    assert load([str(folder / "a.parquet"), str(folder / "deep/*.jsonl")]).correct.tolist() == whole.correct.tolist()


def test_counts_from_every_format(tmp_path):
    rows = [{"problem_id": "x", "n": 8, "correct": 3}, {"problem_id": "y", "n": 8, "correct": 0}]
    for ending in ("csv", "jsonl", "parquet"):
        got = load([write(tmp_path / f"counts.{ending}", rows)])
        assert got.n.tolist() == [8, 8] and got.correct.tolist() == [3, 0] and got.draws is None and got.answers is None


def test_verdicts_of_timeout_and_error_are_no_evidence(tmp_path):
    rows = [{"problem_id": "a", "verdict": v} for v in ("correct", "wrong", "no_answer", "timeout", "error")]
    got = load([write(tmp_path / "a.jsonl", rows)])
    assert (got.n.tolist(), got.correct.tolist(), got.excluded.tolist()) == ([3], [1], [2])
    rows = [
        {"problem_id": "a", "verdict": "timeout", "correct": False},
        {"problem_id": "a", "verdict": "error", "correct": None},
    ]
    rows.append({"problem_id": "a", "verdict": "wrong", "correct": False})
    assert load([write(tmp_path / "b.parquet", rows)]).n.tolist() == [1]


def test_a_model_is_chosen_from_a_file_that_holds_two(tmp_path):
    rows = [{"problem_id": "a", "correct": True, "model": "m1"}, {"problem_id": "a", "correct": False, "model": "m2"}]
    path = write(tmp_path / "a.parquet", rows)
    assert load([path + "::m2"]).correct.tolist() == [0] and load([path + "::m2"]).name == "m2"
    with pytest.raises(InputError, match="several models .m1, m2.; choose one, as in .*::m1"):
        load([path])
    with pytest.raises(InputError, match="no row belongs to 'm3'"):
        load([path + "::m3"])


def test_seeds_tell_equal_sample_numbers_apart(tmp_path):
    rows = [{"problem_id": "a", "sample": s, "seed": seed, "correct": s == 0} for seed in (1, 2) for s in (0, 1)]
    assert load([write(tmp_path / "a.parquet", rows)]).n.tolist() == [4]
    with pytest.raises(InputError, match="problem 'a', sample 0 is there twice"):
        load([write(tmp_path / "b.parquet", [{k: v for k, v in row.items() if k != "seed"} for row in rows])])


BAD_SAMPLES = [
    (
        [{"problem_id": "a", "correct": 1.0}, {"problem_id": "a", "correct": float("nan")}],
        r"row 2: correct is nan; it should be true or false",
    ),
    ([{"problem_id": "a", "correct": 1.0}, {"problem_id": "a", "correct": 0.5}], r"row 2: correct is 0.5"),
    ([{"problem_id": "a", "correct": True}, {"problem_id": None, "correct": True}], r"row 2: problem_id is missing"),
    ([{"problem_id": "a", "correct": True}, {"problem_id": "a", "correct": None}], r"row 2: correct is missing"),
    ([{"problem_id": "a", "correct": True, "verdict": "wrong"}], r"row 1: correct is True but verdict is 'wrong'"),
    ([{"problem_id": "a", "correct": True, "verdict": "timeout"}], r"row 1: correct is True but verdict is 'timeout'"),
    ([{"problem_id": "a", "verdict": "right"}], r"row 1: verdict is 'right'; it should be one of correct, wrong"),
    ([{"problem_id": "a", "correct": True, "logprob": 0.3}], r"row 1: logprob is 0.3; it should be at most 0"),
    ([{"problem_id": "a", "correct": True, "logprob": float("nan")}], r"row 1: logprob is nan"),
    ([{"problem_id": "a", "correct": True, "sample": 1.5}], r"row 1: sample is 1.5; it should be a whole number"),
    ([{"problem_id": "a", "correct": True, "num_tokens": -1}], r"row 1: num_tokens is -1"),
    ([{"problem_id": "a", "correct": True, "top_p": 0.0}], r"row 1: top_p is 0; it should be in \(0, 1\]"),
    (
        [{"problem": "a", "right": True}],
        r"neither samples \(problem_id and correct or verdict\), nor counts .*its columns are problem, right",
    ),
]


@pytest.mark.parametrize(("rows", "message"), BAD_SAMPLES)
def test_bad_samples_are_refused_with_file_and_row(tmp_path, rows, message):
    path = write(tmp_path / "bad.parquet", rows)
    with pytest.raises(InputError, match=message) as error:
        load([path])
    assert "bad.parquet" in str(error.value) and "\n" not in str(error.value)


BAD_COUNTS = [
    ("problem_id,n,correct\na,4,5\n", r"row 1: correct is 5 of n = 4"),
    ("problem_id,n,correct\na,4,2\na,4,2\n", r"row 2: problem 'a' is there twice .*row 1"),
    ("problem_id,n,correct\na,4,nan\n", r"row 1: correct is 'nan'; it should be a whole number"),
    ("problem_id,n,correct\na,4,2.5\n", r"row 1: correct is '2.5'"),
    ("problem_id,n,correct\na,-4,0\n", r"row 1: n is -4"),
    ("problem_id,n,correct\na,4,\n", r"row 1: correct is missing"),
    ("problem_id,n,correct\n,4,2\n", r"row 1: problem_id is missing"),
    ("problem_id,n,correct\na,4\n", r"row 1: 2 fields where the header has 3"),
    ("problem_id,n,correct,n\na,4,1,4\n", r"column 'n' appears twice"),
    ("problem_id,n,correct\n", r"holds no rows"),
    ("", r"the file is empty"),
]


@pytest.mark.parametrize(("text", "message"), BAD_COUNTS)
def test_bad_counts_are_refused_with_file_and_row(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load([str(path)])
    assert "bad.csv" in str(error.value)


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        load([str(tmp_path / "none.csv")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the folder holds no file of records"):
        load([str(tmp_path / "empty")])
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="unknown kind of file .txt"):
        load([str(tmp_path / "a.txt")])
    (tmp_path / "a.parquet").write_text("not parquet")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        load([str(tmp_path / "a.parquet")])
    (tmp_path / "a.jsonl").write_text('{"problem_id": 1, "correct": true}\n{"problem_id": 1,\n')
    with pytest.raises(InputError, match="line 2: not JSON"):
        load([str(tmp_path / "a.jsonl")])
    (tmp_path / "l.jsonl").write_text("[1, 2]\n")
    with pytest.raises(InputError, match="line 1: a JSON object is wanted, this is list"):
        load([str(tmp_path / "l.jsonl")])
    samples = write(tmp_path / "s.parquet", ROWS)
    counts = write(tmp_path / "c.csv", [{"problem_id": "x", "n": 8, "correct": 3}])
    with pytest.raises(InputError, match="give one kind on a side"):
        load([samples, counts])
    with pytest.raises(InputError, match="given twice"):
        load([samples, samples])
    (tmp_path / "copy.parquet").write_bytes((tmp_path / "s.parquet").read_bytes())
    with pytest.raises(InputError, match="the same content as"):
        load([samples, str(tmp_path / "copy.parquet")])


def counts(tmp_path, name, rows, **more):
    return load([write(tmp_path / f"{name}.csv", [{"problem_id": p, "n": n, "correct": c} | more for p, n, c in rows])])


def test_align_refuses_or_drops_problems_of_one_side(tmp_path):
    base = counts(tmp_path, "base", [("a", 4, 1), ("b", 4, 2), ("c", 4, 3)])
    tuned = counts(tmp_path, "tuned", [("d", 4, 0), ("b", 4, 4)])
    with pytest.raises(
        InputError,
        match=r"2 problems only in base \(a, c\); 1 problem only in tuned \(d\).*base.csv.*tuned.csv.*--common",
    ):
        align(base, tuned)
    left, right, warnings = align(base, tuned, common=True)
    assert (
        left.problem_ids == right.problem_ids == ["b"]
        and left.correct.tolist() == [2]
        and right.correct.tolist() == [4]
    )
    assert any("dropped" in w for w in warnings)


def test_align_orders_answers_and_draws_with_their_problems(tmp_path):
    rows = [
        {"problem_id": p, "sample": s, "correct": s < k, "answer": f"{p}{s < k}"}
        for p, k in (("a", 1), ("b", 3), ("c", 2))
        for s in range(3)
    ]
    whole = load([write(tmp_path / "whole.parquet", rows)])
    part = whole.subset(np.array([2, 0]))
    assert (
        part.problem_ids == ["c", "a"]
        and part.draws.correct.tolist() == [1, 1, 0, 1, 0, 0]
        and part.draws.start.tolist() == [0, 3, 6]
    )
    assert sorted(
        zip(part.answers.problem.tolist(), part.answers.answer, part.answers.count.tolist(), strict=True)
    ) == [
        (0, "cFalse", 1),
        (0, "cTrue", 2),
        (1, "aFalse", 2),
        (1, "aTrue", 1),
    ]


def test_align_warns_of_what_makes_the_sides_hard_to_compare(tmp_path):
    one = {"problem_id": "a", "temperature": 0.6, "template": "x", "finish_reason": "stop"}
    base = load([write(tmp_path / "base.jsonl", [one | {"correct": i % 2 == 0} for i in range(10)])])
    other = one | {"temperature": 1.0, "template": "y", "finish_reason": "length"}
    tuned = load([write(tmp_path / "tuned.jsonl", [other | {"correct": True}] * 5 + [other | {"verdict": "timeout"}])])
    text = "\n".join(align(base, tuned)[2])
    for said in (
        "temperature differs: base has 0.6, tuned has 1.0",
        "template differs",
        "truncation differs: 0.0% of base's and 100.0%",
        "differ in draws a problem",
        "1 draws of tuned (16.67%) have verdict timeout or error",
    ):
        assert said in text
    assert any("the same file is on both sides" in w for w in align(base, base)[2])


def test_a_problem_without_evidence_is_left_out_and_said(tmp_path):
    base = counts(tmp_path, "base", [("a", 4, 1), ("b", 0, 0)])
    tuned = counts(tmp_path, "tuned", [("a", 4, 1), ("b", 4, 2)])
    left, _, warnings = align(base, tuned)
    assert left.problem_ids == ["a"] and any("no draw of them that is evidence (b)" in w for w in warnings)


def test_completions_to_read_come_for_the_asked_problems_with_unknown_columns(tmp_path):
    rows = [
        {"problem_id": p, "correct": s % 2 == 0, "completion": f"{p}-{s} " + "x" * 50, "mine": s}
        for p in ("a", "b")
        for s in range(6)
    ]
    for ending in ("jsonl", "parquet", "csv"):
        samples = load([write(tmp_path / f"texts.{ending}", rows)])
        got = examples(samples, [1], each=2, characters=10)
        assert list(got) == [1] and [r["completion"][:3] for r in got[1]] == ["b-0", "b-1", "b-2", "b-3"]
        assert [r["correct"] for r in got[1]] == [True, False, True, False]
        assert "more characters" in got[1][0]["completion"] and [str(r["mine"]) for r in got[1]] == ["0", "1", "2", "3"]
        assert samples.extra_columns == ["mine"]


def test_what_is_written_is_read_back(tmp_path):
    rows = [
        {"problem_id": "a", "verdict": "wrong", "seed": 2**62},
        {"problem_id": "a", "verdict": "correct", "seed": 3, "own": "kept"},
    ]
    for ending in ("parquet", "jsonl"):
        write_samples(tmp_path / f"s.{ending}", rows)
        got = load([str(tmp_path / f"s.{ending}")])
        assert got.correct.tolist() == [1] and got.n.tolist() == [2] and got.extra_columns == ["own"]
    assert pq.read_schema(tmp_path / "s.parquet").field("seed").type == SAMPLE_COLUMNS["seed"][0]
    with pytest.raises(InputError, match="without column correct or verdict"):
        write_samples(tmp_path / "t.parquet", [{"problem_id": "a"}])
    with pytest.raises(InputError, match="column num_tokens is string"):
        write_samples(tmp_path / "t.parquet", [{"problem_id": "a", "correct": True, "num_tokens": "many"}])
    assert not [p for p in tmp_path.iterdir() if "t.parquet" in p.name]  # nothing half written


def test_scores_are_read_and_checked(tmp_path):
    rows = [
        {"problem_id": "a", "model": "base", "logprob": -3.0, "num_tokens": 4, "answer": "1", "correct": True},
        {"problem_id": "b", "model": "base", "logprob": -1.0, "num_tokens": 2},
    ]
    write_scores(tmp_path / "s.parquet", rows)
    got = load_scores([str(tmp_path / "s.parquet")])
    assert (
        got["logprob"].tolist() == [-3, -1]
        and got["answer"].tolist() == ["1", None]
        and got["temperature"] is None
        and set(got.columns) == set(SCORE_COLUMNS)
    )
    write_scores(tmp_path / "bad.parquet", [rows[0] | {"logprob": 2.0}])
    with pytest.raises(InputError, match="bad.parquet, row 1: logprob is 2.0"):
        load_scores([str(tmp_path / "bad.parquet")])
    with pytest.raises(InputError, match="scores need column model"):
        load_scores([write(tmp_path / "s2.parquet", ROWS)])


def test_the_documentation_lists_every_column_with_its_meaning():
    text = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text()
    for columns in (SAMPLE_COLUMNS, COUNT_COLUMNS, SCORE_COLUMNS):
        for name, (kind, meaning) in columns.items():
            assert f"| `{name}` | {kind} | {meaning} |" in text


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["p", "q", 'r,\n"s"']),
            st.sampled_from(["m", "n"]),
            st.booleans(),
            st.sampled_from([None, "1", "2", "", "None"]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_counting_agrees_with_a_plain_loop(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("plain")
    expected: dict = {}
    for problem, benchmark, correct, answer in rows:
        expected.setdefault((benchmark, problem), []).append((correct, answer))
    table = [{"problem_id": p, "benchmark": b, "correct": c, "answer": a} for p, b, c, a in rows]
    with open(folder / "a.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["problem_id", "benchmark", "correct", "answer"])
        writer.writeheader()
        writer.writerows(table)
    write(folder / "a.parquet", table)
    for name in ("a.csv", "a.parquet"):
        got = load([str(folder / name)])
        assert list(zip(got.benchmarks, got.problem_ids, strict=True)) == sorted(expected)
        for i, key in enumerate(sorted(expected)):
            draws = expected[key]
            assert got.n[i] == len(draws) and got.correct[i] == sum(c for c, _ in draws)
            assert got.draws.correct[got.draws.start[i] : got.draws.start[i + 1]].tolist() == [int(c) for c, _ in draws]
            mine = got.answers.problem == i
            assert got.answers.count[mine].sum() == len(draws)
