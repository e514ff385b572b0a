"""Files of the forms in which other projects' own code writes them, and what a user may ask of them."""

from __future__ import annotations

import json
import zipfile

import pytest
from written_files import document, lines, of, parquet

from analysis.errors import InputError
from analysis.examples import examples
from analysis.readers import load

# --- what stands behind ::, --metric, --correct-above -----------------------------------------------------------------


def test_a_name_behind_two_colons_is_obeyed_or_refused_in_every_format(tmp_path):
    verl = [{"input": "q", "output": "o", "gts": "1", "score": 1.0 * (step == 20), "step": step} for step in (0, 20)]
    both = lines(tmp_path / "both.jsonl", verl)
    with pytest.raises(InputError, match="several models .step 0, step 20.; choose one, as in .*both.jsonl::step 0"):
        load([both])
    assert (load([both + "::step 0"]).correct.sum(), load([both + "::step 20"]).correct.sum()) == (0, 1)
    folder = tmp_path / "dumps"
    for row in verl:
        lines(folder / f"{row['step']}.jsonl", [row])
    assert load([f"{folder}::step 20"]).correct.tolist() == [1]
    with pytest.raises(InputError, match="no row belongs to 'step 3'"):
        load([f"{folder}::step 3"])
    with pytest.raises(InputError, match="20.jsonl: no row belongs to 'step 0'"):
        load([f"{folder}/20.jsonl::step 0"])
    others = {
        "rlvr.jsonl": {"idx": 0, "score": [True], "pred": ["1"]},
        "code.jsonl": {"task_id": "HumanEval/0", "passed": True},
        "lists.jsonl": {"problem_id": "a", "correct": [True, False]},
        "lcb.jsonl": {"question_id": "a", "graded_list": [True]},
    }
    for name, row in others.items():
        path = lines(tmp_path / name, [row])
        assert load([path]).n.sum() == len(row.get("correct", [True]))
        with pytest.raises(InputError, match="no model column to choose 'nonsense' by"):
            load([path + "::nonsense"])


def test_one_of_several_metrics_is_a_choice_of_the_users_and_is_recorded(tmp_path):
    row = {"doc": {}, "target": "1", "resps": [["4"]], "filtered_resps": ["4"], "filter": "none"}
    row |= {"metrics": ["exact_match", "math_verify"], "exact_match": 0.0, "math_verify": 1.0}
    path = lines(tmp_path / "samples_m.jsonl", [row | {"doc_id": i} for i in range(3)])
    with pytest.raises(InputError, match="several metrics .exact_match, math_verify.*--metric exact_match"):
        load([path])
    for metric, correct in (("exact_match", 0), ("math_verify", 3)):
        got = load([path], metric=metric)
        assert got.correct.sum() == correct and got.settings["metric"] == [metric]
        assert got.files[0]["metric"] == metric and len(examples(got, [0])[0]) == 1
    with pytest.raises(InputError, match="--metric acc: no such metric; the row has exact_match, math_verify"):
        load([path], metric="acc")


def test_our_own_samples_take_another_column_or_a_threshold(tmp_path):
    rows = [{"problem_id": "a", "correct": s > 0.6, "judge": s, "completion": "x"} for s in (0.2, 0.5, 0.9)]
    path = lines(tmp_path / "own.jsonl", rows)
    assert of(load([path])) == {"a": (3, 1)}
    assert of(load([path], metric="judge", correct_above=0.5)) == {"a": (3, 1)}
    assert of(load([path], metric="judge", correct_above=0.4)) == {"a": (3, 2)}
    with pytest.raises(InputError, match="line 1: judge is 0.2, none of 0, 1,"):
        load([path], metric="judge")
    with pytest.raises(InputError, match="--metric nope: no such column; it has problem_id"):
        load([path], metric="nope")


# --- lists over draws -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [lines, parquet])
def test_one_row_a_problem_with_lists(tmp_path, write):
    rows = [{"problem_id": p, "correct": [True, False, p == "b"], "responses": ["x", "y", "z"]} for p in "ab"]
    got = load([write(tmp_path / f"l.{'jsonl' if write is lines else 'parquet'}", rows)])
    assert of(got) == {"a": (3, 1), "b": (3, 2)}
    assert {e["completion"]: e["correct"] for e in examples(got, [1], each=9)[1]} == {"x": True, "y": False, "z": True}


def test_lists_of_unequal_length_are_refused(tmp_path):
    rows = [{"problem_id": "a", "correct": [True, False], "responses": ["x"]}]
    with pytest.raises(InputError, match="line 1: completion has 1 entries, correct has 2"):
        load([lines(tmp_path / "l.jsonl", rows)])


def test_verl_generations_are_read_with_verdicts_and_else_say_how_to_get_them(tmp_path):
    row = {"data_source": "math", "prompt": [{"role": "user", "content": "2+2"}], "responses": ["4", "5"]}
    row["reward_model"] = {"style": "rule", "ground_truth": "4"}
    with pytest.raises(InputError, match="no verdicts; grade them first: explore-rl verify"):
        load([parquet(tmp_path / "gen.parquet", [row])])
    got = load([parquet(tmp_path / "graded.parquet", [row | {"scores": [1.0, 0.0]}])])
    assert (got.n.tolist(), got.correct.tolist(), got.benchmarks) == ([2], [1], ["math"])


def test_turns_of_one_session_are_one_draw(tmp_path):
    rows = [
        {
            "input": f"q{p}" + " and then" * t,
            "output": f"turn {t}",
            "score": float(s == 0),
            "step": 5,
            "uid": f"u{p}_{s}_{t}",
        }
        for p in range(3)
        for s in range(4)
        for t in range(3)
    ]
    got = load([lines(tmp_path / "5.jsonl", rows)])
    assert got.n.tolist() == [4] * 3 and got.correct.tolist() == [1] * 3
    assert any("further turns" in line for line in got.warnings)
    # Ids of one's own that look like sessions are problems, each with its draws.
    own = [{"input": f"p{p}", "output": "x", "score": 1.0, "uid": f"math_500_{p}"} for p in range(3) for _ in range(2)]
    got = load([lines(tmp_path / "own.jsonl", own)])
    assert got.n.tolist() == [2] * 3 and got.warnings == []


# --- other trainers ---------------------------------------------------------------------------------------------------


def test_rows_that_are_turns_are_refused_and_sessions_of_one_row_are_draws(tmp_path):
    rows = [
        {"problem_id": f"p{i}", "correct": s == 0, "session_id": f"{i}-{s}", "turn": t}
        for i in range(3)
        for s in range(2)
        for t in range(2)
    ]
    with pytest.raises(InputError, match="turns.jsonl, line 2: column turn says that rows are turns of one session"):
        load([lines(tmp_path / "turns.jsonl", rows)])
    untold = [{k: v for k, v in row.items() if k != "turn"} for row in rows]
    with pytest.raises(InputError, match="untold.parquet, row 2: column session_id says"):
        load([parquet(tmp_path / "untold.parquet", untold)])
    assert of(load([lines(tmp_path / "first.jsonl", rows[::2])])) == {f"p{i}": (2, 1) for i in range(3)}
    # of each session one row, which says how many turns it took
    whole = [row | {"turn": 3 + i % 4} for i, row in enumerate(rows[::2])]
    assert of(load([lines(tmp_path / "whole.jsonl", whole)])) == {f"p{i}": (2, 1) for i in range(3)}
    nameless = [row | {"session_id": None} for row in whole]
    with pytest.raises(InputError, match="column turn says"):
        load([lines(tmp_path / "nameless.jsonl", nameless)])
    verl = [
        {"input": f"q{i}", "output": "o", "gts": "1", "score": 1.0, "step": 5, "session_id": i, "turn_id": t}
        for i in range(2)
        for t in range(2)
    ]
    with pytest.raises(InputError, match="column turn_id says"):
        load([lines(tmp_path / "5.jsonl", verl)])


def test_trl_completions(tmp_path):
    rows = [
        {
            "step": 10,
            "prompt": [{"role": "user", "content": f"q{p}"}],
            "completion": [{"role": "assistant", "content": f"a{s}"}],
            "accuracy_reward": float(s == p),
            "format_reward": 0.5,
            "advantage": 0.1,
        }
        for p in range(2)
        for s in range(3)
    ]
    path = parquet(tmp_path / "completions_00010.parquet", rows)
    with pytest.raises(InputError, match="several rewards .accuracy_reward, format_reward"):
        load([path])
    got = load([path], metric="accuracy_reward")
    assert sorted(got.n.tolist()) == [3, 3] and got.correct.tolist() == [1, 1] and got.name == "step 10"
    assert examples(got, [0])[0][0]["completion"].startswith("a")
    with pytest.raises(InputError, match="format_reward is 0.5, none of 0, 1"):
        load([path], metric="format_reward")


def test_a_reward_function_of_trl_that_did_not_judge_is_no_choice_of_another(tmp_path):
    row = {"step": 1, "prompt": "p", "completion": "c", "advantage": 0.1}
    with pytest.raises(InputError, match="row 1: accuracy is null, as of a reward function that did not judge"):
        load([parquet(tmp_path / "null.parquet", [row | {"accuracy": None}, row | {"accuracy": 1.0}])])
    as_text = parquet(tmp_path / "text.parquet", [row | {"accuracy": "1.0"}, row | {"accuracy": "0.0"}])
    assert load([as_text]).correct.tolist() == [1]
    by_kind = [row | {"math": 1.0, "code": None}, row | {"math": None, "code": 0.0}]
    with pytest.raises(InputError, match=r"several rewards \(math, code\)"):
        load([parquet(tmp_path / "kinds.parquet", by_kind)])


def test_openrlhf_samples(tmp_path):
    rows = [{"input": f"q{p}", "output": "x", "reward": float(p)} for p in (0, 1)]
    assert sorted(load([lines(tmp_path / "r.jsonl", rows)]).correct.tolist()) == [0, 1]
    graded = [{"input": "q", "output": "x", "reward": r} for r in (-1.5, 0.25, 2.0)]
    path = lines(tmp_path / "rm.jsonl", graded)
    with pytest.raises(InputError, match="reward is -1.5, none of 0, 1"):
        load([path])
    assert load([path], correct_above=0).correct.tolist() == [2]


# --- evaluations ------------------------------------------------------------------------------------------------------


def test_lighteval_details(tmp_path):
    def row(i, texts, metric):
        doc = {"query": "q", "id": str(i), "task_name": "lighteval|aime24|0"}
        return {"doc": doc, "model_response": {"text": texts}, "metric": metric}

    single = parquet(tmp_path / "a.parquet", [row(i, ["t"], {"extractive_match": float(i)}) for i in (0, 1)])
    got = load([single])
    assert of(got) == {"0": (1, 0), "1": (1, 1)} and set(got.benchmarks) == {"aime24"}
    metrics = [{"avg@n:n=4": 0.75, "maj@n:n=4": 1.0}, {"avg@n:n=4": 0.0, "maj@n:n=4": 0.0}]
    several = parquet(tmp_path / "b.parquet", [row(i, list("abcd"), m) for i, m in enumerate(metrics)])
    with pytest.raises(InputError, match="several metrics"):
        load([several])
    got = load([several], metric="avg@n:n=4")
    assert of(got) == {"0": (4, 3), "1": (4, 0)} and "share over several texts" in got.warnings[0]
    uneven = parquet(tmp_path / "c.parquet", [row(0, list("abcd"), {"pass@k:k=2&n=4": 0.8333})])
    with pytest.raises(InputError, match="is no share of its 4 texts"):
        load([uneven])


def test_evalplus_results_of_both_versions(tmp_path):
    new = {
        "HumanEval/0": [
            {"solution": "s0", "base_status": "pass", "plus_status": "fail"},
            {"solution": "s1", "base_status": "pass", "plus_status": "pass"},
            {"solution": "s2", "base_status": "timeout", "plus_status": "pass"},
        ]
    }
    old = {"HumanEval/0": {"nfiles": 2, "base": [["pass", []], ["fail", []]], "plus": [["pass", []], ["fail", []]]}}
    path = document(tmp_path / "x_eval_results.json", {"date": "d", "hash": "h", "eval": new})
    with pytest.raises(InputError, match="several sets of tests .base, plus"):
        load([path])
    assert of(load([path], metric="base")) == {"HumanEval/0": (3, 2)}
    assert of(load([path], metric="plus")) == {"HumanEval/0": (3, 1)}  # plus counts where the base tests pass too
    got = load([document(tmp_path / "old.json", {"eval": old})], metric="plus")
    assert of(got) == {"HumanEval/0": (2, 1)} and got.benchmarks == ["HumanEval"]


def inspect_sample(name, epoch, value, **more):
    output = {"choices": [{"message": {"content": "text"}, "stop_reason": "stop"}], "completion": "text"}
    return {"id": name, "epoch": epoch, "output": output, "scores": {"match": {"value": value}}} | more


def test_inspect_logs_in_both_containers(tmp_path):
    samples = [inspect_sample("a", e, v) for e, v in ((1, "C"), (2, "I"), (3, "N"))]
    samples.append(inspect_sample("a", 4, "I", error={"message": "boom"}))
    log = {"version": 2, "status": "success", "eval": {"task": "aime", "model": "m"}, "samples": samples}
    packed = tmp_path / "log.eval"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("header.json", json.dumps({k: v for k, v in log.items() if k != "samples"}))
        for sample in samples:
            archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
    for path in (document(tmp_path / "log.json", log), str(packed)):
        got = load([path])
        assert of(got) == {"a": (3, 1)} and got.excluded.tolist() == [1], "an error is no evidence"
        assert (got.benchmarks, got.name) == (["aime"], "m")
        assert examples(got, [0])[0][0]["completion"] == "text"
        with pytest.raises(InputError, match="no row belongs to 'other'"):
            load([path + "::other"])
    packed.write_bytes(packed.read_bytes()[:100])
    with pytest.raises(InputError, match="not a readable Inspect log"):
        load([str(packed)])


def test_opencompass_live_code_bench_and_bigcode(tmp_path):
    details = {"type": "GEN", "0": {"origin_prediction": "t", "predictions": "4", "references": "4", "correct": True}}
    details["1"] = {"origin_prediction": "u", "predictions": "5", "references": "4", "correct": False}
    got = load([document(tmp_path / "oc.json", {"accuracy": 50.0, "details": details})])
    assert of(got) == {"0": (1, 1), "1": (1, 0)} and set(got.answers.answer) == {"4", "5"}
    lcb = [{"question_id": "q", "output_list": ["x", "y"], "code_list": ["x", "y"], "graded_list": [True, False]}]
    assert of(load([document(tmp_path / "lcb_eval_all.json", lcb)])) == {"q": (2, 1)}
    logs = {
        "0": [[0, {"task_id": 0, "passed": True, "result": "passed"}], [1, {"passed": False, "result": "timed out"}]]
    }
    assert of(load([document(tmp_path / "logs.json", logs)])) == {"0": (2, 1)}


def test_lm_eval_files_that_name_no_filter(tmp_path):
    row = {"doc": {}, "target": "1", "arguments": {}, "resps": [["4"]], "filtered_resps": ["4"]}
    rows = [row | {"doc_id": i, "exact_match": float(first)} for first in (1, 0) for i in range(3)]
    path = lines(tmp_path / "samples_gsm8k.jsonl", rows)
    with pytest.raises(InputError, match="line 4: document 0 is there again and no line names its filter.*::1 for"):
        load([path])
    assert (load([path + "::1"]).correct.sum(), load([path + "::2"]).correct.sum()) == (3, 0)


def test_an_answer_that_never_varies_is_warned_about(tmp_path):
    row = {"doc_id": 0, "doc": {}, "resps": [["4"]], "filtered_resps": ["4"], "filter": "none", "exact_match": 1.0}
    greedy = {"gen_args_0": {"arg_0": "q", "arg_1": {"do_sample": False}}}
    got = load([lines(tmp_path / "samples_g.jsonl", [row | {"metrics": ["exact_match"], "arguments": greedy}])])
    assert got.settings["temperature"] == [0.0] and "deterministic" in got.warnings[0]
    choice = row | {"metrics": ["acc"], "acc": 1.0, "resps": [[[-1.0, True]], [[-2.0, False]]]}
    del choice["exact_match"]
    assert "log-likelihood" in load([lines(tmp_path / "samples_c.jsonl", [choice])]).warnings[0]
