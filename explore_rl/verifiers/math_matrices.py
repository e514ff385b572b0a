r"""Arithmetic with matrices, worked out by sympy: 2 times a matrix, sums and products.

>>> from explore_rl.verifiers.math_forms import parse
>>> matrix_of(parse(r"2\begin{pmatrix}1&2\\3&4\end{pmatrix}")).rows[1][0].parsed
6
"""

from __future__ import annotations

import sympy

from explore_rl.verifiers.math_expressions import to_sympy
from explore_rl.verifiers.math_values import Expression, Matrix, Value

MAX_CELLS = 400
MAX_DETERMINANT = 5  # rows


def determinant_of(text: str, matrix: Matrix) -> Expression:
    """|a b; c d|, worked out where its cells can be read."""
    cells = [[to_sympy(cell.text) for cell in row] for row in matrix.rows]
    square = len({len(row) for row in cells} | {len(cells)}) == 1 and len(cells) <= MAX_DETERMINANT
    if not square or not all(isinstance(cell, sympy.Expr) for row in cells for cell in row):
        return Expression(text)
    return Expression(text, sympy.Matrix(cells).det())


def matrix_of(value: Value) -> Matrix | None:
    """The value as a matrix, worked out; None if it is none."""
    if isinstance(value, Matrix):
        return value
    if r"\begin" not in value.text:
        return None
    parsed = to_sympy(value.text)
    if isinstance(parsed, (sympy.MatrixExpr, sympy.MatrixBase)):
        try:
            parsed = parsed.doit().as_explicit() if isinstance(parsed, sympy.MatrixExpr) else parsed
        except (ValueError, TypeError, NotImplementedError):
            return None
    if not isinstance(parsed, sympy.MatrixBase) or parsed.rows * parsed.cols > MAX_CELLS:
        return None
    rows = tuple(tuple(Expression(parsed=parsed[i, j]) for j in range(parsed.cols)) for i in range(parsed.rows))
    return Matrix(value.text, rows)
