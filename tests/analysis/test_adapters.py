"""Files of other projects, in the shapes in which those projects write them."""

from __future__ import annotations

import json

import pytest

from analysis.errors import InputError
from analysis.examples import examples
from analysis.readers import align, load


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def lm_eval_row(doc, text, correct, filter_name="flexible-extract", **more):
    return {
        "doc_id": doc,
        "doc": {"question": f"q{doc}", "answer": "1"},
        "target": "1",
        "arguments": {"gen_args_0": {"arg_0": "q", "arg_1": {"until": ["Q:"]}}},
        "resps": [[text]],
        "filtered_resps": [text[-1]],
        "filter": filter_name,
        "metrics": ["exact_match"],
        "doc_hash": "d",
        "prompt_hash": "p",
        "target_hash": "t",
        "exact_match": float(correct),
    } | more


def test_lm_eval_files_are_draws_and_filters_are_chosen(tmp_path):
    for seed in (1, 2):
        rows = [lm_eval_row(d, f"it is {d + seed}", d + seed == 1) for d in (0, 1)]
        rows += [lm_eval_row(d, f"it is {d + seed}", False, "strict-match") for d in (0, 1)]
        lines(tmp_path / f"seed{seed}" / f"samples_gsm8k_cot_2026-01-0{seed}T00-00-00.000000.jsonl", rows)
        (tmp_path / f"seed{seed}" / "results_2026.json").write_text("{}")
    got = load([f"{tmp_path}::flexible-extract"])
    assert got.benchmarks == ["gsm8k_cot"] * 2 and got.problem_ids == ["0", "1"]
    assert got.n.tolist() == [2, 2] and got.correct.tolist() == [1, 0]
    assert set(got.answers.answer) == {"1", "2", "3"}
    with pytest.raises(InputError, match="several ways .flexible-extract, strict-match.; choose one"):
        load([str(tmp_path)])
    assert examples(got, [0])[0][0]["completion"] == "it is 1"


def test_lm_eval_refuses_what_does_not_say_which_draw_is_correct(tmp_path):
    path = lines(tmp_path / "samples_x.jsonl", [lm_eval_row(0, "1", True, resps=[["1", "2"]])])
    with pytest.raises(InputError, match="line 1: 2 responses but one value of exact_match"):
        load([path])
    path = lines(tmp_path / "samples_y.jsonl", [lm_eval_row(0, "1", True, exact_match=0.5)])
    with pytest.raises(InputError, match="line 1: exact_match is 0.5, none of 0, 1, .*--correct-above"):
        load([path])
    path = lines(tmp_path / "samples_z.jsonl", [lm_eval_row(0, "1", True), lm_eval_row(0, "2", False)])
    with pytest.raises(InputError, match="problem '0', sample 0 is there twice"):
        load([path])
    listed = lm_eval_row(0, "1", True, resps=[["1", "2", "3"]], filtered_resps=[["1", "2", "3"]], exact_match=[1, 0, 0])
    assert load([lines(tmp_path / "samples_l.jsonl", [listed])]).n.tolist() == [3]
    choice = lm_eval_row(
        0,
        "1",
        True,
        resps=[[[-1.0, True]], [[-2.0, False]]],
        filtered_resps=[[-1.0, True], [-2.0, False]],
        metrics=["acc"],
        acc=1.0,
    )
    assert load([lines(tmp_path / "samples_c.jsonl", [choice])]).correct.tolist() == [1]


def verl_row(prompt, output, score, step=20, **more):
    return {"input": prompt, "output": output, "gts": "4", "score": score, "step": step} | more


def test_verl_dumps(tmp_path):
    path = lines(
        tmp_path / "val" / "20.jsonl",
        [verl_row("2+2?", "4", 1.0), verl_row("2+2?", "5", 0.0), verl_row("1+3?", "4", 1.0)],
    )
    got = load([path])
    assert sorted(got.n.tolist()) == [1, 2] and got.correct.sum() == 2 and got.name == "step 20"
    assert got.settings["model"] == ["step 20"]
    dapo = lines(
        tmp_path / "dapo.jsonl",
        [verl_row("a", "x", -1.0, acc=False, pred="7"), verl_row("a", "y", 0.8, acc=True, pred="4")],
    )
    got = load([dapo])
    assert got.correct.tolist() == [1] and set(got.answers.answer) == {"4", "7"}
    with pytest.raises(InputError, match="line 1: score is 0.1, none of 0, 1, -1"):
        load([lines(tmp_path / "shaped.jsonl", [verl_row("a", "x", 0.1)])])
    lines(tmp_path / "val" / "40.jsonl", [verl_row("2+2?", "4", 1.0, step=40)])
    with pytest.raises(InputError, match=r"several models \(step 20, step 40\)"):
        load([str(tmp_path / "val")])
    other = load(
        [lines(tmp_path / "base.jsonl", [verl_row("2+2?", "4", 0.0, step=0), verl_row("1+3?", "4", 0.0, step=0)])]
    )
    assert len(align(other, load([path]))[0]) == 2  # the prompt is the identity, whatever the order


def test_limit_of_rlvr_results_of_two_seeds(tmp_path):
    for seed, scores in ((1, [[True, False], [False, False]]), (2, [[True, True], [False, True]])):
        rows = [
            {
                "idx": i,
                "question": "q",
                "gt_cot": "",
                "gt": "1",
                "code": ["a", "b"],
                "pred": ["1", ""],
                "report": [None, None],
                "finish_reason": ["stop", "length"],
                "score": s,
            }
            for i, s in enumerate(scores)
        ]
        lines(
            tmp_path
            / f"run_seed{seed}/eval_results/global_step_0/aime24/test_qwen-boxed_-1_seed{seed}_t0.6_s0_e-1.jsonl",
            rows,
        )
    got = load([str(tmp_path)])
    assert got.benchmarks == ["aime24"] * 2 and got.n.tolist() == [4, 4] and got.correct.tolist() == [3, 1]
    assert (
        got.settings["temperature"] == [0.6]
        and got.settings["template"] == ["qwen-boxed"]
        and got.settings["seed"] == [1, 2]
    )
    assert got.truncated.tolist() == [2, 2] and None in got.answers.answer.tolist()
    with pytest.raises(InputError, match="line 1: pred has 1 entries, score has 2"):
        load([lines(tmp_path / "bad.jsonl", [{"idx": 0, "pred": ["1"], "score": [True, False]}])])
    with pytest.raises(InputError, match="line 1: score should be a list"):
        load([lines(tmp_path / "worse.jsonl", [{"idx": 0, "pred": ["1"], "score": True}])])


def test_humaneval_lines(tmp_path):
    rows = [
        {"task_id": "HumanEval/0", "completion": "a", "passed": True, "result": "passed"},
        {"task_id": "HumanEval/0", "completion": "b", "passed": False, "result": "timed out"},
    ]
    got = load([lines(tmp_path / "samples.jsonl_results.jsonl", rows)])
    assert got.benchmarks == ["HumanEval"] and got.n.tolist() == [2] and got.correct.tolist() == [1]
    with pytest.raises(InputError, match="line 1: passed is missing"):
        load([lines(tmp_path / "bad.jsonl", [{"task_id": "HumanEval/0", "passed": None}])])


def test_counts_side_by_side(tmp_path):
    path = tmp_path / "pair.csv"
    path.write_text("problem,base_correct,grpo_correct,n\n0,1,4,4\n1,0,2,4\n")
    assert load([f"{path}::grpo"]).correct.tolist() == [4, 2] and load([f"{path}::base"]).name == "base"
    with pytest.raises(InputError, match=r"say which, as in .*pair.csv::base \(it has base, grpo\)"):
        load([str(path)])
    with pytest.raises(InputError, match="no counts of 'ppo'"):
        load([f"{path}::ppo"])
