"""Reasoning Gym's own generator and scorer, and answers that its scorers would run as code."""

import sys

import pytest
from reasoning_gym.factory import DATASETS

from analysis.errors import InputError
from explore_rl.problems import load_problems
from explore_rl.types import Problem, Status
from explore_rl.verifiers import Item, VerifierPool
from explore_rl.verifiers.gym import GymVerifier, gym_problems

# composite needs further tasks named; the others take over a second to build here
LEFT_OUT = {"composite", "arc_agi", "rearc", "knight_swap", "group_anagrams", "figlet_font"}
TASKS = sorted(set(DATASETS) - LEFT_OUT)


NEVER_WRONG = {"game_of_life_halting"}  # its scorer takes whatever is not "True" for "False"


@pytest.mark.parametrize("part", range(4))
def test_every_tasks_reference_is_correct_and_nonsense_is_not(part):
    verify = GymVerifier()
    for task in TASKS[part::4]:
        for problem in gym_problems(task, 2, seed=5):
            if problem.answer is not None and "Integral(" not in problem.answer:  # an integral left as it was asked
                assert verify(f"<answer>{problem.answer}</answer>", problem).status is Status.CORRECT, problem
            found = verify("<answer>nonsense</answer>", problem).status
            assert found is Status.WRONG or task in NEVER_WRONG, problem


def test_no_scorer_is_given_code_to_run():
    """Some scorers evaluate answers: whatever of ours any of them compiles must be without a call or an attribute."""
    compiled = []

    def listen(event, arguments):
        if event == "compile" and watching:
            source = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
            if isinstance(source, str) and "mischief" in source:
                compiled.append(source)

    verify, watching = GymVerifier(), True
    sys.addaudithook(listen)
    attacks = ["mischief(1)", "[mischief(1)]", "(mischief)(1)", "mischief.a(1)", "1 + mischief(2)", "x + mischief(1)"]
    attacks += ["['mischief', __import__('os').getpid()]"]
    for task in TASKS:
        for problem in gym_problems(task, 1, seed=1):
            for attack in attacks:
                verify(f"<answer>{attack}</answer>", problem)
    watching = False
    assert not [source for source in compiled if "(" in source]


def test_problems_are_made_from_a_seed_and_judged_with_their_own_parameters():
    problems = list(gym_problems("chain_sum", 5, seed=7, min_terms=5, max_terms=5))
    assert problems == list(gym_problems("chain_sum", 5, seed=7, min_terms=5, max_terms=5))
    assert problems != list(gym_problems("chain_sum", 5, seed=8, min_terms=5, max_terms=5))
    assert len({problem.id for problem in problems}) == 5 and problems[0].metadata["num_terms"] == 5
    verify = GymVerifier()
    for problem in problems:
        assert verify(f"So \\boxed{{{problem.answer}}}.", problem).status is Status.CORRECT
        assert verify(f"<answer>{int(problem.answer) + 1}</answer>", problem).status is Status.WRONG


def test_a_spec_loads():
    problems = load_problems("gym:chain_sum?size=3&seed=1&min_terms=2&max_terms=2")
    assert [p.verifier for p in problems] == ["gym"] * 3 and problems[0].metadata["num_terms"] == 2


@pytest.mark.parametrize(
    "spec, message",
    [
        ("gym:chainsum?size=3", "did you mean 'chain_sum'"),
        ("gym:chain_sum?min_term=3", "did you mean 'min_terms'"),
        ("gym:chain_sum?size=0", "size must be"),
        ("gym:chain_sum?size=many", "size must be"),
        ("gym:chain_sum?seed=x", "seed must be"),
        ("gym:chain_sum?min_terms=9&max_terms=2", "gym:chain_sum"),
    ],
)
def test_bad_specs_say_what_is_right(spec, message):
    with pytest.raises(InputError, match=message):
        load_problems(spec)


def problem(task: str, answer: str, **metadata) -> Problem:
    return Problem("p", "?", answer, "gym", metadata={"source_dataset": task, **metadata})


def test_where_the_answer_is_looked_for():
    chain = problem("chain_sum", "7")
    cases = {
        "<answer>8</answer> no: <answer> 7 </answer>": ("correct", "correct", "no_answer"),
        "\\boxed{7}": ("no_answer", "correct", "correct"),
        "The answer is 7.": ("no_answer", "correct", "no_answer"),
        "7": ("no_answer", "no_answer", "no_answer"),
        "<think><answer>7</answer></think>I do not know": ("no_answer", "no_answer", "no_answer"),
    }
    for completion, wanted in cases.items():
        assert (
            tuple(GymVerifier(extract=how)(completion, chain).status.value for how in ("tags", "lenient", "boxed"))
            == wanted
        ), completion
    assert GymVerifier()("<answer>7</answer>", chain, truncated=True).status is Status.NO_ANSWER


def test_partial_scores_are_the_tasks_own():
    chain = problem("chain_sum", "12")
    got = GymVerifier()("<answer>12 apples</answer>", chain)
    assert (
        got.status is Status.WRONG and 0 < got.score < 1
    )  # Reasoning Gym gives a share where the answer holds the reference
    assert GymVerifier(partial=False)("<answer>12 apples</answer>", chain).score == 0.0


def test_a_scorer_that_chokes_on_an_answer_is_the_answers_fault_or_its_own():
    (factors,) = gym_problems("prime_factorization", 1, seed=0)
    got = GymVerifier()("<answer>two and three</answer>", factors)
    assert got.status is Status.WRONG and got.reason.startswith("the scorer cannot read it")
    broken = problem("word_ladder", "COLD,WARM")  # without the metadata that its scorer needs
    with pytest.raises(KeyError):
        GymVerifier()("<answer>COLD,CORD</answer>", broken)


@pytest.mark.parametrize("answer", ["9" * 500 + "!", "sin(" * 200, "1." * 25 + "_", "exit()", "x.y", "quit(1)", "'a'"])
def test_expressions_that_are_none_are_refused_at_once(answer):
    countdown = problem("countdown", "3 * 4", numbers=[3, 4], target=12)
    assert GymVerifier()(f"<answer>{answer}</answer>", countdown).status is Status.WRONG


def test_options_and_problems_that_cannot_be_used():
    with pytest.raises(InputError, match="extract"):
        GymVerifier(extract="last")
    with pytest.raises(InputError, match="correct_from"):
        GymVerifier(correct_from=2)
    with pytest.raises(InputError, match="source_dataset"):
        GymVerifier()("<answer>1</answer>", Problem("p", "?", "1", "gym"))


def test_in_the_pool():
    problems = list(gym_problems("chain_sum", 4, seed=2))
    with VerifierPool(workers=1) as pool:
        verdicts = pool.verify_all(
            [Item(p, f"<answer>{p.answer if i % 2 else 'x'}</answer>") for i, p in enumerate(problems)]
        )
    assert [v.status for v in verdicts] == [Status.WRONG, Status.CORRECT] * 2
