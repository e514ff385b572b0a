"""Whatever is wrong with a file is one clear line with file, line (or row) and key; nothing else ever escapes from an
adapter."""

import copy
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.errors import InputError
from explore_rl.problems import load_problems
from explore_rl.problems.adapters import ADAPTERS
from explore_rl.problems.traces import load_traces
from explore_rl.types import Problem

GOOD = {"id": "a", "prompt": "1 + 1?", "answer": "2", "verifier": "math"}
MESSAGES = [{"role": "user", "content": "1 + 1?"}]


def refused(path, **options) -> str:
    with pytest.raises(InputError) as caught:
        load_problems(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def write(path, *lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    "second, key, says",
    [
        ({**GOOD, "id": None}, "id", "missing"),
        ({key: GOOD[key] for key in ("prompt", "answer", "verifier")}, "id", "missing"),
        ({**GOOD, "id": 1.5}, "id", "expected text or a whole number"),
        ({**GOOD, "id": True}, "id", "expected text or a whole number"),
        ({**GOOD, "id": "b", "prompt": ""}, "prompt", "empty"),
        ({**GOOD, "id": "b", "prompt": 3}, "prompt", "expected text or a list of messages, got a number 3"),
        ({**GOOD, "id": "b", "prompt": []}, "prompt", "expected a list of messages"),
        ({**GOOD, "id": "b", "prompt": [{"role": "user"}]}, "prompt", "message 0: expected {role, content}"),
        ({**GOOD, "id": "b", "prompt": [{"role": "usr", "content": "x"}]}, "prompt", "unknown role text 'usr'"),
        ({**GOOD, "id": "b", "answer": None}, "answer", "missing"),
        ({key: value for key, value in GOOD.items() if key != "answer"}, "answer", "missing"),
        ({**GOOD, "id": "b", "answer": "  "}, "answer", "missing"),
        ({**GOOD, "id": "b", "answer": []}, "answer", "expected the reference answer"),
        ({**GOOD, "id": "b", "answer": True}, "answer", "got a boolean True"),
        ({**GOOD, "id": "b", "answer": ["1", None]}, "answer", "missing"),
        ({**GOOD, "id": "b", "verifier": "maths"}, "verifier", "unknown verifier 'maths', did you mean 'math'?"),
        ({**GOOD, "id": "b", "verifier": 3}, "verifier", "expected text"),
        ({**GOOD, "id": "b", "benchmrk": "x"}, "benchmrk", "did you mean 'benchmark'?"),
        ({**GOOD, "id": "b", "metadata": [1]}, "metadata", "expected an object"),
        ({**GOOD, "id": "b", "traces": [{"text": "x"}]}, "traces", "trace 0: source: expected text"),
        ({**GOOD, "id": "b", "traces": [{"text": "x", "source": "s", "logprob": 0.5}]}, "traces", "at most 0"),
        ({**GOOD, "id": "b", "traces": "x"}, "traces", "expected JSON"),
        (GOOD, "id", "duplicate id 'a', first at line 1"),
    ],
)
def test_every_fault_of_a_line_is_named_with_its_place(tmp_path, second, key, says):
    message = refused(write(tmp_path / "p.jsonl", GOOD, second))
    assert f"p.jsonl:2: key {key!r}" in message and says in message


def test_rows_of_parquet_are_named_too(tmp_path):
    rows = [
        {"data_source": "gsm8k", "prompt": MESSAGES, "reward_model": {"ground_truth": truth}} for truth in ("2", None)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "v.parquet")
    assert "v.parquet: row 2: key 'reward_model'" in refused(tmp_path / "v.parquet")


@pytest.mark.parametrize(
    "line, says",
    [
        ('{"id": "b", ', "p.jsonl:2: not JSON"),
        ("[1, 2]", "p.jsonl:2: expected an object"),
        ('{"id": "\\ud800"}', "p.jsonl:2: holds half a surrogate pair"),
        ('{"id": ' + "[" * 100_000 + "}", "p.jsonl:2: not usable JSON"),
        ('{"id": ' + "1" * 5000 + "}", "p.jsonl:2: not usable JSON"),
    ],
)
def test_malformed_lines(tmp_path, line, says):
    assert says in refused(write(tmp_path / "p.jsonl", GOOD, line))


def test_files_that_are_no_problem_files(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "\xe9"}\n')
    assert "latin.jsonl:1: not UTF-8" in refused(tmp_path / "latin.jsonl")
    assert "holds no problem" in refused(write(tmp_path / "empty.jsonl"))
    assert "holds no problem" in refused(write(tmp_path / "blank.jsonl", "", "  "))
    assert "no such file" in refused(tmp_path / "none.jsonl")
    (tmp_path / "folder").mkdir()
    assert "the folder holds no" in refused(tmp_path / "folder")
    assert "unknown kind of file '.txt'" in refused(write(tmp_path / "p.txt", GOOD))
    (tmp_path / "p.parquet").write_bytes(b"PAR1 no more")
    assert "p.parquet: cannot be read" in refused(tmp_path / "p.parquet")
    (tmp_path / "p.jsonl.gz").write_bytes(b"\x1f\x8b\x08 broken")
    assert "p.jsonl.gz: cannot be read" in refused(tmp_path / "p.jsonl.gz")
    assert "p.csv:3: the row does not have the header's 2 fields" in refused(
        write(tmp_path / "p.csv", "prompt,answer", "a,b", "c")
    )


def test_unknown_forms_are_explained(tmp_path):
    path = write(tmp_path / "p.jsonl", {"pormpt": "x", "answer": "2"})
    assert (
        "p.jsonl:1: no known form of problem has the keys answer, pormpt; did you mean 'prompt' for 'pormpt'?"
        in refused(path)
    )
    assert "unknown problem format 'verll', did you mean 'verl'?" in refused(path, format="verll")
    assert "key 'data_source': missing" in refused(path, format="verl")


def test_duplicates_can_be_skipped_and_a_wrong_option_is_refused(tmp_path):
    path = write(tmp_path / "p.jsonl", GOOD, GOOD, {**GOOD, "id": "b"})
    assert [p.id for p in load_problems(path, duplicates="skip")] == ["a", "b"]
    assert "limit=0" in refused(path, limit=0)
    assert "unknown verifier 'mth', did you mean 'math'?" in refused(path, verifier="mth")


# --- fuzzing ----------------------------------------------------------------------------------------------------------

ROWS = {
    "explore-rl": {**GOOD, "traces": [{"text": "2", "source": "s", "logprob": -1.0, "region": "r"}], "benchmark": "b",
    "metadata": {"x": 1}},
    "verl": {
        "data_source": "gsm8k", "prompt": MESSAGES, "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "2"},
        "extra_info": {"index": 1, "split": "train", "traces_json": None, "metadata_json": "{}", "answer_json": '"2"',
        "id": "a"},
        "target": [{"role": "assistant", "content": "2"}], "target_ds_qwen_7b_probs": [0.5],
    },
    "open-instruct": {"messages": MESSAGES, "ground_truth": "2", "dataset": "math"},
    "humaneval": {"task_id": "H/0", "prompt": "def f():", "entry_point": "f", "canonical_solution": "  return 1",
    "test": "assert f()"},
    "mbpp": {"task_id": 1, "text": "Add.", "code": "x", "test_list": ["assert 1"], "test_imports": ["import math"]},
    "livecodebench": {"question_id": "q", "question_content": "Add.", "starter_code": "",
    "public_test_cases": '[{"input": "1", "output": "2"}]', "metadata": "{}"},
    "olympiadbench": {"id": 1, "question": "q", "context": None, "final_answer": ["$2$"], "solution": ["s"],
    "error": "1e-1", "unit": None},
    "reasoning-gym": {"question": "q", "answer": "2", "metadata": {"source_dataset": "t"}},
    "gsm8k": {"question": "q", "answer": "s #### 2", "idx": 0},
    "math": {"problem": "p", "solution": r"\boxed{2}", "answer": "2", "level": 1, "url": "u", "unique_id": "u"},
    "openrlhf": {"input": "q", "label": "2"},
    "trl": {"prompt": MESSAGES, "solution": r"\boxed{2}", "completion": "2", "id": 3},
}  # fmt: skip

texts = st.text(max_size=8) | st.sampled_from(
    ["", " ", "[", "{}", "null", r"\boxed{", r"\boxed{1}", "####", "#### 1", "user", "math", "-1", "nan"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)


def places(value, here=()):
    """Every place in a nested value that could hold something else."""
    yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*here, key))


@pytest.mark.parametrize("form", ROWS)
@settings(max_examples=30, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_adapter_lets_anything_but_input_errors_out(form, data, tmp_path):
    """A good row with any part of it replaced by anything, or removed, gives a sound problem or an InputError that
    names the place."""
    row = copy.deepcopy(ROWS[form])
    for _ in range(data.draw(st.integers(1, 2))):
        where = data.draw(st.sampled_from([place for place in places(row) if place]))
        holder = row
        for key in where[:-1]:
            holder = holder[key]
        if data.draw(st.booleans()) or isinstance(holder, list):
            holder[where[-1]] = data.draw(values)
        else:
            del holder[where[-1]]
    path = tmp_path / "fuzz.jsonl"
    path.write_text(json.dumps(row) + "\n")
    named = data.draw(st.booleans())
    try:
        (problem,) = load_problems(path, format=form if named else None)
    except InputError as error:
        assert re.search(r"fuzz\.jsonl(:1\b|: holds no problem)", str(error)) and "\n" not in str(error)
    else:
        assert isinstance(problem, Problem) and problem.id and isinstance(problem.id, str) and problem.prompt
        assert problem.answer is not None or problem.verifier in ("gym", "format", "combine") or ":" in problem.verifier


def test_the_rows_of_the_fuzzing_are_good_ones(tmp_path):
    assert set(ROWS) == set(ADAPTERS) - {"luffy", "minerva", "aime", "amc"}
    for form, row in ROWS.items():
        (problem,) = load_problems(write(tmp_path / "good.jsonl", row))
        assert (
            problem == load_problems(tmp_path / "good.jsonl", format=form)[0]
        )  # the columns alone lead to the same adapter


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode),
    name=st.sampled_from(["f.jsonl", "f.json", "f.csv", "f.jsonl.gz"]),
)
def test_any_bytes_at_all(content, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    for read in (load_problems, load_traces):
        with pytest.raises(InputError):
            read(tmp_path / name)


@settings(max_examples=100, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["parquet", "arrow"]))
def test_damaged_tables(data, kind, tmp_path):
    """A Parquet or Arrow file with bytes changed or cut off is read, or refused: nothing else."""
    whole, broken = tmp_path / f"whole.{kind}", tmp_path / f"broken.{kind}"
    if not whole.exists():
        table = pa.Table.from_pylist([{"prompt": f"question {i}", "answer": str(i)} for i in range(50)])
        if kind == "parquet":
            pq.write_table(table, whole)
        else:
            with pa.OSFile(str(whole), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    broken.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        load_problems(broken)
    except InputError as error:
        assert "broken." in str(error)
