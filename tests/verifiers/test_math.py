"""The math verifier: what is the same, what is nearly the same, and what is no answer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import InputError
from explore_rl.types import Problem, Status
from explore_rl.verifiers.base import make_verifier
from explore_rl.verifiers.extract import EXTRACTIONS, final_answer
from explore_rl.verifiers.math import MathVerifier

VERIFY = MathVerifier()


def verdict(completion: str, answer, verifier=VERIFY, **metadata):
    return verifier(completion, Problem("p", "", answer, "math", metadata=metadata))


def grade(given_answer: str, answer, **metadata) -> Status:
    return verdict(f"So it is $\\boxed{{{given_answer}}}$.", answer, **metadata).status


# reference, an answer that is the same
SAME = [
    ("12", "12.0"),
    ("12", "+12"),
    ("10,\\!080", "10080"),
    ("58,500", "58500"),
    ("58500", "58,500"),
    ("11,\\! 111,\\! 111,\\! 100", "11111111100"),
    ("\\$32,\\!348", "32348"),
    ("\\$18.90", "18.9"),
    ("\\$18.90", "\\$18.90"),
    (".35625", "\\frac{57}{160}"),
    ("1\\frac{4}{5}", "\\frac{9}{5}"),
    ("1\\frac{4}{5}", "1.8"),
    ("137 \\frac{1}{2}", "137.5"),
    ("\\frac43", "4/3"),
    ("\\frac 59", "\\dfrac{5}{9}"),
    ("\\frac9{19}", "\\frac{9}{19}"),
    ("-\\frac{35}{9}", "\\frac{-35}{9}"),
    ("\\frac{1}{3}", "0.33333333"),
    ("4.5e33", "4.5 \\times 10^{33}"),
    ("4.5e33", "4.5\\cdot 10^{33} \\text{ ergs/s}"),
    ("7.25e-11", "7.25 × 10^{-11}"),
    ("1e-8", "10^{-8}"),
    ("3e8", "300000000"),
    ("-1./3", "-\\frac{1}{3}"),
    ("-3./2", "-1.5"),
    ("+2", "2"),
    ("90^\\circ", "90"),
    ("90^\\circ", "90^{\\circ}"),
    ("90", "90 \\text{ degrees}"),
    ("\\frac{270}7\\text{ degrees}", "\\frac{270}{7}"),
    ("864 \\mbox{ inches}^2", "864"),
    ("5.4 \\text{ cents}", "5.4"),
    ("27", "27 miles"),
    ("45", "45 km/h"),
    ("10", "10 \\mathrm{~cm}^2"),
    ("62.5%", "62.5\\%"),
    ("62.5%", "0.625"),
    ("54", "54\\%"),
    ("52_8", "52_{8}"),
    ("52_8", "52"),
    ("\\text{Evelyn}", "Evelyn"),
    ("\\text{Evelyn}", "\\textbf{evelyn}"),
    ("\\text{(C)}", "C"),
    ("\\text{(C)}", "(C)"),
    ("x=5", "5"),
    ("5", "x=5"),
    ("5", "5 = x"),
    ("y = 2x + 3", "2x+3"),
    ("y = 2x + 3", "y=3+2x"),
    ("5x - 7y + 11z + 4 = 0", "10x-14y+22z=-8"),
    ("MR=SRMC", "SRMC = MR"),
    ("1,-2", "-2, 1"),
    ("1,-2", "x=-2 \\text{ or } x=1"),
    ("1,-2", "1 and -2"),
    ("3, 5, 7", "\\{7,5,3\\}"),
    (["1", "3"], "3,1"),
    ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}"),
    ("\\{1\\pm\\sqrt{5},-2\\}", "-2, 1-\\sqrt5, 1+\\sqrt5"),
    ("-2,-2", "-2"),
    ("160,250,300", "160, 250, 300"),
    ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\pi/2)"),
    ("(3,2)", "(x,y)=(3,2)"),
    ("(3,2)", "x=3, y=2"),
    ("(1,2), (3,4)", "(3,4),(1,2)"),
    ("(3,4]", "(3, 4]"),
    ("x \\in [-2,7]", "[-2,7]"),
    ("[-2,7]", "-2 \\le x \\le 7"),
    ("k \\geqslant 2", "k \\ge 2"),
    ("k \\geqslant 2", "[2,\\infty)"),
    ("(2,\\infty)", "x>2"),
    ("(-\\infty, 2) \\cup (3, \\infty)", "(3,+\\infty)\\cup(-\\infty,2)"),
    (
        "\\begin{pmatrix} -1/3 \\\\ 2/3 \\\\ 5/3 \\end{pmatrix}",
        "\\begin{pmatrix} -\\frac13 \\\\ \\frac23 \\\\ \\frac53 \\end{pmatrix}",
    ),
    ("\\begin{pmatrix} -1 & 0 \\\\ 0 & -1 \\end{pmatrix}", "\\begin{bmatrix} -1 & 0 \\\\ 0 & -1 \\end{bmatrix}"),
    ("3\\sqrt{13}", "\\sqrt{117}"),
    ("3\\sqrt{13}", "3√13"),
    ("11\\sqrt2", "\\frac{22}{\\sqrt{2}}"),
    ("6 - 5i", "-5i+6"),
    ("-2+2 \\sqrt{3} i", "-2+2i\\sqrt{3}"),
    ("288 \\pi", "288π"),
    ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}"),
    ("2k+2", "2(k+1)"),
    ("\\frac{11+9a}{20}", "0.45a+0.55"),
    ("(a+5)(b+2)", "ab+2a+5b+10"),
    ("\\cot x", "\\frac{\\cos x}{\\sin x}"),
    ("x^3+3x-6", "3x + x^{3} - 6"),
    ("2^{1009}", "2 \\cdot 2^{1008}"),
    ("\\frac{100!}{2^{50}}", "100!/2^{50}"),
    ("\\lfloor\\sqrt{n-1}\\rfloor", "\\left\\lfloor \\sqrt{n-1} \\right\\rfloor"),
    ("f(n)=n", "f(x)=x"),
    ("f(x)=2 x", "2x"),
    ("f(x)=x,f(x)=-x", "f(x)=-x \\text{ and } f(x)=x"),
    ("np.arcsin(10/13)", "\\arcsin(\\frac{10}{13})"),
    ("\\arcsin{1.3 \\sin{\\theta_w}}", "\\arcsin(1.3\\sin(\\theta_{w}))"),
    ("\\frac{1}{2a}(\\exp{a*t} - \\exp{-a*t})", "\\frac{e^{at}-e^{-at}}{2a}"),
    ("\\frac{e^{-2 t}}{15}", "\\frac{1}{15}e^{-2t}"),
    ("-\\tau \\ln \\Delta", "\\tau \\ln(1/\\Delta)"),
    ("\\frac{\\cos (2 t)+\\sin (2 t)}{4}", "\\frac{1}{4}\\cos 2t + \\frac14 \\sin 2t"),
    ("(1 - 3e^{-2t} + 2e^{-5t}) u(t)", "u(t)(1+2e^{-5t}-3e^{-2t})"),
    ("\\log 8", "3\\log 2"),
    ("2", "(1+i)(1-i)"),
    ("\\frac{1}{3} E_{1}+\\frac{2}{3} E_{2}", "\\frac{E_1+2E_2}{3}"),
    ("\\hbar \\omega(v+1 / 2)", "\\hbar\\omega v + \\frac{\\hbar\\omega}{2}"),
    ("\\frac{L_{\\odot}}{2 M_{\\odot}^{6}}", "0.5 L_{\\odot} M_{\\odot}^{-6}"),
    ("\\frac{4 A}{3+3 i} e^{i t}", "\\frac{2A(1-i)}{3} e^{it}"),
    ("m c^{2}\\left(\\gamma^{2}-1\\right)", "m c^2 (\\gamma-1)(\\gamma+1)"),
    (27.0, "27"),
    (0.5, "\\frac12"),
]

# reference, an answer that is not
DIFFERENT = [
    ("12", "13"),
    ("12", "-12"),
    ("-12", "12"),
    ("12", "1.2"),
    ("12", "12x"),
    ("12", "12, 13"),
    ("12", "\\{12, 13\\}"),
    ("12", "12 \\text{ or } 13"),
    ("100000007", "100000008"),
    ("100000007", "100000008.0"),
    ("10,\\!080", "10,\\!081"),
    ("2,125", "2"),
    ("2125", "2.125"),
    ("7.25e-11", "7.26e-11"),
    ("7.25e-11", "0"),
    ("3.89e-10", "3.89e-11"),
    ("7.4e-12", "1.3e-12"),
    ("4.5e33", "4.5e32"),
    ("4.5e33", "4.6e33"),
    ("0.006", "0.0061"),
    ("1.6", "1.7"),
    ("\\frac{1}{3}", "0.333"),
    ("\\frac{1}{3}", "\\frac{1}{4}"),
    ("\\frac{1}{10^{20}}", "\\frac{2}{10^{20}}"),
    ("1\\frac{4}{5}", "\\frac{4}{5}"),
    ("62.5%", "6.25"),
    ("54", "0.54"),
    ("52_8", "52_7"),
    ("52_8", "53_8"),
    ("52_8", "528"),
    ("5.4 \\text{ cents}", "5.4 \\text{ dollars}"),
    ("90^\\circ", "91^\\circ"),
    ("\\text{Evelyn}", "Eevlyn"),
    ("\\text{Evelyn}", "Carla"),
    ("\\text{(C)}", "B"),
    ("\\text{even}", "odd"),
    ("x=5", "y=5"),
    ("x=5", "6"),
    ("y = 2x + 3", "y = 2x - 3"),
    ("5x - 7y + 11z + 4 = 0", "5x - 7y + 11z - 4 = 0"),
    ("5x - 7y + 11z + 4 = 0", "4"),
    ("1,-2", "1"),
    ("1,-2", "1,2"),
    ("1,-2", "1,-2,3"),
    (["1", "3"], "1"),
    (["1", "3"], "1,3,5"),
    ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}"),
    ("1 \\pm \\sqrt{19}", "1 \\pm \\sqrt{17}"),
    ("\\{1\\pm\\sqrt{5},-2\\}", "1\\pm\\sqrt{5}"),
    ("\\left( 3, \\frac{\\pi}{2} \\right)", "(\\frac{\\pi}{2}, 3)"),
    ("(2,1)", "(1,2)"),
    ("(2,1)", "(5,3)"),
    ("(-2,1)", "(2,1)"),
    ("(6,31,-1)", "(6,-1,31)"),
    ("(1,2), (3,4)", "(1,2)"),
    ("(1,2), (3,4)", "(2,1),(4,3)"),
    ("(1,2), (3,4)", "1,2,3,4"),
    ("(3,4]", "[3,4]"),
    ("(3,4]", "(3,4)"),
    ("(3,4]", "[3,4)"),
    ("(2,\\infty)", "[2,\\infty)"),
    ("(2,\\infty)", "x<2"),
    ("k \\geqslant 2", "k > 2"),
    ("k \\geqslant 2", "2"),
    ("(-\\infty, 2) \\cup (3, \\infty)", "(-\\infty,2)"),
    ("(-\\infty, 2) \\cup (3, \\infty)", "(2,3)"),
    ("\\begin{pmatrix} -2 \\\\ -14 \\\\ -7 \\end{pmatrix}", "\\begin{pmatrix} -14 \\\\ -2 \\\\ -7 \\end{pmatrix}"),
    ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{pmatrix} 1 & 3 \\\\ 2 & 4 \\end{pmatrix}"),
    ("3\\sqrt{13}", "3"),
    ("3\\sqrt{13}", "\\sqrt{13}"),
    ("3\\sqrt{13}", "10.8"),
    ("6 - 5i", "6 + 5i"),
    ("6 - 5i", "6"),
    ("288 \\pi", "288"),
    ("288 \\pi", "904.8"),
    ("2k+2", "2k-2"),
    ("2k+2", "2n+2"),
    ("2k", "k"),
    ("x^3+3x-6", "x^3+3x+6"),
    ("2^{1009}", "2^{1008}"),
    ("2^{1009}", "2^{1009}+1"),
    ("\\frac{100!}{2^{50}}", "\\frac{100!}{2^{49}}"),
    ("\\cot x", "\\tan x"),
    ("f(n)=n", "f(n)=n+1"),
    ("f(n)=n, g(n)=1", "g(n)=n, f(n)=1"),
    ("m n-\\lfloor m / 2\\rfloor", "m n-\\lfloor n / 2\\rfloor"),
    ("\\frac{n(n+1)}{2}", "\\frac{n(n-1)}{2}"),
    ("-\\tau \\ln \\Delta", "\\tau \\ln \\Delta"),
    ("2.2 \\tau", "2.3 \\tau"),
    ("\\sqrt{x^2}", "x"),
    ("3R^2", "3r^2"),
    ("\\frac{1}{3} E_{1}+\\frac{2}{3} E_{2}", "\\frac{1}{3} E_{2}+\\frac{2}{3} E_{1}"),
    ("\\hbar \\omega(v+1 / 2)", "h \\omega(v+1 / 2)"),
    ("m c^{2}\\left(\\gamma^{2}-1\\right)", "m c^{2}\\left(\\gamma^{2}-2\\right)"),
    ("864 \\mbox{ inches}^2", "864 \\mbox{ inches}^3"),
    ("42", "\\text{forty}"),
    ("42", "???"),
    ("42", "\\frac{1}{0}"),
]


@pytest.mark.parametrize(("answer", "given_answer"), SAME, ids=lambda v: str(v)[:40])
def test_same(answer, given_answer):
    assert grade(given_answer, answer) is Status.CORRECT


@pytest.mark.parametrize(("answer", "given_answer"), DIFFERENT, ids=lambda v: str(v)[:40])
def test_near_misses_are_wrong(answer, given_answer):
    assert grade(given_answer, answer) is Status.WRONG


def test_an_answer_that_breaks_off_is_no_answer():
    for completion in ("so \\boxed{12", "so \\boxed{\\frac{1}{2}", "so \\boxed{}", "so it is 12", ""):
        assert verdict(completion, "12").status is Status.NO_ANSWER, completion
    assert verdict("Answer: (1, 2", "(1,2)").status is Status.NO_ANSWER
    assert VERIFY("\\boxed{12}", Problem("p", "", "12", "math"), truncated=True).status is Status.NO_ANSWER


def test_extraction_levels():
    strict, last = MathVerifier(extract="boxed"), MathVerifier(extract="last_number")
    for completion in ("The answer is 12.", "so\n#### 12", "**Answer:** $12$"):
        assert verdict(completion, "12").status is Status.CORRECT, completion
        assert verdict(completion, "12", strict).status is Status.NO_ANSWER, completion
    assert verdict("we get 12 apples", "12", last).status is Status.CORRECT
    assert verdict("we get 12 apples", "12").status is Status.NO_ANSWER
    # the last box counts, and the box counts more than words
    assert verdict("\\boxed{12} wait, no: \\boxed{13}", "12").status is Status.WRONG
    assert verdict("the answer is 12, so \\boxed{13}", "12").status is Status.WRONG
    # boxing everything does not help
    assert verdict("\\boxed{11}, \\boxed{12}, \\boxed{13}", "12").status is Status.WRONG
    assert verdict("\\boxed{1} and \\boxed{-2}", "1,-2").status is Status.CORRECT


def test_tolerances():
    assert grade("4.2", "4.2", tolerance=0.1) is Status.CORRECT
    assert grade("4.29", "4.2", tolerance=0.1) is Status.CORRECT
    assert grade("4.31", "4.2", tolerance=0.1) is Status.WRONG
    assert grade("1.05, 7", "1, 7", tolerance=[0.1, 0]) is Status.CORRECT
    assert grade("1, 7.05", "1, 7", tolerance=[0.1, 0]) is Status.WRONG
    assert grade("1.62", "1.6", relative_tolerance=0.02) is Status.CORRECT
    assert grade("1.64", "1.6", relative_tolerance=0.02) is Status.WRONG
    assert verdict("\\boxed{2.22e6}", "2.19e6", MathVerifier(relative_tolerance=0.02)).status is Status.CORRECT
    assert (
        verdict("\\boxed{101}", "100", MathVerifier(relative_tolerance=0.02)).status is Status.WRONG
    )  # an integer is met exactly


def test_equal_answers_share_a_mode():
    modes = {verdict(f"\\boxed{{{text}}}", "0.5").mode for text in ("0.5", "\\frac12", "1/2", ".50")}
    assert modes == {"1/2"}
    assert verdict("\\boxed{3, 1}", "2").mode == verdict("\\boxed{1,3}", "2").mode


def test_what_cannot_be_used_is_said():
    for answer in (None, "", [], {"a": 1}, True):
        with pytest.raises(InputError, match="problem p"):
            grade("12", answer)
    with pytest.raises(InputError, match="did you mean 'extract'"):
        make_verifier("math", {"extrct": "boxed"})
    with pytest.raises(InputError, match="extract must be one of boxed, lenient, last_number"):
        make_verifier("math", {"extract": "any"})
    with pytest.raises(InputError, match="relative_tolerance"):
        make_verifier("math", {"relative_tolerance": -1})


# --- fuzzing ---------------------------------------------------------------------------------------------------------

PIECES = ["\\boxed", "{", "}", "(", ")", "[", "]", "\\frac", "\\sqrt", "\\pm", "1", "23", ",", ".", "-", "x", "=",
"<", "\\in", "\\cup", "\\text{", "and",
          " ", "\n", "$", "#### ", "answer is ", "%", "^", "_", "\\\\", "&", "\\begin{pmatrix}", "\\end{pmatrix}",
          "é", "\\infty", "e", "10^"]  # fmt: skip
texts = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))


@given(texts, st.sampled_from(EXTRACTIONS))
def test_extraction_never_fails(text, how):
    found = final_answer(text, how)
    assert found is None or (found and found == found.strip())


@given(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.sampled_from(["12", "(1,2)", "x=5", "\\frac{1}{2}", "1,2"]),
)
@settings(deadline=None, max_examples=150)
def test_any_box_gets_a_verdict(text, answer):
    assert verdict(f"\\boxed{{{text}}}", answer).status in (Status.CORRECT, Status.WRONG, Status.NO_ANSWER)


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_integers_are_equal_only_to_themselves(one, other):
    expected = Status.CORRECT if one == other else Status.WRONG
    assert grade(f"{one:,}", str(other)) is expected
    assert grade(str(one), f"{other}.0") is expected


# --- the real benchmarks, where they are -----------------------------------------------------------------------------

FOLDER = os.environ.get("EXPLORE_RL_BENCHMARKS")


@pytest.mark.skipif(
    not FOLDER, reason="EXPLORE_RL_BENCHMARKS does not name a folder with aime24.jsonl, ..., gsm8k.jsonl"
)
@pytest.mark.parametrize(
    ("name", "count", "rate"),
    [
        ("aime24", 30, 1.0),
        ("amc23", 40, 1.0),
        ("math500", 500, 0.99),
        ("minerva_math", 272, 0.97),
        ("olympiadbench", 675, 0.97),
        ("gsm8k", 1319, 0.99),
    ],
)
def test_reference_solutions_are_correct(name, count, rate):
    rows = [json.loads(line) for line in (Path(FOLDER) / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == count
    right, near_misses = 0, []
    for row in rows:
        problem, solution = _problem_and_solution(name, row)
        right += VERIFY(solution, problem).status is Status.CORRECT
        stated = final_answer(solution)
        for miss in _near_misses(stated):
            if VERIFY(f"\\boxed{{{miss}}}", problem).status is Status.CORRECT:
                near_misses.append((problem.answer, miss))
        box = solution.rfind("\\boxed")
        if (
            box >= 0
            and VERIFY(solution[: solution.find(stated, box) + len(stated) - 1], problem).status is not Status.NO_ANSWER
        ):
            near_misses.append((problem.answer, "cut off"))
    assert right / count >= rate
    assert not near_misses


def _problem_and_solution(name: str, row: dict) -> tuple[Problem, str]:
    if name == "gsm8k":
        return Problem("p", "", row["answer"].rpartition("####")[2].strip(), "math"), row["answer"]
    if name == "olympiadbench":
        answer, metadata = row["final_answer"][0], {"tolerance": float(row["error"])} if row["error"] else {}
        return Problem("p", "", answer, "math", metadata=metadata), f"\\boxed{{{answer}}}"
    if name == "minerva_math":
        return Problem("p", "", final_answer(row["solution"], "boxed"), "math"), row["solution"]
    return Problem("p", "", row["answer"], "math"), row.get("solution", f"\\boxed{{{row['answer']}}}")


def _near_misses(answer: str) -> list[str]:
    """Other answers that look like this one: a changed number, a dropped or added minus, a missing or an additional
    part, swapped coordinates."""
    import re

    misses = []
    if numbers := list(re.finditer(r"(?<![\d.,_{A-Za-z])\d+(?![\d.,]|\s*[}eE])", answer)):
        at = numbers[-1]
        misses.append(f"{answer[: at.start()]}{int(at.group()) + 1}{answer[at.end() :]}")
    if answer.startswith("-") and "," not in answer and "\\pm" not in answer:
        misses.append(answer[1:])
    elif re.match(r"[\d.]", answer) and answer.strip("0., ") and "," not in answer:
        misses.append(f"-{answer}")
    if re.fullmatch(r"[-\d]+(, ?[-\d]+)+", answer) and not re.fullmatch(r"\d{1,3}(,\d{3})+", answer):
        parts = re.split(", ?", answer)
        if len(set(parts)) == len(parts):
            misses.append(", ".join(parts[1:]))
        misses.append(", ".join([*parts, "12345"]))
    if (pair := re.fullmatch(r"\$?\(([^(),]+),([^(),]+)\)\$?", answer)) and pair[1].strip() != pair[2].strip():
        misses.append(f"({pair[2]},{pair[1]})")
    return misses
