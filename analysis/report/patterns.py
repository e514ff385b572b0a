"""The page's table of reasoning patterns."""

from __future__ import annotations

from typing import Any

from analysis.report.words import interval, number


def patterns_table(block: dict) -> dict[str, Any] | None:
    """Of each pattern: how often it is used and how often it succeeds; below, where the change of accuracy is from."""
    if not (found := block.get("patterns")):
        return None
    rows = [
        [
            row["pattern"],
            interval(row["share"]["base"]),
            interval(row["share"]["tuned"]),
            *((interval(row["success"][side]) for side in ("base", "tuned")) if row["success"] else ("–", "–")),
            number(row["problems"]),
        ]
        for row in found["rows"]
    ]
    columns = ["pattern", "share of base draws", "of tuned draws", "success, base", "success, tuned", "problems"]
    note = (
        "A draw counts for the first pattern that it shows. Success is over the problems on which both sides use the "
        f"pattern. Accuracy changed by {interval(found['change'], sign=True)}: "
        f"{interval(found['selection'], sign=True)} because other patterns are chosen, "
        f"{interval(found['within'], sign=True)} because the same ones succeed more often."
    )
    return {"caption": "Reasoning patterns", "columns": columns, "rows": rows, "note": note, "width": 12}
