"""Choice, text, numeric, format and combined verifiers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import InputError
from explore_rl.types import Problem, Status
from explore_rl.verifiers import make_verifier

C, W, N = Status.CORRECT, Status.WRONG, Status.NO_ANSWER
DOSES = {"choices": {"A": "5 mg", "B": "10 mg", "C": "Aspirin and heparin"}}


def grade(name: str, completion: str, answer, options=None, truncated=False, **metadata):
    return make_verifier(name, options)(
        completion, Problem("p", "", answer, name, metadata=metadata), truncated=truncated
    )


@pytest.mark.parametrize(
    ("completion", "status"),
    [
        ("So \\boxed{B}.", C),
        ("\\boxed{\\text{(B)}}", C),
        ("The answer is B.", C),
        ("The answer is (B) 10 mg.", C),
        ("**Answer: B**", C),
        ("Answer: B. 10 mg", C),
        ("Answer: 10 mg", C),
        ("I weigh A and C.\nHence option B", C),
        ("thinking...\n(B)", C),
        ("Answer: b", C),
        ("The answer is B because it is higher.", C),
        ("The answer is (B), which is higher.", C),
        ("The answer is A.", W),
        ("Answer: B or C", W),
        ("Answer: B, C", W),
        ("\\boxed{A}, \\boxed{B}", W),
        ("Answer: B) 5 mg", W),  # the letter of one option, the text of another
        ("Answer: 5 mg", W),
        ("Answer: E", W),
        ("Answer: none of these", W),
        ("option A or option B", N),
        ("B seems plausible, but so does C", N),
        ("", N),
    ],
)
def test_choice(completion, status):
    assert grade("choice", completion, "B", **DOSES).status is status


def test_choice_references():
    for answer in ("B", "(B)", 1, "10 mg"):
        assert grade("choice", "Answer: B", answer, **DOSES).status is C
    assert grade("choice", "Answer: C. Aspirin and heparin", 2, **DOSES).mode == "C"
    assert grade("choice", "Answer: b", "B").status is C
    assert grade("choice", "the answer is B", "B", {"extract": "boxed"}).status is N
    assert grade("choice", "Answer: B", "B", truncated=True).status is N
    for answer in (7, "Z", None, "20 mg"):
        with pytest.raises(InputError, match="problem p"):
            grade("choice", "Answer: B", answer, **DOSES)


def test_text():
    for completion in ("the Élysée Palace", "Answer: Elysee palace.", "\\boxed{\\text{Élysée Palace}}"):
        assert (
            grade(
                "text",
                completion if ":" in completion or "box" in completion else f"The answer is {completion}",
                "Élysée Palace",
            ).status
            is C
        )
    assert grade("text", "Answer: Louvre", ["Élysée Palace", "Elysee"]).status is W
    assert grade("text", "Elysee", ["Élysée Palace", "Elysee"], {"extract": "whole"}).status is C
    assert grade("text", "Elysee", "Elysee").status is N
    assert grade("text", "Answer: ...", "Elysee").status is N
    # F1 by hand: 3 words given, 2 wanted, 2 in common: precision 2/3, recall 1, F1 0.8
    verdict = grade("text", "Answer: Palais Élysée Paris", "Paris Elysee", {"metric": "f1", "threshold": 0.7})
    assert verdict.status is C and verdict.score == pytest.approx(0.8)
    assert grade("text", "Answer: Palais Élysée Paris", "Paris Elysee", {"metric": "f1", "threshold": 0.9}).status is W
    with pytest.raises(InputError, match="threshold has a meaning for metric f1 only"):
        make_verifier("text", {"threshold": 0.5})


@pytest.mark.parametrize(
    ("given_answer", "answer", "options", "status"),
    [
        ("1,234", 1234, {}, C),
        ("1234.0", "1,234", {}, C),
        ("1235", 1234, {}, W),
        ("-1234", 1234, {}, W),
        ("\\frac{1}{4}", 0.25, {}, C),
        ("25\\%", 0.25, {}, C),
        ("3 \\times 10^{8}", 3e8, {}, C),
        ("12 kg", 12, {}, C),
        ("9.9", 10, {"absolute_tolerance": 0.1}, C),
        ("9.89", 10, {"absolute_tolerance": 0.1}, W),
        ("1.01e-10", 1e-10, {"relative_tolerance": 0.01}, C),
        ("1.02e-10", 1e-10, {"relative_tolerance": 0.01}, W),
        ("x", 10, {}, W),
        ("1, 2", 1, {}, W),
    ],
)
def test_numeric(given_answer, answer, options, status):
    assert grade("numeric", f"\\boxed{{{given_answer}}}", answer, options).status is status


@pytest.mark.parametrize(
    ("answer", "given_answer", "right"),
    [
        ("\\$5", "5 cents", False),
        ("5 m", "5 mm", False),
        ("5 m", "500 cm", True),
        ("5 m", "5", True),
        ("5", "5 m", True),
        ("3 kg", "3 litres", False),
        ("2 hours", "120 minutes", True),
        ("5", "5 negative", False),
        ("0.05", "5%", True),
        # no algebra here: every way of writing a number is read by us
        ("0.5", "\\dfrac12", True),
        ("0.1", "\\frac1{10}", True),
        ("0.5", "\\frac{1}2", True),
        ("1000", "10^3", True),
        ("0.001", "10^{-3}", True),
    ],
)
def test_numeric_minds_units_that_are_given(answer, given_answer, right):
    status = grade("numeric", f"\\boxed{{{given_answer}}}", answer).status
    assert status is (Status.CORRECT if right else Status.WRONG)


def test_numeric_refuses_a_reference_that_is_no_number():
    for answer in (True, None, "x", [1]):
        with pytest.raises(InputError, match="problem p"):
            grade("numeric", "\\boxed{1}", answer)
    with pytest.raises(InputError, match="absolute_tolerance"):
        make_verifier("numeric", {"absolute_tolerance": float("nan")})


@pytest.mark.parametrize(
    ("completion", "status", "partial"),
    [
        ("<think>a</think><answer>b</answer>", C, 1.0),
        ("\n<think>a\nb</think>\n\n<answer>b</answer>\n", C, 1.0),
        ("<think>a</think>", W, 0.5),
        ("<think>a</think><answer>b", W, 0.5),
        ("<answer>b</answer><think>a</think>", W, 0.5),
        ("<think>a</think> so <answer>b</answer>", W, 0.5),
        ("<think></think><answer>b</answer>", W, 0.5),
        ("<think>a<think>b</think></think><answer>b</answer>", W, 0.5),
        ("<think>a</think><answer>b</answer><answer>c</answer>", W, 0.5),
        ("<think><answer>b</answer></think>", W, 0.5),
        ("nothing", W, 0.0),
        ("", W, 0.0),
    ],
)
def test_format(completion, status, partial):
    verdict = grade("format", completion, None)
    assert (verdict.status, verdict.score) == (status, float(status is C))
    assert status is C or verdict.reason
    assert grade("format", completion, None, {"partial": True}).score == partial


def test_format_that_the_template_began():
    assert grade("format", "a</think><answer>b</answer>", None, {"prefilled": True}).status is C
    assert grade("format", "<think>a</think><answer>b</answer>", None, {"prefilled": True}).status is W


ANSWER_AND_FORMAT = {
    "kind": "combine",
    "parts": [{"verifier": "math", "weight": 0.9}, {"verifier": "format", "weight": 0.1}],
}


def test_combine():
    formatted = "<think>1+1</think><answer>\\boxed{2}</answer>"

    def combined(completion, answer="2", **options):
        return grade("both", completion, answer, ANSWER_AND_FORMAT | options)

    assert (combined(formatted).status, combined(formatted).score) == (C, 1.0)
    assert combined("\\boxed{2}").score == pytest.approx(0.9) and combined("\\boxed{2}").status is C
    assert (combined(formatted, "3").status, combined(formatted, "3").score) == (W, pytest.approx(0.1))
    assert combined(formatted, "3", gate=True).score == 0
    assert combined("<think>a</think>").status is N
    assert (
        combined("<think>a</think><answer>b</answer>").status,
        combined("<think>a</think><answer>b</answer>").score,
    ) == (W, pytest.approx(0.1))
    assert "format: <think> is there 0 times" in combined("\\boxed{2}").reason


def test_an_error_of_a_part_is_an_error_of_the_whole(tmp_path):
    (tmp_path / "broken.py").write_text(
        "def f(data_source, solution_str, ground_truth):\n    raise RuntimeError('down')\n"
    )
    parts = [{"verifier": "math"}, {"verifier": f"{tmp_path / 'broken.py'}:f"}]
    verdict = grade("both", "\\boxed{2}", "2", {"kind": "combine", "parts": parts})
    assert verdict.status is Status.ERROR and verdict.score is None and "down" in verdict.reason


def test_combine_refuses_what_it_cannot_use():
    for parts, message in [
        ([], "parts must be a list"),
        ([{"weight": 1}], "part 1"),
        ([{"verifier": "math", "wieght": 1}], "did you mean 'weight'"),
        ([{"verifier": "math", "weight": 0}], "above 0"),
        ([{"verifier": "maths"}], "did you mean 'math'"),
        ([{"verifier": "math", "options": {"x": 1}}], "unknown option 'x'"),
    ]:
        with pytest.raises(InputError, match=message):
            make_verifier("combine", {"parts": parts})


@given(st.text(alphabet=st.sampled_from("ABab(){}<>/:. \n$\\answerthinkboxed1,5%"), max_size=80))
def test_no_completion_makes_them_fail(completion):
    for name, answer in (("choice", "B"), ("text", "b"), ("numeric", 1), ("format", None)):
        assert grade(name, completion, answer).status in (C, W, N)
