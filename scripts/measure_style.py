"""How dense the code is (lengths, arguments, comments, docstrings, nested comprehensions), now or beside a commit.

python scripts/measure_style.py                   # explore_rl and analysis as they are
python scripts/measure_style.py --commit REV      # as they were, and as they are beside it
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("explore_rl", "analysis")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def measure(files: list[Path]) -> dict[str, str]:
    """What style is judged by, as texts; functions are counted without their docstrings."""
    trees = {file: ast.parse(file.read_text()) for file in files}
    lines = [line for file in files for line in file.read_text().splitlines()]
    functions = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    public = [node for node in functions if not node.name.startswith("_")]
    code, own, trailing, tokens = count_tokens(files)
    nested = sum(nesting(tree) for tree in trees.values())
    long_lines = sum(len(line) > 120 for line in lines)
    return {
        "files, lines": f"{len(files)}, {len(lines)}",
        "function length, median / 90 % (max)": spread([length(node) for node in functions]),
        "functions above 100 lines": str(sum(length(node) > 100 for node in functions)),
        "file length, median / 90 % (max)": spread([len(file.read_text().splitlines()) for file in files]),
        "lines above 120 characters": f"{long_lines} ({long_lines / len(lines):.1%})",
        "tokens a code line": f"{tokens / code:.1f}",
        "arguments, median / 90 % (max)": spread([arguments(node) for node in functions]),
        "positional arguments above six": str(sum(positional(node) > 6 for node in functions)),
        "comments, own line + trailing, per 100 code lines": f"{100 * own / code:.1f} + {100 * trailing / code:.1f}",
        "comprehensions nested in others, per 1,000 code lines": f"{1000 * nested / code:.1f}",
        "comprehensions three deep or deeper": str(sum(deepest(tree) for tree in trees.values())),
        "modules / public functions with a docstring": f"{share(list(trees.values()))} / {share(public)}",
        "fmt: skip": str(sum("fmt: skip" in line for line in lines)),
    }


def length(node: Function) -> int:
    """Lines of a function, its docstring left out."""
    body = node.body
    documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) and len(body) > 1
    return lines_of(node) - (lines_of(body[0]) if documented else 0)


def lines_of(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def positional(node: Function) -> int:
    return len([a for a in node.args.args + node.args.posonlyargs if a.arg not in ("self", "cls")])


def arguments(node: Function) -> int:
    return positional(node) + len(node.args.kwonlyargs)


def nesting(tree: ast.AST) -> int:
    """Comprehensions that stand within another one."""
    outer = [node for node in ast.walk(tree) if isinstance(node, COMPREHENSIONS)]
    return len({id(inner) for node in outer for inner in ast.walk(node) if inner is not node} & {id(n) for n in outer})


def deepest(tree: ast.AST) -> int:
    """How many comprehensions stand within two others."""

    def visit(node: ast.AST, depth: int) -> int:
        depth += isinstance(node, COMPREHENSIONS)
        here = int(isinstance(node, COMPREHENSIONS) and depth >= 3)
        return here + sum(visit(child, depth) for child in ast.iter_child_nodes(node))

    return visit(tree, 0)


def count_tokens(files: list[Path]) -> tuple[int, int, int, int]:
    """Code lines, comments on lines of their own, trailing comments, and tokens of code."""
    code_lines = own = trailing = tokens = 0
    for file in files:
        lines_with_code = set()
        comments = []
        for token in tokenize.generate_tokens(io.StringIO(file.read_text()).readline):
            if token.type == tokenize.COMMENT:
                comments.append(token.start[0])
            elif token.type in (tokenize.NAME, tokenize.NUMBER, tokenize.OP):
                lines_with_code.add(token.start[0])
                tokens += 1
            elif token.type == tokenize.STRING and token.start[0] == token.end[0]:
                lines_with_code.add(token.start[0])
                tokens += 1
        code_lines += len(lines_with_code)
        trailing += sum(line in lines_with_code for line in comments)
        own += sum(line not in lines_with_code for line in comments)
    return code_lines, own, trailing, tokens


def spread(values: list[int]) -> str:
    return f"{np.median(values):.0f} / {np.percentile(values, 90):.0f} ({max(values)})"


def share(nodes: list) -> str:
    return f"{np.mean([ast.get_docstring(node) is not None for node in nodes]):.0%}"


def files_of(tree: Path, package: str) -> list[Path]:
    return sorted((tree / package).rglob("*.py"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", help="also measure this commit")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        trees = {"now": REPOSITORY}
        if args.commit:
            command = ["git", "-C", str(REPOSITORY), "archive", args.commit, *PACKAGES]
            packed = subprocess.run(command, check=True, capture_output=True).stdout
            tarfile.open(fileobj=io.BytesIO(packed)).extractall(name, filter="data")
            trees = {args.commit: Path(name), **trees}
        for package in PACKAGES:
            columns = {label: measure(files_of(tree, package)) for label, tree in trees.items()}
            print(f"{package:56}" + "".join(f"{label:>22}" for label in columns))
            for key in next(iter(columns.values())):
                print(f"{key:56}" + "".join(f"{column[key]:>22}" for column in columns.values()))
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
