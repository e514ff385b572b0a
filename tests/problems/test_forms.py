"""Each form of problem file, as its makers distribute it (rows made here), and what must come out."""

import gzip
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.errors import InputError
from explore_rl.problems import load, load_problems, register_scheme
from explore_rl.types import Problem, Trace


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def one(path, **options):
    (problem,) = load_problems(path, **options)
    return problem


def test_own_lines_give_every_field(tmp_path):
    row = {
        "id": "a",
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}],
        "answer": "2",
        "verifier": "math",
        "benchmark": "sums",
        "traces": [{"text": r"\boxed{2}", "source": "me", "logprob": -1.5, "region": "easy"}],
        "metadata": {"level": 1},
        "author": "x",
    }
    problem = one(jsonl(tmp_path / "p.jsonl", row))
    assert problem == Problem(
        "a", row["prompt"], "2", "math", (Trace(r"\boxed{2}", "me", -1.5, "easy"),), "sums", {"level": 1, "author": "x"}
    )


def test_own_answers_keep_their_form(tmp_path):
    rows = [
        {"id": 1, "prompt": "p", "answer": {"numbers": [1, 2], "target": 3}, "verifier": "countdown"},
        {"id": 2, "prompt": "p", "answer": ["1", 2], "verifier": "math"},
        {"id": 3, "prompt": "p", "answer": 27.0, "verifier": "math"},
        {"id": 4, "prompt": "p", "answer": None, "verifier": "format"},
        {"id": 5, "prompt": "p", "answer": None, "verifier": "my.module:reward"},
    ]
    problems = load_problems(jsonl(tmp_path / "p.jsonl", *rows))
    assert [p.id for p in problems] == ["1", "2", "3", "4", "5"]
    assert [p.answer for p in problems] == [{"numbers": [1, 2], "target": 3}, ["1", "2"], "27", None, None]


VERL_ROW = {
    "data_source": "openai/gsm8k",
    "prompt": [{"role": "user", "content": "What is 3 * 4?"}],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "12"},
    "extra_info": {"split": "train", "index": 7},
}


def test_verl_parquet(tmp_path):
    pq.write_table(pa.Table.from_pylist([VERL_ROW]), tmp_path / "train.parquet")
    problem = one(tmp_path / "train.parquet")
    assert (problem.id, problem.answer, problem.verifier, problem.benchmark) == (
        "openai/gsm8k-train-7",
        "12",
        "math",
        "openai/gsm8k",
    )
    assert problem.prompt == VERL_ROW["prompt"] and problem.traces == ()


def test_luffy_target_is_a_trace_with_the_log_probability_of_its_tokens(tmp_path):
    luffy = VERL_ROW | {
        "data_source": "openr1",
        "extra_info": {"split": "default", "index": -1},  # LUFFY numbers nothing: rows are named by their place
        "target": [{"role": "assistant", "content": "3 * 4 = 12. \\boxed{12}"}],
        "target_ds_qwen_7b_probs": [0.5, 0.25],
    }
    problem = one(jsonl(tmp_path / "l.jsonl", luffy))
    assert problem.id == "openr1-l-0"
    assert problem.traces[0].text == "3 * 4 = 12. \\boxed{12}"
    assert problem.traces[0].logprob == pytest.approx(math.log(0.125))


def test_verl_verifier_from_ability_or_the_user_never_guessed(tmp_path):
    path = jsonl(
        tmp_path / "v.jsonl",
        VERL_ROW | {"data_source": "mine", "ability": "code", "reward_model": {"ground_truth": ["assert f(1) == 2"]}},
    )
    assert one(path).verifier == "code"
    path = jsonl(tmp_path / "v.jsonl", VERL_ROW | {"data_source": "mine", "ability": "poetry"})
    with pytest.raises(InputError, match=r"v\.jsonl:1: key 'data_source': no verifier is known for 'mine'"):
        one(path)
    assert one(path, verifier="judge").verifier == "judge"


def test_open_instruct(tmp_path):
    row = {"messages": [{"role": "user", "content": "2 + 2?"}], "ground_truth": "4", "dataset": "gsm8k"}
    listed = {
        "messages": [*row["messages"], {"role": "assistant", "content": "4"}],
        "ground_truth": ["4"],
        "dataset": ["math"],
    }
    first, second = load_problems(jsonl(tmp_path / "o.jsonl", row, listed))
    assert (first.answer, first.verifier, first.benchmark, first.traces) == ("4", "math", "gsm8k", ())
    assert (
        second.prompt == row["messages"] and second.traces == (Trace("4", "math: assistant"),) and second.answer == "4"
    )
    with pytest.raises(InputError, match="no verifier stands for 'ifeval'"):
        load_problems(jsonl(tmp_path / "o.jsonl", row | {"dataset": "ifeval"}))


def test_trl_columns_reach_the_reward_function(tmp_path):
    row = {
        "prompt": [{"role": "user", "content": "1/2 + 1/4?"}],
        "solution": r"It is \boxed{\frac{3}{4}}.",
        "difficulty": 2,
    }
    problem = one(jsonl(tmp_path / "t.jsonl", row))
    assert problem.answer == r"\frac{3}{4}" and problem.traces == (Trace(row["solution"], "solution"),)
    assert problem.metadata["difficulty"] == 2 and problem.metadata["solution"] == row["solution"]
    free = one(jsonl(tmp_path / "t.jsonl", {"prompt": "Write a haiku", "topic": "rain"}), verifier="rewards.py:haiku")
    assert free.answer is None and free.metadata == {"topic": "rain"} and free.verifier == "rewards.py:haiku"


def test_saved_datasets_folder(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [{"prompt": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(700)]
    saved = datasets.Dataset.from_list(rows)
    saved.save_to_disk(tmp_path / "one", num_shards=3)
    problems = load_problems(tmp_path / "one")
    assert [p.prompt for p in problems] == [row["prompt"] for row in rows]  # the order of the shards is kept
    assert len({p.id for p in problems}) == 700
    datasets.DatasetDict({"train": saved, "test": saved}).save_to_disk(tmp_path / "two")
    with pytest.raises(InputError, match="holds the splits .*train.*test"):
        load_problems(tmp_path / "two")
    assert len(load_problems(tmp_path / "two" / "test")) == 700


def test_openrlhf(tmp_path):
    rows = [
        {"input": "2 * 3?", "label": "6"},
        {"context_messages": [{"role": "user", "content": "5 - 1?"}], "label": 4, "datasource": "sums"},
    ]
    first, second = (
        one(jsonl(tmp_path / "r.jsonl", rows[0])),
        one(jsonl(tmp_path / "r.jsonl", rows[1])),
    )
    assert (first.prompt, first.answer) == ("2 * 3?", "6")
    assert (second.prompt[0]["content"], second.answer, second.benchmark) == ("5 - 1?", "4", "sums")


def test_gsm8k_answer_and_trace(tmp_path):
    row = {
        "question": "Two packs of 6 eggs cost $1,000. How many eggs?",
        "answer": "There are 2*6=<<2*6=12>>12 eggs.\n#### 12",
    }
    (tmp_path / "gsm8k").mkdir()
    problem = one(jsonl(tmp_path / "gsm8k" / "test.jsonl", row))
    assert (problem.answer, problem.verifier, problem.benchmark, problem.id) == ("12", "math", "gsm8k", "gsm8k-test-0")
    assert problem.traces == (Trace("There are 2*6=12 eggs.\n#### 12", "gsm8k solution"),)


def test_math_minerva_aime_amc(tmp_path):
    r"""The answer is under `answer`, or in the last box; a solution that boxes none gets a box."""
    math500 = {
        "problem": "Find $x$.", "solution": r"So \boxed{1}, no, $\boxed{\frac{1}{2}}$.", "answer": r"\frac{1}{2}",
        "subject": "Algebra", "level": 2, "unique_id": "test/algebra/1.json",
    }  # fmt: skip
    problem = one(jsonl(tmp_path / "math500.jsonl", math500))
    assert (problem.id, problem.answer, problem.benchmark) == ("test/algebra/1.json", r"\frac{1}{2}", "math500")
    assert problem.metadata["level"] == 2
    hendrycks = {key: math500[key] for key in ("problem", "solution", "level")} | {"type": "Algebra"}
    folder = tmp_path / "MATH" / "train"
    for kind in ("algebra", "geometry"):  # one JSON file a problem, in folders
        (folder / kind).mkdir(parents=True)
        (folder / kind / "1.json").write_text(json.dumps(hendrycks, indent=1))
    assert [(p.id, p.answer, p.benchmark) for p in load_problems(folder)] == [
        ("math-algebra/1-0", r"\frac{1}{2}", "math"),
        ("math-geometry/1-0", r"\frac{1}{2}", "math"),
    ]
    minerva = {
        "problem": "Diameter in cm?",
        "solution": r"$s=\boxed{1.6e-3} \mathrm{~cm}$",
        "type": "Astronomy",
        "idx": 0,
    }
    problem = one(jsonl(tmp_path / "minerva_math.jsonl", minerva))
    assert (problem.id, problem.answer, problem.benchmark) == ("minerva_math-0", "1.6e-3", "minerva_math")
    aime = {
        "id": 60,
        "problem": "Minutes?",
        "solution": r"\framebox{204} minutes",
        "answer": "204",
        "url": "x/2024_AIME_I_Problems",
    }
    problem = one(jsonl(tmp_path / "test.jsonl", aime))
    assert (problem.id, problem.benchmark) == ("aime24-60", "aime24")
    assert problem.traces[0].text.endswith(r"The final answer is $\boxed{204}$.")
    amc = {"id": 0, "problem": "Miles?", "answer": 27.0, "url": "x/2023_AMC_12A"}
    assert one(jsonl(tmp_path / "amc23.jsonl", amc)).answer == "27"


def test_olympiadbench(tmp_path):
    row = {
        "id": 2592, "context": "Given this.", "question": "How much?", "solution": ["About 4.2"],
        "final_answer": ["$4.2$"],
        "is_multiple_answer": False, "unit": "%", "answer_type": "Numerical", "error": "1e-1",
    }  # fmt: skip
    problem = one(jsonl(tmp_path / "olympiadbench.jsonl", row))
    assert (problem.id, problem.answer, problem.prompt) == ("olympiadbench-2592", "4.2", "Given this.\n\nHow much?")
    assert problem.metadata["tolerance"] == 0.1 and problem.metadata["unit"] == "%"
    assert problem.traces[0].text == "About 4.2\n\nThe final answer is $\\boxed{4.2}$."
    several = one(jsonl(tmp_path / "olympiadbench.jsonl", row | {"final_answer": ["1", "$2$"], "error": "1e-1,0"}))
    assert several.answer == ["1", "2"] and several.metadata["tolerance"] == [0.1, 0.0]


HUMANEVAL_ROW = {
    "task_id": "HumanEval/0", "prompt": 'def add(a, b):\n    """Sum."""\n', "entry_point": "add",
    "canonical_solution": "    return a + b\n", "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}  # fmt: skip


def test_humaneval_and_mbpp(tmp_path):
    with gzip.open(tmp_path / "HumanEval.jsonl.gz", "wt") as stream:
        stream.write(json.dumps(HUMANEVAL_ROW) + "\n")
    problem = one(tmp_path / "HumanEval.jsonl.gz")
    assert (problem.id, problem.verifier, problem.benchmark) == ("HumanEval/0", "code", "HumanEval")
    assert problem.answer == {"test": HUMANEVAL_ROW["test"], "entry_point": "add", "prompt": HUMANEVAL_ROW["prompt"]}
    assert (
        problem.traces[0].text
        == "```python\n" + HUMANEVAL_ROW["prompt"] + HUMANEVAL_ROW["canonical_solution"] + "\n```"
    )
    mbpp = {
        "task_id": 11,
        "text": "Add.",
        "code": "def f(a): return a",
        "test_list": ["assert f(1) == 1", "assert f(2) == 2"],
        "test_setup_code": "",
    }
    plus = {
        "task_id": 12,
        "prompt": "Add.",
        "code": "c",
        "test_list": ["assert f(1) == 1"],
        "test_imports": ["import math"],
        "test": "full",
    }
    first, second = load_problems(jsonl(tmp_path / "mbpp.jsonl", mbpp, plus))
    assert first.prompt == "Add.\nYour code should pass this test:\nassert f(1) == 1"
    assert first.answer == {"test_list": mbpp["test_list"], "setup": ""} and first.id == "mbpp-11"
    assert second.answer["setup"] == "import math" and second.metadata["test"] == "full"


def test_livecodebench(tmp_path):
    cases = json.dumps([{"input": "1\n", "output": "2\n", "testtype": "stdin"}])
    row = {
        "question_id": "abc301_a", "question_content": "Add one.", "starter_code": "class Solution: ...",
        "public_test_cases": cases, "metadata": json.dumps({"func_name": "solve"}),
    }  # fmt: skip
    problem = one(jsonl(tmp_path / "lcb.jsonl", row))
    assert (problem.answer, problem.verifier, problem.metadata["func_name"]) == (cases, "code", "solve")
    assert "class Solution" in problem.prompt


def test_reasoning_gym_entries(tmp_path):
    row = {
        "question": "1 + 2 =",
        "answer": "3",
        "metadata": {"source_dataset": "chain_sum", "source_index": 0, "num_terms": 2},
    }
    problem = one(jsonl(tmp_path / "gym.jsonl", row))
    assert (problem.verifier, problem.answer, problem.benchmark) == ("gym", "3", "chain_sum")
    assert problem.metadata == row["metadata"] and problem.traces == (Trace("<answer>3</answer>", "reasoning-gym"),)
    assert (
        one(jsonl(tmp_path / "gym.jsonl", row | {"answer": None})).answer is None
    )  # some tasks are scored without a reference


def test_csv_and_json_documents(tmp_path):
    (tmp_path / "p.csv").write_text('id,prompt,answer,verifier\na,"2, 3 or 4?",2,math\n')
    assert one(tmp_path / "p.csv").prompt == "2, 3 or 4?"
    rows = [{"id": i, "prompt": "p", "answer": "1", "verifier": "math"} for i in range(3)]
    (tmp_path / "array.json").write_text(json.dumps(rows, indent=2))
    assert len(load_problems(tmp_path / "array.json")) == 3
    assert len(load_problems(jsonl(tmp_path / "lines.json", *rows))) == 3


def test_folder_and_glob(tmp_path):
    for i in range(2):
        jsonl(tmp_path / f"part-{i}.jsonl", {"id": str(i), "prompt": "p", "answer": "1", "verifier": "math"})
    (tmp_path / "notes.txt").write_text("not problems")
    assert [p.id for p in load_problems(tmp_path)] == ["0", "1"]
    assert [p.id for p in load_problems(str(tmp_path / "part-*.jsonl"))] == ["0", "1"]


def test_limit_reads_no_further(tmp_path):
    """Streaming: the broken second line is never reached."""
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"id": "a", "prompt": "p", "answer": "1", "verifier": "math"}) + "\n{broken\n")
    assert [p.id for p in load(path, limit=1)] == ["a"]


def test_schemes():
    problems = load_problems("lab:countdown?level=3&split=train&size=5")
    assert len(problems) == 5 and problems[0].verifier == "countdown"
    register_scheme("test-scheme", lambda spec: iter([Problem(spec, "p", "1", "math")]))
    assert load_problems("test-scheme:x?y=1")[0].id == "test-scheme:x?y=1"
    with pytest.raises(InputError, match="format='verl' has no meaning"):
        load_problems("lab:countdown", format="verl")


def test_gym_problems_by_name():
    pytest.importorskip("reasoning_gym")
    problems = load_problems("gym:chain_sum?size=4&seed=1")
    assert [p.id for p in problems] == [f"chain_sum-1-{i}" for i in range(4)] and {p.verifier for p in problems} == {
        "gym"
    }
    assert load_problems("gym:chain_sum?size=4&seed=1") == problems != load_problems("gym:chain_sum?size=4&seed=2")
