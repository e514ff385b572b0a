"""Sizes that CONTRIBUTING.md asks for, as far as they can be counted: what a reader takes in at once."""

import ast

import pytest
from source_files import REPOSITORY, modules, text, tree

LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 100
DEPTH = 2  # of comprehensions within each other
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
BLOCKS = ast.stmt | ast.excepthandler | ast.match_case


@pytest.fixture(scope="module", autouse=True)
def parsed():
    """Every file is parsed once, before a test is measured."""
    for path in modules().values():
        tree(path)


def blocks(node):
    """The statements below a node, and theirs. Expressions, which are most of a tree, are left aside."""
    for name in ("body", "handlers", "cases", "orelse", "finalbody"):
        for below in getattr(node, name, ()):
            yield below
            yield from blocks(below)


def depth(node):
    """How many comprehensions stand within each other below a node, itself counted."""
    return max(map(depth, ast.iter_child_nodes(node)), default=0) + isinstance(node, COMPREHENSIONS)


def deepest(source, module):
    """(depth, line) of the statement with the deepest comprehension; (0, 0) where none can be too deep."""
    lines = source.splitlines()
    found = (0, 0)
    for block in blocks(module):
        if not isinstance(block, ast.stmt):
            continue
        # The statement's own lines: to where its body begins.
        below = getattr(block, "body", ())
        own = lines[block.lineno - 1 : below[0].lineno if below else block.end_lineno]
        if sum(line.count("for ") for line in own) > DEPTH:
            parts = [part for part in ast.iter_child_nodes(block) if not isinstance(part, BLOCKS)]
            found = max(found, (max(map(depth, parts), default=0), block.lineno))
    return found


def too_much(of_path, most):
    """The files whose figure is above the most that is allowed, each with its figure."""
    figures = {path.relative_to(REPOSITORY): of_path(path) for path in modules().values()}
    return [f"{path}: {figure}" for path, figure in figures.items() if figure[0] > most]


def longest(path):
    """(lines, name) of a file's longest function."""
    functions = [b for b in blocks(tree(path)) if isinstance(b, ast.FunctionDef | ast.AsyncFunctionDef)]
    return max(((f.end_lineno - f.lineno + 1, f.name) for f in functions), default=(0, ""))


def test_no_file_is_above_400_lines():
    assert too_much(lambda path: (text(path).count("\n"),), LINES_OF_A_FILE) == []


def test_no_function_is_above_100_lines():
    assert too_much(longest, LINES_OF_A_FUNCTION) == []


def test_no_comprehension_is_deeper_than_two():
    assert too_much(lambda path: deepest(text(path), tree(path)), DEPTH) == []


TOO_DEEP = """
def f():
    with g(1):
        return [
            {len([a for a in b]) for b in c}
            for c in d
        ]
"""


def test_a_comprehension_that_is_too_deep_is_found():
    assert deepest(TOO_DEEP, ast.parse(TOO_DEEP)) == (3, 4)
