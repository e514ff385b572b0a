"""Kinds of mistakes of loaders and templates that public bug reports found, with inputs of our own beside each."""

from __future__ import annotations

import json

import pytest

from analysis.errors import InputError
from explore_rl.problems import load_problems, load_template
from explore_rl.problems.template_checks import check
from explore_rl.problems.templates import template_hash
from explore_rl.types import Problem, Status
from explore_rl.verifiers import make_verifier

QUESTION = Problem("q", "What is 1 + 1?", "2", "math")


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


MBPP = {"task_id": 1, "text": "Add.", "code": "", "test_list": ["assert f(1)==1"]}
HUMANEVAL = {
    "task_id": "h/0",
    "prompt": "def f():",
    "entry_point": "f",
    "test": "def check(f): assert f()",
    "canonical_solution": "",
}
CASES = '[{"input": "1", "output": "2", "testtype": "stdin"}]'
LCB = {"question_id": "q", "question_content": "Add.", "public_test_cases": CASES, "private_test_cases": ""}


@pytest.mark.parametrize(
    "row",
    [
        {"problem": "q", "answer": "4", "solution": ""},
        {"problem": "q", "answer": "4", "solution": "  \n"},
        {"question": "q", "context": "", "final_answer": ["4"], "error": "", "unit": ""},
        MBPP,
        HUMANEVAL,
        LCB,
        {"id": "a", "prompt": "q", "answer": "4", "verifier": "math", "benchmark": ""},
        {"prompt": "q", "answer": "4", "completion": "", "benchmark": ""},
    ],
)
def test_an_optional_column_may_be_empty(tmp_path, row):
    (problem,) = load_problems(jsonl(tmp_path / "s.jsonl", row))
    assert problem.traces == ()


def test_an_index_is_an_index_and_the_options_are_shown(tmp_path):
    row = {"question": "How many?", "choices": ["1", "2", "3", "4"], "answer": 1}
    (problem,) = load_problems(jsonl(tmp_path / "m.jsonl", row), verifier="choice")
    verify = make_verifier("choice")
    assert problem.answer == 1 and problem.prompt == "How many?\n\nA. 1\nB. 2\nC. 3\nD. 4"
    assert verify("The answer is B.", problem).status is Status.CORRECT
    assert verify("The answer is A.", problem).status is Status.WRONG
    shown = row | {"question": "How many: A. 1, B. 2, C. 3, D. 4?"}
    assert load_problems(jsonl(tmp_path / "m.jsonl", shown), verifier="choice")[0].prompt == shown["question"]
    arc = {"question": "Which?", "choices": {"label": ["A", "B"], "text": ["1", "2"]}, "answer": "B"}
    for other in (row | {"answer": 1.0}, arc):
        (problem,) = load_problems(jsonl(tmp_path / "a.jsonl", other), verifier="choice")
        assert verify("The answer is 2.", problem).status is Status.CORRECT and "B. 2" in problem.prompt
    (number,) = load_problems(jsonl(tmp_path / "n.jsonl", {"question": "q", "answer": 0.5}), verifier="numeric")
    assert number.answer == 0.5


def search_r1(truth):
    return {
        "data_source": "searchR1_nq",
        "prompt": [{"role": "user", "content": "Capital?"}],
        "ability": "fact-reasoning",
        "reward_model": {"style": "rule", "ground_truth": truth},
        "extra_info": {"index": 0, "split": "train"},
    }


def test_search_r1_answers_are_read(tmp_path):
    for truth in ({"target": ["Paris"]}, {"target": "Paris"}, ["Paris"], "Paris"):
        (problem,) = load_problems(jsonl(tmp_path / "sr.jsonl", search_r1(truth)))
        assert make_verifier("text")("<answer>Paris</answer>", problem).status is Status.CORRECT


OWN = {"id": "a", "prompt": "q"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (search_r1({"goal": ["Paris"]}), "needs an answer that is text"),
        (OWN | {"verifier": "code", "answer": "[]"}, "no tests in its answer"),
        (OWN | {"verifier": "code", "answer": {"test_code": "check(f)"}}, "no tests in its answer"),
        (OWN | {"verifier": "code", "answer": "assert f("}, "its tests are no Python program"),
        (OWN | {"verifier": "countdown", "answer": {"numbers": [1, 2]}}, "numbers and target"),
        (OWN | {"verifier": "choice", "answer": 7, "choices": ["a", "b"]}, "must be one of A, B"),
        (OWN | {"verifier": "choice", "answer": "Z3"}, "must be one of A, B"),
        (OWN | {"verifier": "text", "answer": "..."}, "needs an answer that is text"),
        (OWN | {"verifier": "numeric", "answer": "many"}, "needs an answer that is a number"),
    ],
)
def test_a_reference_that_cannot_be_judged_is_refused_at_once(tmp_path, row, says):
    with pytest.raises(InputError, match=rf"x\.jsonl:1: key 'answer': .*{says}"):
        load_problems(jsonl(tmp_path / "x.jsonl", row))


def test_answers_that_nobody_can_meet_are_said(tmp_path, caplog):
    rows = [
        {"problem": "p", "answer": "proof"},
        {"problem": "q", "answer": "notfound"},
        {"problem": "r", "answer": "3"},
    ]
    assert len(load_problems(jsonl(tmp_path / "n.jsonl", *rows))) == 3
    assert "2 answers are proof or notfound" in caplog.text


def test_livecodebench_is_judged_by_both_columns(tmp_path):
    private = '[{"input": "5", "output": "6", "testtype": "stdin"}]'
    (problem,) = load_problems(jsonl(tmp_path / "l.jsonl", LCB | {"private_test_cases": private}))
    verify = make_verifier("code")
    assert verify("```python\nprint(6 if int(input())==5 else 0)\n```", problem).status is Status.WRONG
    assert verify("```python\nprint(int(input())+1)\n```", problem).status is Status.CORRECT


# --- templates --------------------------------------------------------------------------------------------------------

PUBLISHED = """{%- if not messages %}
{{ raise_exception('empty') }}
{%- endif %}
{% for message in messages %}
<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}
<think></think>
{% endif %}
{% endif %}
"""


@pytest.mark.parametrize(
    "text",
    [
        PUBLISHED,
        "{% for m in messages %}\n{{ m.content }}\n{% endfor %}\nA:",
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% "
        "else %}"
        "{{ m.content }}{% endif %}{% endfor %}",
        "{{ bos_token }}{{ messages | tojson }}{% if tools %}{{ tools }}{% endif %}",
        "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}{{ "
        "strftime_now('%Y') }}",
    ],
)
def test_a_jinja_file_renders_as_the_tokenizer_does(tmp_path, make_tokenizer, text):
    path = tmp_path / "chat_template.jinja"
    path.write_text(text)
    tokenizer = make_tokenizer["llama"](text)
    assert load_template(str(path)).render(QUESTION, tokenizer) == load_template("chat").render(QUESTION, tokenizer)


def test_variables_reach_a_chat_template(tmp_path, make_tokenizer):
    tokenizer = make_tokenizer["qwen"](PUBLISHED)
    plain, without = load_template("chat"), load_template("chat?enable_thinking=false")
    assert "<think>" not in plain.render(QUESTION, tokenizer)
    assert without.render(QUESTION, tokenizer) == plain.render(QUESTION, tokenizer) + "<think></think>\n"
    assert template_hash(plain, tokenizer) != template_hash(without, tokenizer)
    assert load_template("chat?enable_thinking=False").render(QUESTION, tokenizer) == without.render(
        QUESTION, tokenizer
    )
    (tmp_path / "t.jinja").write_text(PUBLISHED)
    own = load_template(f"{tmp_path / 't.jinja'}?enable_thinking=false")
    assert own.render(QUESTION, tokenizer) == without.render(QUESTION, tokenizer)
    with pytest.raises(InputError, match="has no variable 'enable_thnking'"):
        check(tokenizer, load_template("chat?enable_thnking=false"))
    with pytest.raises(InputError, match="only chat and Jinja templates take variables"):
        load_template("plain?x=1")
    with pytest.raises(InputError, match="expected NAME=VALUE"):
        load_template("chat?thinking")


def test_the_hash_is_of_what_is_rendered(make_tokenizer, monkeypatch):
    dated = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    tokenizer, chat = make_tokenizer["qwen"](dated), load_template("chat")
    today = template_hash(chat, tokenizer)
    assert any("writes the date" in line for line in check(tokenizer, chat))
    _next_day(monkeypatch)
    assert template_hash(chat, tokenizer) != today


def _next_day(monkeypatch):
    """transformers asks datetime.now() for the date; its module gets one that is a day ahead."""
    import datetime

    from transformers.utils import chat_template_utils

    class Tomorrow(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.now(tz) + datetime.timedelta(days=1)

    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)


def test_marks_and_line_ends_of_other_editors_stay_out_of_prompts(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbfQ: {prompt}\r\nA:\r\n")
    assert load_template(str(tmp_path / "t.txt")).render(QUESTION) == "Q: What is 1 + 1?\nA:"


def test_a_chat_template_without_the_begin_token_is_said(make_tokenizer):
    bare = make_tokenizer["llama"](
        "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %} A:{% endif %}"
    )
    assert any("writes no begin token" in line for line in check(bare, load_template("chat")))
    assert not any("begin token" in line for line in check(make_tokenizer["llama"](), load_template("chat")))


def test_a_verifier_that_is_given_acts_on_problems_of_a_scheme_too():
    given = load_problems("lab:countdown?size=2", verifier="math", benchmark="mine")
    assert {(p.verifier, p.benchmark) for p in given} == {("math", "mine")}
    with pytest.raises(InputError, match="unknown verifier 'maths'"):
        load_problems("lab:countdown?size=2", verifier="maths")
