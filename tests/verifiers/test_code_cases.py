"""Judging programs by what they print or return: the forms of cases, and when outputs are the same."""

import base64
import json
import pickle
import zlib

import pytest
from code_kit import verify

from analysis.errors import InputError
from explore_rl.types import Status

DOUBLE = "n = int(input())\nfor x in map(int, input().split()): print(2 * x)"
PAIRS = {"inputs": ["2\n1 2\n", "1\n5\n", "0\n\n"], "outputs": ["2\n4\n", "10", ""]}


def test_standard_input_and_output():
    assert verify(DOUBLE, PAIRS).status is Status.CORRECT
    assert verify(DOUBLE, json.dumps(PAIRS)).status is Status.CORRECT
    reads_all = (
        "import sys\ndata = sys.stdin.read().split()\nprint(*[2 * int(x) for x in data[1:]], sep='\\n')\nsys.exit(0)"
    )
    assert verify(reads_all, PAIRS).status is Status.CORRECT
    wrong = verify("input()\nfor x in input().split(): print(2)", PAIRS)
    assert wrong.status is Status.WRONG and wrong.reason == "case 1 of 3: line 2: expected '4', got '2'"


def test_cases_of_livecodebench():
    cases = [
        {"input": a, "output": b, "testtype": "stdin"} for a, b in zip(PAIRS["inputs"], PAIRS["outputs"], strict=False)
    ]
    packed = base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()
    for answer in (cases, json.dumps(cases), packed):
        assert verify(DOUBLE, answer).status is Status.CORRECT
    calls = [{"input": '[1, 2]\n"a"', "output": '{"a": [1, 2]}', "testtype": "functional"}]
    solution = "class Solution:\n    def named(self, xs, name): return {name: tuple(xs)}"
    assert verify(solution, calls, metadata={"func_name": "named"}).status is Status.CORRECT
    assert (
        verify("def named(xs, name): return {name: xs + [3]}", calls, metadata={"func_name": "named"}).status
        is Status.WRONG
    )
    with pytest.raises(InputError, match="func_name"):
        verify(solution, calls)


def test_a_packed_case_can_only_be_text():
    class Bomb:
        def __reduce__(self):
            return (print, ("harm",))

    with pytest.raises(InputError):
        verify("x", base64.b64encode(zlib.compress(pickle.dumps(Bomb()))).decode())


def test_functions_of_apps():
    assert (
        verify("def f(a, b): return a + b", {"fn_name": "f", "inputs": [[1, 2], [3, 4]], "outputs": [[3], [7]]}).status
        is Status.CORRECT
    )
    assert (
        verify("def f(a, b): return a", {"fn_name": "f", "inputs": [[1, 2]], "outputs": [[3]]}).reason
        == "expected 3, got 1"
    )


@pytest.mark.parametrize(
    "printed, expected, same",
    [
        ("1.50", "1.5", True),
        ("1e3", "1000", True),
        ("a  b ", "a b", True),
        ("1\n2", "1 2", False),
        ("0.30000000000000004", "0.3", False),
        ("-0", "0", True),
        ("YES", "Yes", False),
        ("1_0", "10", False),
        ("nan", "NaN", False),
        ("1", "1\n\n", True),
        ("", "0", False),
    ],
)
def test_when_outputs_are_the_same(printed, expected, same):
    verdict = verify(f"print({printed!r})", {"inputs": [""], "outputs": [expected]})
    assert verdict.status is (Status.CORRECT if same else Status.WRONG)


def test_a_tolerance_can_be_asked_for():
    tests = {"inputs": [""], "outputs": ["0.3 x"]}
    assert verify("print(0.1 + 0.2, 'x')", tests).status is Status.WRONG
    assert verify("print(0.1 + 0.2, 'x')", tests, float_tolerance=1e-9).status is Status.CORRECT
    assert verify("print(0.31, 'x')", tests, float_tolerance=1e-9).status is Status.WRONG


def test_a_program_that_fails_at_the_end_has_not_passed():
    verdict = verify("print(10)\nraise RuntimeError('late')", {"inputs": [""], "outputs": ["10"]})
    assert verdict.status is Status.WRONG and verdict.reason == "RuntimeError: late"


def test_partial_credit_counts_cases():
    tests = {"inputs": ["1", "2", "3", "4"], "outputs": ["1", "2", "0", "4"]}
    assert verify("print(input())", tests, partial=True).score == 0.75
    loops = "x = input()\nwhile x == '2': pass\nprint(x)"
    assert verify(loops, tests, partial=True).score == 0.25  # the rest is not tried
