"""Reward functions of the user's own, in TRL's and in verl's form."""

import asyncio
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from analysis.errors import InputError
from explore_rl.types import Problem, Status
from explore_rl.verifiers import Item, VerifierPool, make_verifier
from explore_rl.verifiers.plugin import PluginVerifier

SOURCE = """
import asyncio, math, time

def trl(prompts, completions, answer, **kwargs):
    return [1.0 if answer[i] in c else 0.0 for i, c in enumerate(completions)]

def trl_columns(completions, level, solution):
    assert level == [3] and solution == ["4"]
    return [0.25]

def trl_chat(prompts, completions, **kwargs):
    assert prompts == [[{"role": "user", "content": "2+2?"}]]
    return [float(completions[0][0]["content"] == "4" and completions[0][0]["role"] == "assistant")]

async def trl_async(prompts, completions, log_extra, log_metric, trainer_state, **kwargs):
    log_extra("x", [1]); log_metric("y", 1.0)
    await asyncio.sleep(0)
    return [1]

def none(prompts, completions, **kwargs): return [None]
def two(prompts, completions, **kwargs): return [1.0, 1.0]
def bare(prompts, completions, **kwargs): return 1.0
def text(prompts, completions, **kwargs): return ["1.0"]
def nan(prompts, completions, **kwargs): return [math.nan]
def high(prompts, completions, **kwargs): return [2.0]
def raises(prompts, completions, **kwargs): raise KeyError("oops")
def hangs(prompts, completions, **kwargs):
    while True: pass

def verl(data_source, solution_str, ground_truth, extra_info=None):
    assert data_source == "sums" and extra_info["index"] == 5
    return float(solution_str.strip() == ground_truth)

def dapo(data_source, solution_str, ground_truth, extra_info=None, strict=False):
    right = solution_str.strip() == ground_truth
    return {"score": 1.0 if right else -1.0, "acc": right, "pred": solution_str + ("!" if strict else "")}

def no_score(data_source, solution_str, ground_truth): return {"acc": True}
def anything(**kwargs): return [1.0] if "completions" in kwargs else 0.5
def neither(x, y): return 1.0
class Scorer:
    @staticmethod
    def score(solution_str, ground_truth): return 1
number = 3
"""
PROBLEM = Problem("p", "2+2?", "4", "x", benchmark="sums", metadata={"level": 3, "extra_info": {"index": 5}})


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "rewards.py"
    file.write_text(SOURCE)
    return str(file)


def verdict(path, name, completion="4", problem=PROBLEM, **options):
    return PluginVerifier(f"{path}:{name}", **options)(completion, problem)


@pytest.mark.parametrize(
    "name, completion, status, score",
    [
        ("trl", "it is 4", "correct", 1.0),
        ("trl", "it is 5", "wrong", 0.0),
        ("trl_columns", "4", "wrong", 0.25),
        ("trl_async", "4", "correct", 1.0),
        ("verl", "4", "correct", 1.0),
        ("verl", "5", "wrong", 0.0),
        ("Scorer.score", "4", "correct", 1.0),
    ],
)
def test_both_forms_are_told_from_their_parameters(path, name, completion, status, score):
    got = verdict(path, name, completion)
    assert (got.status.value, got.score) == (status, score)


def test_an_async_function_is_awaited_where_a_loop_runs_already(path):
    async def notebook():
        return verdict(path, "trl_async")

    with ThreadPoolExecutor(1) as aside:  # Playwright keeps a loop of its own in the main thread
        assert aside.submit(asyncio.run, notebook()).result().status is Status.CORRECT


def test_messages_reach_a_trl_function_as_messages(path):
    chat = Problem("p", [{"role": "user", "content": "2+2?"}], "4", "x")
    assert verdict(path, "trl_chat", problem=chat).status is Status.CORRECT


def test_verl_dictionaries_and_other_ranges(path):
    right = verdict(path, "dapo", low=-1, arguments={"strict": True})
    assert (right.status, right.score, right.answer) == (Status.CORRECT, 1.0, "4!")
    wrong = verdict(path, "dapo", "5", low=-1)
    assert (wrong.status, wrong.score) == (Status.WRONG, 0.0)
    outside = verdict(path, "dapo", "5")
    assert outside.status is Status.ERROR and "-1.0, expected a number from 0 to 1" in outside.reason


@pytest.mark.parametrize(
    "name, reason",
    [
        ("none", "not applicable"),
        ("two", "expected a list of one score"),
        ("bare", "expected a list of one score"),
        ("text", "expected a number"),
        ("nan", "expected a number"),
        ("high", "2.0, expected a number from 0 to 1"),
        ("raises", "KeyError: 'oops'"),
        ("no_score", "without 'score'"),
    ],
)
def test_what_is_no_score_is_an_error_and_never_0(path, name, reason):
    got = verdict(path, name)
    assert got.status is Status.ERROR and got.score is None and reason in got.reason


def test_none_can_mean_no_answer(path):
    assert verdict(path, "none", none="no_answer").status is Status.NO_ANSWER


def test_correct_from(path):
    assert verdict(path, "trl_columns", correct_from=0.25).status is Status.CORRECT


def test_form_can_be_said(path):
    with pytest.raises(InputError, match="cannot tell its form"):
        verdict(path, "anything")
    assert verdict(path, "anything", form="trl").score == 1.0
    assert verdict(path, "anything", form="verl").score == 0.5


@pytest.mark.parametrize(
    "target, options, message",
    [
        ("{path}:neither", {}, "cannot tell its form"),
        ("{path}:missing", {}, "has no 'missing'"),
        ("{path}:number", {}, "not a function"),
        ("{path}", {}, "expected module:function"),
        ("/no/such/file.py:f", {}, "no file /no/such/file.py"),
        ("no_such_module_here:f", {}, "No module named 'no_such_module_here'"),
        ("{path}:trl", {"form": "openrlhf"}, "trl or verl"),
        ("{path}:trl", {"low": 1, "high": 1}, "low < high"),
        ("{path}:trl", {"none": 0}, "error or no_answer"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(path, target, options, message):
    with pytest.raises(InputError, match=message) as caught:
        PluginVerifier(target.format(path=path), **options)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_import(tmp_path):
    (tmp_path / "bad.py").write_text("def f(:\n")
    with pytest.raises(InputError, match="cannot import .*bad.py: SyntaxError"):
        PluginVerifier(f"{tmp_path}/bad.py:f")
    (tmp_path / "bad.py").write_text("raise RuntimeError('no licence')\n")
    with pytest.raises(InputError, match="RuntimeError: no licence"):
        PluginVerifier(f"{tmp_path}/bad.py:f")


def test_a_module_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "my_rewards_module.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in __import__("sys").path if entry])
    assert make_verifier("my_rewards_module:trl")("4", PROBLEM).status is Status.CORRECT


def test_in_the_pool_a_hang_and_an_exception_cost_one_item_each(path):
    items = [Item(PROBLEM, "4", verifier=f"{path}:{name}") for name in ("trl", "hangs", "trl", "raises", "verl")]
    with VerifierPool({f"{path}:hangs": {"limits": {"time_s": 1.0}}}, workers=1) as pool:
        verdicts = pool.verify_all(items)
    assert [v.status.value for v in verdicts] == ["correct", "timeout", "correct", "error", "correct"]
