"""The page of completions: one HTML file that opens without a network, of bounded size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from analysis.report.html import rendered
from analysis.rollouts import GROUP_SHOWN, Limits
from analysis.tables import write_text

COLUMNS = ("step", "group", "source", "verdict", "reward", "problem", "benchmark", "answer", "tokens", "text", "prompt")


def write_viewer(found: dict[str, Any], path: str | os.PathLike, *, title: str, limits: Limits) -> None:
    """Writes the page, aside and then renamed.

    found: of `analysis.rollouts.read`.
    path: the file.
    title: the page's.
    limits: how much of it is shown.
    """
    out = Path(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    page = viewer_page(found, limits=limits)
    text = rendered(
        "viewer.html",
        page,
        script="viewer.js",
        title=title,
        heading=title,
        kicker="completions to read",
        left=page["left"],
    )
    write_text(out, text)


def viewer_page(found: dict[str, Any], *, limits: Limits) -> dict[str, Any]:
    """The page's data. Rows are turned into columns, which take half the room; those that nobody has are left out."""
    rows = found["rows"]
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    columns = {name: values for name, values in columns.items() if any(v is not None for v in values)}
    return {
        "count": len(rows),
        "columns": columns,
        "more": [row["more"] for row in rows],
        "sources": found["sources"],
        "prompts": found["prompts"],
        "groups": found["groups"],
        "steps": found["steps"],
        "total": found["total"],
        "left": left_out(found, limits=limits),
    }


def left_out(found: dict[str, Any], *, limits: Limits) -> str:
    """What the page holds, and what of the files it does not."""
    shown = len(found["rows"])
    total = found["total"]["rows"]
    steps = len(found["steps"])
    of_steps = f" of {steps:,} steps" if steps > 1 else ""
    if shown == total:
        said = f"All {total:,} completions{of_steps}"
    else:
        said = (
            f"{shown:,} of {total:,} completions{of_steps}: {'the same number of each step, ' if steps > 1 else ''}"
            f"whole groups drawn at random (seed {limits.seed}; of a group above {GROUP_SHOWN} a part). "
            f"{total - shown:,} are left out; --limit takes more. Numbers of steps and groups count all"
        )
    said += f". Texts are cut at {limits.characters:,} characters."
    if limits.steps is not None:
        said += f" Steps {limits.steps[0]:,} to {limits.steps[1]:,} alone were asked for."
    return said
