"""The page's section of support by distinct correct answer and by mode."""

from __future__ import annotations

from typing import Any

from analysis.report.words import below, cell, counted
from analysis.units import LABELS


def unit_parts(block: dict) -> tuple[str, str, list[dict[str, Any] | None]]:
    """Title, lead and tables; without answers or modes the tables are none."""
    entries = {label: block[key] for key, label in LABELS.items() if block.get(key)}
    lead = "The same question of each distinct correct answer or way of solving, rather than of each problem. "
    judged = {label: entry for label, entry in entries.items() if entry["null"]}
    if judged:
        words = [f"{label.capitalize()}: {e['evidence'][0].lower()}{e['evidence'][1:]}" for label, e in judged.items()]
        lead += f"Two draws of one model never show the same ones, so chance stands beside them. {' '.join(words)}"
    elif entries:
        why = next(iter(entries.values()))["why_no_null"]
        lead += f"There is no null and no verdict by answer here: {why}."
    return "Support by answer", lead, [null_table(judged), count_table(entries)]


def null_table(entries: dict[str, dict]) -> dict[str, Any] | None:
    """Verdict, and what is observed beside what one model drawn twice would show, over all draws."""
    if not entries:
        return None
    rows = []
    for label, entry in entries.items():
        row = [label, entry["verdict"]]
        for key, p in (("shrunk", "p_loss"), ("expanded", "p_gain")):
            row += [
                f"{entry['null']['observed_' + key]:,}",
                f"{entry['null']['expected_' + key]:.3g}",
                f"{entry[p]:.2g}",
            ]
        rows.append(row)
    columns = ["unit", "verdict", "S", "by chance", "p(S)", "E", "by chance", "p(E)"]
    return {"caption": "Over all draws", "columns": columns, "rows": rows, "text_columns": [1], "width": 12}


def count_table(entries: dict[str, dict]) -> dict[str, Any] | None:
    """Counts and rates at the common k, and what is certified."""
    if not entries:
        return None
    rows = []
    for label, entry in entries.items():
        certified = entry["certified"] or {}
        rows.append(
            [
                label,
                *(below(counted(entry["intervals"][x])) for x in ("preserved", "shrunk", "expanded")),
                cell(entry["intervals"]["srr"]),
                cell(entry["intervals"]["ndr"]),
                *(certified.get(x) for x in ("preserved", "shrunk", "expanded", "undetermined")),
            ]
        )
    columns = ["unit", "P", "S", "E", "SRR", "NDR", "certified P", "certified S", "certified E", "undetermined"]
    k = next(iter(entries.values()))["k"]
    return {"caption": f"In {k:,} draws a side", "columns": columns, "rows": rows, "width": 12}
