"""Judging programs: the forms of tests, the program in a completion, partial credit, and whose fault a failure is."""

import pytest
from code_kit import problem, verify
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import InputError
from explore_rl.types import Status
from explore_rl.verifiers import Item, VerifierPool
from explore_rl.verifiers.code import CodeVerifier, extract_code
from explore_rl.verifiers.sandbox import Isolation, Program, isolation
from explore_rl.verifiers.sandbox_limits import SandboxLimits, Starved

BODY = "    return text[-1:] + text[:-1]\n"
STUB = '''from typing import List


def shift(text: str) -> str:
    return text[1:] + text[:1]


def unshift(text: str) -> str:
    """Undo shift."""
'''
UNSHIFT = {
    "prompt": STUB,
    "entry_point": "unshift",
    "test": """METADATA = {}

def check(candidate):
    for text in ['abc', 'x', 'hello']:
        assert candidate(shift(text)) == text
""",
}


# --- HumanEval's form ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "completion",
    [
        BODY,  # as a base model continues the stub
        BODY + "\n\nprint(unshift('abc'))\n# and then it goes on\nSo that is it.",
        f"```python\n{STUB}{BODY}```",
        f"```python\n{BODY}```",
        f"I would take the last letter.\n```\ndef unshift(text):\n{BODY}```\n"
        "For example:\n```python\nprint(unshift('bca'))\n```",
        f"<think>```python\ndef unshift(text): return ''\n```</think>```python\ndef unshift(text: List[str]):\n{BODY}",
        "```python\nunshift = lambda text: text[-1:] + text[:-1]\n```",
    ],
)
def test_a_right_solution_in_any_dress(completion):
    assert CodeVerifier()(completion, problem(UNSHIFT)).status is Status.CORRECT


def test_the_stubs_own_helper_is_used_not_the_programs():
    """Otherwise shift and unshift that both do nothing undo each other."""
    verdict = verify("def shift(text): return text\ndef unshift(text): return text", UNSHIFT)
    assert verdict.status is Status.WRONG and "assert candidate(shift(text)) == text" in verdict.reason


def test_truncated_and_empty_are_no_answer():
    assert verify(STUB + BODY, UNSHIFT, truncated=True).status is Status.NO_ANSWER
    for completion in ("", "   \n", "```cpp\nint main() {}\n```", "The answer is 42.", "```python\n```"):
        assert verify(completion, UNSHIFT, fenced=False).status is Status.NO_ANSWER, completion


@pytest.mark.parametrize(
    "program, reason",
    [
        ("def unshift(text) return", "SyntaxError"),
        ("def unshift(text): raise KeyError('no')", "KeyError: 'no'"),
        ("def other(text): return text", "failed: assert candidate(shift(text)) == text"),
        ("1 / 0\ndef unshift(text): return text", "ZeroDivisionError"),
        ("def unshift(text): return map(str, text)", "failed: assert"),
        ("def unshift(text): return object()", "returned a builtins.object, which is not plain data"),
        ("def unshift(text): return unshift(text)", "RecursionError"),
        ("import ctypes\nctypes.string_at(0)\ndef unshift(text): return text", "ended by signal 11"),
    ],
)
def test_what_went_wrong_is_said(program, reason):
    verdict = verify(program, UNSHIFT)
    assert verdict.status is Status.WRONG and reason in verdict.reason and "\n" not in verdict.reason


def test_human_eval_plus_form():
    """inputs and results side by side, compared by a helper with numpy."""
    test = """
import numpy as np

def assertion(out, exp, atol):
    if atol:
        assert np.allclose(out, exp, rtol=1e-7, atol=atol)
    else:
        assert out == exp

def check(candidate):
    inputs = [[[1.0, 2.0]], [[0.5]], [[3.0, 4.0]]]
    results = [0.5, 0.5, 0.25]
    for inp, exp in zip(inputs, results):
        assertion(candidate(*inp), exp, 1e-6)
"""
    tests = {"test": test, "entry_point": "f"}
    assert verify("def f(xs): return xs[0] / xs[1] if xs[1:] else xs[0]", tests, partial=True).score == pytest.approx(
        2 / 3
    )
    table = "def f(xs): return {1.0: .5 + 1e-9, .5: .5, 3.0: .25}[xs[0]]"
    assert verify(table, tests).status is Status.CORRECT
    assert (
        verify(f"import numpy as np\n{table.replace('return', 'return np.float64(')})", tests).status is Status.CORRECT
    )


# --- MBPP's form -----------------------------------------------------------------------------------------------------

MBPP = {
    "test_list": [
        "assert set(f((3, 4), (4, 5))) == {4}",
        "assert g([1, 2]) == [2, 1]",
        "assert math.isclose(h(), 0.5)",
    ],
    "setup": "import math",
}
THREE = "def f(a, b): return tuple(set(a) & set(b))\ndef g(xs): return xs[::-1]\ndef h(): return 1 / 2"


def test_mbpp_asserts_call_several_functions():
    assert verify(THREE, MBPP).status is Status.CORRECT
    assert verify(THREE, MBPP["test_list"][:2]).status is Status.CORRECT
    wrong = verify(THREE.replace("xs[::-1]", "xs"), MBPP)
    assert wrong.status is Status.WRONG and "assert g([1, 2]) == [2, 1]" in wrong.reason and wrong.score == 0.0


def test_names_in_asserts():
    """A function that is called like a built-in one, a module that nobody imported, a type as an argument: MBPP has all
    three."""
    assert verify("def sum(a, b): return 6", ["assert sum(10, 15) == 6"]).status is Status.CORRECT
    assert verify("def f(x): return 28", ["assert f(1) == sys.getsizeof(1)"]).status is Status.CORRECT
    program = "def f(xs, kind): return sum(type(x) is kind for x in xs)"
    assert verify(program, ["assert f([1, 'a', True], int) == 1"]).status is Status.CORRECT
    # but where the tests call a function of their problem's, a built-in one is the real one
    assert verify("def f(x): return []\ndef sum(x): return 3", ["assert sum(f(1)) == 3"]).status is Status.WRONG


def test_mbpp_plus_uses_its_further_tests():
    plus = {"test": "assert g([1, 2, 3]) == [3, 2, 1]"}
    cheat = "def g(xs): return [2, 1]"
    assert verify(cheat, {"test_list": ["assert g([1, 2]) == [2, 1]"]}).status is Status.CORRECT
    assert verify(cheat, {"test_list": ["assert g([1, 2]) == [2, 1]"]}, metadata=plus).status is Status.WRONG


def test_arguments_changed_in_place_are_changed_here_too():
    tests = [
        "xs = [3, 1, 2]\nf(xs)\nassert xs == [1, 2, 3]",
        "d = {1: 2}\nf(d)\nassert d == {}",
        "s = {1}\nf(s)\nassert s == set()",
    ]
    assert verify("def f(x):\n    x.sort() if isinstance(x, list) else x.clear()", tests).status is Status.CORRECT
    assert verify("def f(x):\n    return sorted(x)", tests).status is Status.WRONG


def test_expected_exceptions():
    tests = ["try:\n    f(-1)\n    assert False\nexcept ValueError as error:\n    assert 'below' in str(error)"]
    assert verify("def f(x):\n    raise ValueError('below 0')", tests).status is Status.CORRECT
    for program in ("def f(x): raise KeyError('below 0')", "def f(x): return 0", "import os\ndef f(x): os._exit(0)"):
        assert verify(program, tests).status is Status.WRONG
    swallow = ["try:\n    f(1)\nexcept Exception:\n    pass"]
    assert (
        verify("import os\ndef f(x): os._exit(0)", swallow).status is Status.WRONG
    )  # a program that is gone has passed nothing


def test_iterators_come_back_as_iterators():
    program = "def f(n): return (i * i for i in range(n))\ndef g(n): return range(n)"
    assert (
        verify(program, ["assert list(f(3)) == [0, 1, 4]", "assert g(3) == range(3)", "assert sum(f(4)) == 14"]).status
        is Status.CORRECT
    )
    assert verify(program, ["assert f(3) == [0, 1, 4]"]).status is Status.WRONG  # as in Python itself


def test_partial_credit_counts_asserts():
    program = "def f(x):\n    if x == 2: raise ValueError\n    return x"
    tests = ["assert f(1) == 1", "assert f(2) == 2", "assert f(3) == 3", "assert f(4) == 5"]
    half = verify(program, tests, partial=True)
    assert half.status is Status.WRONG and half.score == 0.5 and half.reason.startswith("ValueError")
    assert verify(program, tests).score == 0.0
    dies = "import os\ndef f(x):\n    if x == 3: os._exit(0)\n    return x"
    assert verify(dies, tests, partial=True).score == 0.5  # what comes after it died did not hold


# --- whose fault -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tests, reason",
    [
        (["import no_such_module\nassert f(1) == 1"], "no_such_module"),
        (["assert f(object()) == 1"], "a test passes a builtins.object"),
        (["assert f(Point(1, 2)) == 1"], "a test passes a Point of the program's own"),
        (["assert 1 == 1"], "they never called the program"),
        (["assert undefined_helper(1) == 1; assert f(1) == 1\nraise NameError('x')"], "NameError"),
    ],
)
def test_broken_tests_are_an_error_not_a_wrong(tests, reason):
    verdict = verify(
        "def f(x): return 1\ndef undefined_helper(x): return 1\nclass Point:\n    def __init__(self, *a): pass", tests
    )
    assert verdict.status is Status.ERROR and reason in verdict.reason and verdict.score is None


@pytest.mark.parametrize(
    "answer",
    [
        None,
        7,
        "",
        "no tests",
        {},
        [],
        {"inputs": [], "outputs": []},
        {"inputs": ["1"], "outputs": []},
        [{"input": "1"}],
    ],
)
def test_a_problem_without_tests_is_the_users_error(answer):
    with pytest.raises(InputError, match="problem 'p'"):
        verify("def f(): pass", answer)


def test_a_sandbox_that_does_not_come_up_is_an_error(monkeypatch):
    verifier = CodeVerifier()
    verifier.held_by = Isolation(namespaces=False, seccomp=True, landlock=True)
    monkeypatch.setattr("explore_rl.verifiers.sandbox.seccomp_filter", lambda *_: b"\xff" * 16)
    verdict = verifier("```python\ndef f(): return 1\n```", problem(["assert f() == 1"]))
    assert verdict.status is Status.ERROR and "prctl(SECCOMP)" in verdict.reason


def test_a_busy_machine_is_a_timeout_not_a_wrong(monkeypatch):
    """Time spent ready to run, but without a processor, is not the program's. (The count is the kernel's; here it is
    set.)"""
    monkeypatch.setattr("explore_rl.verifiers.sandbox.runqueue_wait", lambda pid: 0.9)
    with Program(
        "def f():\n    while True: pass", "calls", limits=SandboxLimits(wall_s=1.0), held_by=isolation()
    ) as program:
        program.define()
        with pytest.raises(Starved):
            program.call("f")
    monkeypatch.setattr(Program, "__enter__", lambda self: (_ for _ in ()).throw(Starved("waited")))
    assert verify("def f(): return 1", ["assert f() == 1"]).status is Status.TIMEOUT


def test_weak_isolation_is_refused_unless_asked_for(monkeypatch):
    weak = Isolation(False, False, False, ("namespaces (unshare: Operation not permitted)",))
    monkeypatch.setattr("explore_rl.verifiers.code.isolation", lambda: weak)
    with pytest.raises(InputError, match="namespaces.*best_effort"):
        CodeVerifier()
    with pytest.raises(InputError, match="processes"):
        CodeVerifier(isolation="best_effort", processes=2)
    assert CodeVerifier(isolation="best_effort").held_by is weak
    assert "not in force: namespaces" in weak.describe()


def test_best_effort_still_judges():
    weak = Isolation(False, False, False)
    verifier = CodeVerifier()
    verifier.held_by = weak
    assert verifier("```python\ndef f(): return 1\n```", problem(["assert f() == 1"])).status is Status.CORRECT


@pytest.mark.parametrize(
    "options",
    [
        {"time_limit_s": 0},
        {"time_limit_s": "10"},
        {"memory_mb": -1},
        {"isolation": "none"},
        {"total_time_s": True},
        {"processes": 1.5},
    ],
)
def test_bad_options(options):
    with pytest.raises(InputError, match="verifier 'code'"):
        CodeVerifier(**options)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="`~ \n\tdef x():python</think>", max_size=200))
def test_extraction_takes_any_text(completion):
    code, _ = extract_code(completion, "x")
    assert isinstance(code, str) and len(code) <= len(completion)


def test_in_the_pool_a_loop_costs_one_item():
    tests = problem(["assert f(1) == 2"])
    right, loop = "```python\ndef f(x): return x + 1\n```", "```python\ndef f(x):\n    while True: pass\n```"
    with VerifierPool({"code": {"time_limit_s": 1.0, "wall_limit_s": 120}}, workers=2) as pool:
        verdicts = pool.verify_all([Item(tests, text) for text in (right, loop, right, right)])
    assert [v.status.value for v in verdicts] == ["correct", "wrong", "correct", "correct"]
    assert verdicts[1].reason.startswith("time limit")
