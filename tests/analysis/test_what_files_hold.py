"""Text, numbers, words, packing and names of files that are odd or damaged: read as meant, or refused in one line."""

from __future__ import annotations

import gzip
import json

import pytest
from written_files import document, lines, of

from analysis.errors import InputError
from analysis.examples import examples
from analysis.readers import align, load

HALF = "half \ud800 pair"


@pytest.mark.parametrize(
    "change",
    [
        {"answer": 10**30},
        {"answer": HALF},
        {"completion": HALF},
        {"reference": 10**30},
        {"meta": {"deep": [HALF, 10**30]}},
        {HALF: 1},
        {"finish_reason": {"type": "length"}},
        {"sample": 2**40},
    ],
    ids=str,
)
def test_numbers_and_halves_of_characters_that_columns_cannot_hold(tmp_path, change):
    rows = [{"problem_id": "a", "sample": s, "correct": s > 0, "completion": "x"} for s in range(2)]
    rows[0] |= change
    got = load([lines(tmp_path / "s.jsonl", rows)])
    assert of(got) == {"a": (2, 1)}
    shown = examples(got, [0])[0]
    assert len(shown) == 2 and json.dumps(shown, ensure_ascii=False).encode()


def test_an_identity_may_hold_half_a_character_and_draws_keep_the_order_of_large_numbers(tmp_path):
    rows = [{"problem_id": HALF, "sample": 2**32 * (3 - s), "correct": s == 0} for s in range(3)]
    got = load([lines(tmp_path / "s.jsonl", rows)])
    assert got.problem_ids == ["half \ufffd pair"] and got.draws.correct.tolist() == [0, 0, 1]
    rows = [{"problem_id": "a", "seed": 2**63, "correct": True}]
    with pytest.raises(InputError, match="line 1: seed is '9223372036854775808'; it should be a whole number"):
        load([lines(tmp_path / "t.jsonl", rows)])


@pytest.mark.parametrize("word", ["length", "MAX_TOKENS", "FINISH_REASON_LENGTH", "model_length"])
def test_every_spelling_of_a_cut_off_completion_counts(tmp_path, word):
    rows = [{"problem_id": "a", "correct": True, "finish_reason": r} for r in (word, "stop")]
    assert load([lines(tmp_path / "s.jsonl", rows)]).truncated.tolist() == [1]


@pytest.mark.parametrize("words", [("True", "False"), ("pass", "fail"), (1, 0), (1.0, 0.0), (True, False)])
def test_words_for_right_and_wrong_are_the_same_in_every_format(tmp_path, words):
    yes, no = words
    rows = [
        [{"input": "q", "output": "o", "score": 0.5, "acc": a} for a in words],
        [{"doc_id": d, "resps": [["x"]], "filter": "n", "metrics": ["em"], "em": a} for d, a in enumerate(words)],
        [{"task_id": "t", "passed": a} for a in words],
        [{"idx": 0, "pred": ["1", "2"], "score": [yes, no]}],
    ]
    for i, file in enumerate(rows):
        assert load([lines(tmp_path / f"{i}.jsonl", file)]).correct.sum() == 1


# --- files that are not what their name says --------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jsonl", "csv", "json"])
def test_a_packed_file_that_is_cut_or_not_packed_is_one_line(tmp_path, ending):
    text = "problem_id,n,correct\n" + "".join(f"p{i},8,{i % 8}\n" for i in range(3000))
    if ending != "csv":
        text = "".join(json.dumps({"problem_id": f"p{i}", "n": 8, "correct": i % 8}) + "\n" for i in range(3000))
    packed = gzip.compress(text.encode())
    for name, content in (("cut", packed[: len(packed) // 2]), ("lie", text.encode())):
        path = tmp_path / f"{name}.{ending}.gz"
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}.{ending}.gz: cannot be read .(Truncated|zlib)"):
            load([str(path)])


def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path):
    header = b"problem_id,n,correct,note\n"
    rows = [f"p{i},8,1,x\n".encode() for i in range(200_000)]
    latin = "\u00e9".encode("latin-1")
    rows[150_000] = b"p,8,1," + latin + b"\n"
    (tmp_path / "deep.csv").write_bytes(header + b"".join(rows))
    with pytest.raises(InputError, match="deep.csv, line 150002: not UTF-8 text"):
        load([str(tmp_path / "deep.csv")])
    (tmp_path / "head.csv").write_bytes(b"problem_id,n,correct," + latin + b"\np,8,1,x\n")
    with pytest.raises(InputError, match="head.csv: not UTF-8 text.*save it as UTF-8"):
        load([str(tmp_path / "head.csv")])
    line = b'{"problem_id": "a", "n": 8, "correct": 1}\n'
    (tmp_path / "l.jsonl").write_bytes(line + line.replace(b'"a"', b'"' + latin + b'"'))
    with pytest.raises(InputError, match="l.jsonl, line 2: not UTF-8 text"):
        load([str(tmp_path / "l.jsonl")])


def test_one_json_object_is_not_called_broken_json(tmp_path):
    with pytest.raises(InputError, match="one JSON object, not rows, .*its keys are testCases, metricsScores"):
        load([document(tmp_path / "deepeval.json", {"testCases": [], "metricsScores": []})])
    with pytest.raises(InputError, match="line 3: not JSON"):
        (tmp_path / "broken.json").write_text('{\n "a": \n')
        load([str(tmp_path / "broken.json")])
    assert of(load([document(tmp_path / "one.json", {"problem_id": "a", "n": 4, "correct": 1})])) == {"a": (4, 1)}


def test_ids_that_print_alike_are_told_apart_in_the_refusal(tmp_path):
    sides = [
        load([lines(tmp_path / f"{i}.jsonl", [{"problem_id": name, "n": 4, "correct": 1}])])
        for i, name in enumerate(("\u00e9", "e\u0301"))
    ]
    with pytest.raises(InputError, match=r"Unicode form alone, as '\\xe9' and 'e\\u0301'"):
        align(*sides)


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_what_git_lfs_leaves_in_place_of_a_file_is_called_so(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match=f"{name}.*a Git LFS pointer"):
        load([str(tmp_path / name)])


def test_a_task_that_is_read_from_a_files_name_is_told_where_the_sides_differ_by_it(tmp_path):
    row = {"doc_id": 0, "doc": {}, "target": "1", "resps": [["1"]], "filtered_resps": ["1"], "exact_match": 1.0}
    sides = []
    for name in ("base", "tuned"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row | {"filter": "none", "metrics": ["exact_match"]}))
        sides.append(load([str(tmp_path / f"{name}.jsonl")]))
    with pytest.raises(InputError, match=r"is the benchmark's name, and differs.*samples_TASK_DATE\.jsonl"):
        align(*sides)


def test_what_a_file_holds_and_what_its_name_says_agree(tmp_path):
    rows = [{"problem_id": f"p{i}", "correct": i % 2 == 0, "completion": i} for i in range(4)]
    (tmp_path / "packed.jsonl").write_bytes(gzip.compress(json.dumps(rows[0]).encode()))
    with pytest.raises(
        InputError, match=r"packed.jsonl: the content is packed with gzip, and the name does not end in .gz"
    ):
        load([f"{tmp_path}/packed.jsonl"])
    (tmp_path / "wide.csv").write_bytes("problem_id,correct\np0,1\n".encode("utf-16-le"))
    with pytest.raises(InputError, match="wide.csv: not UTF-8 text .zero bytes, as UTF-16"):
        load([f"{tmp_path}/wide.csv"])
    (tmp_path / "mac.csv").write_bytes(b"problem_id,correct\rp0,1\rp1,0\r")
    assert of(load([f"{tmp_path}/mac.csv"])) == {"p0": (1, 1), "p1": (1, 0)}
    with pytest.raises(InputError, match="::: the name of a model, step or filter is missing"):
        load([lines(tmp_path / "a.jsonl", rows) + "::"])
    # Numbers in place of completions are shown as they stand.
    samples = load([f"{tmp_path}/a.jsonl"])
    assert [row["completion"] for row in examples(samples, [3])[3]] == ["3"]
