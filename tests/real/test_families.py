"""Plain lines of arithmetic: every listed answer is right and nothing else is; splits have no problem in common."""

import itertools

import pytest

from analysis.errors import InputError
from explore_rl.config.loading import load_config
from explore_rl.lab.families import answers_of, family_of
from explore_rl.problems.loading import load_problems
from explore_rl.real import families
from explore_rl.real.problems import SHOTS, load, specs
from explore_rl.types import Status
from explore_rl.verifiers.base import make_verifier

ONE_A_FAMILY = ["real:sum?terms=3", "real:product?by=2", "real:mixed", "real:gcd", "real:pairs?most=40"]
STEPS = "real:steps?terms=3&digits=1"


@pytest.mark.parametrize("name", ONE_A_FAMILY)
def test_what_is_listed_is_right_and_what_differs_by_a_character_is_not(name):
    for problem in load_problems(f"{name}&size=3" if "?" in name else f"{name}?size=3"):
        judge = make_verifier(problem.verifier)
        listed = answers_of(problem)
        assert listed and [trace.text for trace in problem.traces] == listed
        for completion in listed:
            verdict = judge(completion, problem)
            assert verdict.status is Status.CORRECT and verdict.mode == family_of(problem).mode(completion)
            bare = completion.strip()
            for other in (bare, f" {bare}", f"{bare}\n", f"  {bare}\n", f" {bare} \n", f" 0{bare}\n", f" {bare}0\n"):
                assert judge(other, problem).status is Status.WRONG
        assert judge(listed[0], problem, truncated=True).status is Status.NO_ANSWER
        assert judge("\n", problem).status is Status.NO_ANSWER


@pytest.mark.parametrize("name", ONE_A_FAMILY)
def test_a_reward_for_the_form_takes_any_line_that_is_written_as_an_answer(name):
    [problem] = load(f"{name}&size=1" if "?" in name else f"{name}?size=1")
    judge = make_verifier(problem.verifier, {"reward": "form"})
    right = answers_of(problem)[0]
    other = right.replace(right[1], "7" if right[1] != "7" else "8")
    assert judge(right, problem) == make_verifier(problem.verifier)(right, problem)
    verdict = judge(other, problem)
    assert verdict.status is Status.CORRECT and verdict.mode is None and verdict.reason == "by its form alone"
    for bad in (other.strip(), f" {other}", other.rstrip(), f"{right.rstrip()} and so\n", " x\n"):
        assert judge(bad, problem).status is Status.WRONG
    with pytest.raises(InputError, match="must be one of right, form"):
        make_verifier(problem.verifier, {"reward": "end"})


def test_questions_by_hand():
    assert families.completions("real_mixed", {"numbers": [12, 30, 7]}) == [" 35\n"]
    assert families.completions("real_gcd", {"numbers": [12, 30]}) == [" 6\n"]
    assert families.completions("real_product", {"numbers": [12, 3]}) == [" 36\n"]
    pairs = families.completions("real_pairs", {"numbers": [5]})
    assert pairs == [" 1 + 4\n", " 2 + 3\n", " 3 + 2\n", " 4 + 1\n"]
    assert len({families.mode(pair) for pair in pairs}) == 2
    question = families.KINDS["mixed"].question
    assert question((12, 30, 7)) == "12 + 30 - 7 ="


@pytest.mark.parametrize("name", [*ONE_A_FAMILY, STEPS])
def test_splits_share_no_problem_whatever_its_order_and_shots_are_in_none(name):
    mark = "&" if "?" in name else "?"
    kind = name.partition("?")[0].removeprefix("real:")
    parts = [load(f"{name}{mark}split={split}") for split in ("train", "audit", "heldout", "final")]
    keys = [{families.same(kind, tuple(p.answer["numbers"])) for p in part} for part in parts]
    assert [len(part) for part in parts] == [len(part) for part in keys]  # none comes twice
    assert not any(a & b for a, b in itertools.combinations(keys, 2))
    prompts = {str(p.prompt).rpartition("\n")[0] for part in parts for p in part}
    [shots] = prompts
    assert shots.count("\n") == SHOTS - 1
    asked = {str(p.prompt).rpartition("\n")[2] for part in parts for p in part}
    assert not any(line in shots for line in asked)
    assert all(not p.traces for p in parts[1])


def test_a_smaller_size_is_the_beginning_of_a_larger_one():
    few, many = load("real:sum?split=audit&size=5"), load("real:sum?split=audit&size=50")
    assert few == many[:5] and len(many) == 50
    assert all(load(f"{spec}&size=1") for spec in specs())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("real:sums", "unknown family sums; known: real:sum, real:product"),
        ("real:sum?digit=2", "unknown key digit; known: terms, digits, split, size"),
        ("real:sum?digits=9", "digits=9: must be one of 1, 2, 3, 4"),
        ("real:gcd?split=test", "split=test: must be one of train, audit"),
        ("real:gcd?size=all", "size=all: must be a whole number from 1"),
        ("real:pairs?most=40&size=500", "size=500: must be at most"),
        ("real:sum?", None),
        ("real:sum?digits", "must read key=value"),
    ],
)
def test_a_bad_name_is_one_line(name, said):
    if said is None:
        assert load(name)
        return
    with pytest.raises(InputError) as caught:
        load(name)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_no_run_may_look_at_the_final_split():
    with pytest.raises(InputError, match="the split final is kept for the last audit"):
        load_config("configs/real/grpo.yaml", ["run.exact_problems=real:sum?terms=2&split=final"])
