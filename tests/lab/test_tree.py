"""The search tree of one problem: probabilities are the exact audit's, and what comes in at a branch goes out again."""

import numpy as np
import pytest
import torch

from analysis.errors import InputError
from explore_rl.lab import exact, logprobs, tree


@pytest.fixture(scope="module")
def base():
    torch.set_num_threads(1)
    return logprobs.load_model("lab:base")


def branches(branch):
    yield branch
    for child in branch.children:
        yield from branches(child)


def test_leaves_have_the_exact_probability_and_every_branch_adds_up(base, tmp_path):
    problem = tree.problem_of("5 3 10=8", "countdown")
    found = tree.search_tree(problem, {"base": base, "again": base}, wrong=5)
    pairs, index = exact.sequences([problem], base[1])
    audit = exact.summarise([problem], index, logprobs.completion_logprobs(base[0], pairs))
    wanted = dict(zip(index.answers, audit.answer_probabilities, strict=True))
    correct = [leaf for leaf in found.root.leaves if leaf.status == "correct"]
    assert sorted(float(leaf.probability[0]) for leaf in correct) == pytest.approx(sorted(wanted.values()), abs=1e-7)
    assert sum(leaf.status == "wrong" for leaf in found.root.leaves) == 5
    assert found.root.probability == pytest.approx([1, 1])
    for branch in branches(found.root):
        if branch.children:
            assert sum(child.probability for child in branch.children) == pytest.approx(branch.probability, abs=1e-7)
        assert branch.probability[0] == branch.probability[1]
    tree.draw(found, [tmp_path / "tree.svg"])
    picture = (tmp_path / "tree.svg").read_text()
    assert all(answer in picture for answer in wanted) and tree.CORRECT in picture
    assert all(answer in tree.table(found) for answer in wanted)


def test_the_most_probable_completions_are_found_in_order(base):
    """Held against ten thousand draws' worth of mass: no correct answer above the last one found is missing."""
    model, codes = base
    problem = tree.problem_of("5 3 10=8", "countdown")
    found = tree.most_probable(model, codes, prompt=problem.prompt, count=15, temperature=1.0)
    steps = tree.prefix_probabilities(model, codes, prompt=problem.prompt, texts=found, temperature=1.0)
    whole = [float(of_text[-1]) for of_text in steps]
    assert whole == sorted(whole, reverse=True) and len(set(found)) == 15
    pairs, index = exact.sequences([problem], codes)
    probabilities = np.exp(logprobs.completion_logprobs(model, pairs))
    for answer, probability in zip(index.answers, probabilities, strict=True):
        assert (answer in found) == (probability >= whole[-1])


@pytest.mark.parametrize(
    ("prompt", "family", "said"),
    [
        ("5 3 10", "countdown", "expected numbers=target"),
        ("1 1 1=60", "countdown", "has no correct answer"),
        ("1 2 3=6", "worked", "3 numbers; worked has 4, 5"),
        ("(1+2", "worked_evaluation", "not an expression"),
    ],
)
def test_prompts_that_ask_nothing_are_refused(prompt, family, said):
    with pytest.raises(InputError, match=said):
        tree.problem_of(prompt, family)
