"""Sums in written steps, held against brute force: every chain over the numbers, by what it computes of each."""

import itertools
import json
import random

import pytest

from analysis.errors import InputError
from explore_rl.cli import main
from explore_rl.config.loading import load_config
from explore_rl.lab.families import family_of
from explore_rl.real.families import KINDS
from explore_rl.real.problems import load
from explore_rl.types import Problem, Status
from explore_rl.verifiers.base import make_verifier

JUDGE = make_verifier("real_steps")


def problem_of(*numbers):
    return Problem("p", "", {"numbers": list(numbers)}, "real_steps")


def chains(values):
    """Every chain of true steps over the values, each value with the sign that it has of each number: (text, signs)."""
    if len(values) == 1:
        yield (), values[0][1]
    for i, j in itertools.permutations(range(len(values)), 2):
        (left, of_left), (right, of_right) = values[i], values[j]
        others = [value for k, value in enumerate(values) if k not in (i, j)]
        for sign, name in ((1, "+"), (-1, "-")):
            result = left + sign * right
            if result < 0:
                continue
            signs = tuple(a + sign * b for a, b in zip(of_left, of_right, strict=True))
            for rest, whole in chains([*others, (result, signs)]):
                yield (f"{left} {name} {right} = {result}.", *rest), whole


@pytest.mark.parametrize("numbers", [(8, 3, -2), (5, 5, 5), (9, -4, -4), (4, 1, -5), (7, 1, -3, 4), (3, 3, -3, -3)])
def test_right_are_the_chains_that_compute_the_sum_and_no_others(numbers):
    count = len(numbers)
    start = [(abs(n), tuple(int(i == k) for k in range(count))) for i, n in enumerate(numbers)]
    wanted = tuple(1 if n > 0 else -1 for n in numbers)
    right: dict[str, bool] = {}
    for steps, signs in chains(start):
        value = steps[-1].rpartition("= ")[2].removesuffix(".")
        text = f" {' '.join(steps)} So the answer is {value}\n"
        # A text may be read in several ways, where values are equal.
        right[text] = right.get(text, False) or signs == wanted
    assert {True, False} == set(right.values()) or min(numbers) > 0 and sum(right.values()) >= 2
    for text, expected in right.items():
        verdict = JUDGE(text, problem_of(*numbers))
        assert (verdict.status is Status.CORRECT) == expected, (text, verdict)
        assert (verdict.mode is not None) == expected and verdict.answer is not None


def test_what_a_program_writes_is_right_and_long_enough_to_be_reasoning():
    for problem in load("real:steps?size=40"):
        assert 1 <= len(problem.traces) <= 2
        for trace in problem.traces:
            verdict = JUDGE(trace.text, problem)
            assert verdict.status is Status.CORRECT and int(verdict.answer) == sum(problem.answer["numbers"])
            assert 30 <= len(trace.text.replace(" ", "")) <= 80
    assert len({JUDGE(trace.text, problem).mode for trace in problem.traces}) == len(problem.traces)


def test_a_chain_with_another_character_is_right_only_where_words_are_not_read():
    [problem] = load("real:steps?terms=3&size=1")
    text = problem.traces[0].text
    rng = random.Random(0)
    for place in range(len(text)):
        other = rng.choice([c for c in "0123456789+-=. \nxQ" if c != text[place]])
        changed = text[:place] + other + text[place + 1 :]
        is_word = text[place].isalpha() and other.isalpha() and place < text.index("So the answer")
        assert (JUDGE(changed, problem).status is Status.CORRECT) == is_word, changed


@pytest.mark.parametrize("text, said", [
    (" First 12 + 30 = 41. Then 41 - 7 = 34. So the answer is 34\n", "step 1: 12+30=42, not 41"),
    (" 12 + 30 = 42. Then 35 - 7 = 28. So the answer is 28\n", "step 2: there is no 35 to use"),
    (" 7 - 12 = 5. 30 + 5 = 35. So the answer is 35\n", "step 1: 7-12 is no whole number from 0 on"),
    (" First 12 + 30 = 42. So the answer is 42\n", "1 of the values are left over"),
    (" 12 + 7 = 19. 19 + 30 = 49. So the answer is 49\n", "step 2: its steps are true, but compute another sum"),
    (" 12 + 30 = 42. 42 - 7 = 35. So the answer is 36\n", "the answer: the steps come to 35, not 36"),
    (" 12 plus 30 is 42. So the answer is 35\n", "step 1 is not written as"),
    (" So the answer is 35\n", "step 1 is missing"),
])  # fmt: skip
def test_the_step_that_fails_is_named(text, said):
    verdict = JUDGE(text, problem_of(12, 30, -7))
    assert verdict.status is Status.WRONG and verdict.mode is None and verdict.reason.startswith(said)
    by_end = make_verifier("real_steps", {"reward": "end"})(text, problem_of(12, 30, -7))
    assert (by_end.status is Status.CORRECT) == text.endswith(" 35\n")
    assert by_end.reason.removeprefix("by its end alone: ") == verdict.reason


def test_no_answer_and_bad_requests():
    problem = problem_of(12, 30, -7)
    text = " First 12 + 30 = 42. Then 42 - 7 = 35. So the answer is 35\n"
    assert JUDGE(text, problem).status is Status.CORRECT
    assert JUDGE(text.rstrip(), problem) == JUDGE(text, problem)  # ended by a token that leaves no text
    assert JUDGE(f"{text}\n", problem).status is Status.NO_ANSWER
    assert JUDGE(text, problem, truncated=True).status is Status.NO_ANSWER
    assert JUDGE(" 35\n", problem).status is Status.NO_ANSWER
    with pytest.raises(InputError, match="must be one of steps, end"):
        make_verifier("real_steps", {"reward": "cot"})
    for numbers in [(), (3,), (-3, 4), (3, 0), (True, 2)]:
        with pytest.raises(InputError, match="expected an answer with numbers"):
            JUDGE.check(problem_of(*numbers))
    with pytest.raises(InputError, match="cannot be listed; draw from the model"):
        family_of(problem)
    with pytest.raises(InputError, match="the split final"):
        load_config("configs/real/grpo.yaml", ["problems.train=real:steps?split=final"])


def test_the_steps_of_draws_that_were_right_by_their_end_are_judged_afterwards(tmp_path, capsys):
    [problem] = load("real:steps?terms=3&digits=1&split=audit&size=1")
    right = next(iter(KINDS["steps"].answers(tuple(problem.answer["numbers"]))))
    lucky = right.replace("First", "First 1 + 1 = 3. Then", 1)
    rows = [
        {"problem_id": problem.id, "sample": i, "completion": f" {text}\n", "correct": True}
        for i, text in enumerate((right, lucky))
    ]
    file, out = tmp_path / "drawn.jsonl", tmp_path / "judged.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = "real:steps?terms=3&digits=1&split=audit&size=1"
    words = ["verify", str(file), "--problems", spec, "--reasoning", "--workers", "1", "--out", str(out)]
    assert main([*words, "--verifier", "real_steps"]) == 0
    judged = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["cot_correct"] for row in judged] == [True, False]
    for other in (["math"], ["real_steps", "--set", "real_steps.reward=end"]):
        assert main([*words, "--overwrite", "--verifier", *other]) == 2
        assert "a verifier that reads every step" in capsys.readouterr().err
