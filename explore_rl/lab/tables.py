"""Exact audits as text tables, for the terminal."""

from __future__ import annotations

from fractions import Fraction
from typing import Any


def pass_table(audits: dict[str, Any], ks: list[int]) -> str:
    rows = [[name] + [f"{value:.4f}" for value in audit.pass_at_k(ks).values()] for name, audit in audits.items()]
    return _table(["exact pass@k"] + [f"@{k}" for k in ks], rows)


def region_table(audits: dict[str, Any]) -> str:
    rows = []
    for name, audit in audits.items():
        for region, found in audit.regions().items():
            expected = f"{found['correct_in_a_million_draws']:.4g}"
            rows.append([name, region, f"{found['problems']}", f"{found['modes']}", f"{found['mass']:.3g}", expected])
    return _table(["model", "region", "problems", "modes", "mass", "correct in 1M draws"], rows)


def support_table(comparison: dict[str, Any]) -> str:
    rows = []
    for unit, ladder in comparison["support"].items():
        for row in ladder:
            rates = ["-" if row[rate] is None else f"{row[rate]:.3f}" for rate in ("srr", "ndr", "nscr")]
            counts = [str(row[count]) for count in ("preserved", "shrunk", "expanded", "out")]
            rows.append([unit, str(Fraction(row["eps"]).limit_denominator(10**6)), *counts, *rates])
    return _table(["by", "eps", "P", "S", "E", "O", "SRR", "NDR", "NSCR"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < 1 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
