"""A method is one short file: what a reader takes in at once."""

import ast
from pathlib import Path

import pytest

from explore_rl.objectives import losses
from explore_rl.strategies import methods

MOST = 60
LONG = {"mixture_policy": 140, "detours": 75}  # exact weights of any mixture; the search in the vocabulary
LOSSES = ("gspo", "cispo", "covariance")


def statements(path):
    """All statements of a file, imports and definitions included, docstrings left out."""
    tree = ast.parse(path.read_text())
    own = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    return sum(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in own)


@pytest.mark.parametrize("path", sorted(Path(methods.__file__).parent.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_a_method_stays_short(path):
    assert statements(path) <= LONG.get(path.stem, MOST)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_stays_short(name):
    assert statements(Path(losses.__file__).parent / f"{name}.py") <= MOST
