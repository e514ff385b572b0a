"""The worked examples of the docstrings are run: every `>>>` of the packages."""

import doctest
import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FILES = sorted(path for package in ("analysis", "explore_rl") for path in (REPOSITORY / package).rglob("*.py"))
WITH_EXAMPLES = [path.relative_to(REPOSITORY) for path in FILES if ">>> " in path.read_text()]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_the_examples_of_a_module_are_right(path):
    module = importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    result = doctest.testmod(module)
    assert result.attempted > 0, f"{path} has examples that doctest does not find"
    assert result.failed == 0


def test_the_modules_with_examples_are_found():
    assert Path("explore_rl/objectives/losses.py") in WITH_EXAMPLES and len(WITH_EXAMPLES) >= 16
