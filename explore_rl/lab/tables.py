"""Exact audits as text tables, for the terminal."""

from __future__ import annotations

from fractions import Fraction
from typing import Any


def pass_table(audits: dict[str, Any], ks: list[int]) -> str:
    """The exact pass@k of each audit, by name."""
    rows = [[name] + [f"{value:.4f}" for value in audit.pass_at_k(ks).values()] for name, audit in audits.items()]
    return _table(["exact pass@k"] + [f"@{k}" for k in ks], rows)


def region_table(audits: dict[str, Any]) -> str:
    """What each audit, by name, has in each region."""
    rows = []
    for name, audit in audits.items():
        for region, figures in audit.regions().items():
            counts = [f"{figures['problems']}", f"{figures['modes']}"]
            masses = [f"{figures['mass']:.3g}", f"{figures['correct_in_a_million_draws']:.4g}"]
            rows.append([name, region, *counts, *masses])
    return _table(["model", "region", "problems", "modes", "mass", "correct in 1M draws"], rows)


def support_table(comparison: dict[str, Any]) -> str:
    """The support of two models at each threshold, from what `exact.compare` returns."""
    rows = []
    for unit, ladder in comparison["support"].items():
        for row in ladder:
            rates = ["-" if row[rate] is None else f"{row[rate]:.3f}" for rate in ("srr", "ndr", "nscr")]
            counts = [str(row[count]) for count in ("preserved", "shrunk", "expanded", "out")]
            rows.append([unit, str(Fraction(row["eps"]).limit_denominator(10**6)), *counts, *rates])
    return _table(["by", "eps", "P", "S", "E", "O", "SRR", "NDR", "NSCR"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    """Rows under a head, the first column to the left and the others to the right."""
    columns = zip(head, *rows, strict=True)
    widths = [max(map(len, column)) for column in columns]

    def line(cells: list[str]) -> str:
        first = cells[0].ljust(widths[0])
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "  ".join([first, *others])

    return "\n".join(map(line, [head, ["-" * width for width in widths], *rows]))
