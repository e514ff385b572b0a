"""Kinds of mistakes of the code verifier that public bug reports found, with inputs of our own beside each."""

from __future__ import annotations

import pytest

from analysis.errors import InputError
from explore_rl.types import Problem, Status
from explore_rl.verifiers import make_verifier

C, W = Status.CORRECT, Status.WRONG


def code(program: str, tests, metadata=None, **options):
    verify = make_verifier("code", options)
    return verify(f"```python\n{program}\n```", Problem("p", "", tests, "code", metadata=metadata or {}))


def io(stdin: str, stdout: str) -> dict:
    return {"inputs": [stdin], "outputs": [stdout]}


def case(given: str, expected: str, kind: str = "stdin") -> dict:
    return {"input": given, "output": expected, "testtype": kind}


@pytest.mark.parametrize(
    ("program", "stdin", "status"),
    [
        ("print(2)\nexit()", "", C),
        ("print(2)\nquit()", "", C),
        ("print(2)\nexit(0)\nprint(3)", "", C),
        ("print(2)\nexit(1)", "", W),
        ("print(2)\nquit('no')", "", W),
        ("print(open('/dev/stdin').read().strip())", "2", C),
        ("import sys\nwith open('/dev/stdin', 'rb') as f:\n    print(int(f.readline()))", "2\n3", C),
        ("open('/dev/stdout', 'w').write('2')", "", C),
        ("print(open('/dev/fd/0').read().strip())", "2", C),
        ("print(open('/proc/self/fd/0').read().strip())", "2", C),
        ("help\ncopyright\nprint(2)", "", C),
    ],
)
def test_what_an_ordinary_interpreter_has(program, stdin, status):
    assert code(program, io(stdin, "2")).status is status


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("print(math.gcd(4,6), Counter('aa')['a'])", "2 2"),
        ("print(pow(2, 5, 7), inf > 1, sorted(permutations([1, 2]))[0])", "4 True (1, 2)"),
        ("def f(x: List[int]) -> Optional[int]:\n    return heappop(x)\nprint(f([3]))", "3"),
        ("def f(n):\n    return 0 if n == 0 else 1 + f(n - 1)\nprint(f(5000))", "5000"),
        ("print(10**5000)", "1" + "0" * 5000),
        ("print(len(str(int('7' * 6000))))", "6000"),
    ],
)
def test_programs_run_as_livecodebench_runs_them(program, expected):
    assert code(program, [case("", expected)]).status is C


def test_the_prelude_serves_functions_and_can_be_chosen():
    solution = (
        "class Solution:\n    def f(self, n: int) -> List[int]:\n        return [] if n == 0 else self.f(n - 1)\n"
    )
    tests = [case("5000", "[]", "functional")]
    assert code(solution, tests, {"func_name": "f"}).status is C
    without = code(solution, tests, {"func_name": "f"}, prelude="none")
    assert without.status is W and "List" in without.reason
    assert code("print(helper())", io("", "7"), prelude="def helper():\n    return 7").status is C
    assert code(solution, tests, {"func_name": "f"}, recursion_limit=200).status is W
    with pytest.raises(InputError, match="recursion_limit"):
        make_verifier("code", {"recursion_limit": 5})


@pytest.mark.parametrize(
    ("program", "tests", "status"),
    [
        ("def f(a: Lisst[int]) -> Nope:\n    return a", ["assert f(1)==1"], W),
        ("def f(a: int): pass\nprint(f.__annotations__['a'])", io("", "<class 'int'>"), C),
        ("from __future__ import annotations\ndef f(a: Nope):\n    return a", ["assert f(1)==1"], C),
        ("class A:\n    x: Missing = 1\nprint(1)", io("", "1"), W),
    ],
)
def test_programs_are_under_the_rules_of_a_file_of_their_own(program, tests, status):
    assert code(program, tests).status is status


def test_public_and_private_cases_are_both_judged():
    tests = {"public": [case("1", "2")], "private": '[{"input": "5", "output": "6", "testtype": "stdin"}]'}
    assert code("print(6 if int(input()) == 5 else 0)", tests).status is W
    assert code("print(2 if int(input()) == 1 else 0)", tests).status is W
    assert code("print(int(input()) + 1)", tests).status is C
    assert code("print(int(input()) + 1)", tests | {"private": ""}).status is C


def test_a_fence_of_five_is_closed_by_three():
    text = "`````python\nprint(1)\n```\nso\n```python\nprint(2)\n```"
    verdict = make_verifier("code")(text, Problem("p", "", io("", "2"), "code"))
    assert verdict.status is C


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        ("```python\nprint('</s>')\n```", "print('</s>')\n"),
        ('print("<|im_end|>", 7)', 'print("<|im_end|>", 7)'),
        ("print(7)<|im_end|>\n<|im_start|>user", "print(7)"),
        ("```python\nprint(7)\n```</s>", "print(7)\n"),
        ("<answer>print(7)</answer>", "print(7)"),
        ("<think>print(6)</think>\n<answer>\n```python\nprint(7)\n```\n</answer>", "print(7)\n"),
        ('```python\ns = """\n<answer>\n"""\n```', 's = """\n<answer>\n"""\n'),
    ],
)
def test_tags_and_tokens_round_a_program_and_in_it(completion, program):
    from explore_rl.verifiers.code import extract_code

    assert extract_code(completion)[0] == program
