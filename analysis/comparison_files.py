"""Where a comparison is written: compare.json, small enough to read, and every run's whole audit beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis.errors import InputError
from analysis.json_files import dense
from analysis.tables import write_text

KEPT = (
    "problems",
    "draws",
    "verdict",
    "within",
    "evidence",
    "verdict_detail",
    "support",
    "certified",
    "null",
    "redraw",
    "pass_at_k",
    "crossing_k",
)  # of each benchmark of a run's audit, in compare.json


def write_documents(document: dict[str, Any], out: Path) -> list[Path]:
    """Writes compare.json and audits/METHOD-RUN.json into `out`, and returns the paths.

    document: of `analysis.compare.compare`, with whole audits. compare.json has what the report shows of them, and
    names the file of each. Raises InputError where the folder cannot be written.
    """
    short: dict[str, list[dict[str, Any]]] = {}
    paths = []
    try:
        (out / "audits").mkdir(parents=True, exist_ok=True)
        for number, (name, runs) in enumerate(document["audits"].items()):
            short[name] = []
            for i, audit in enumerate(runs):
                path = out / "audits" / f"{number:02d}-{safe(name)}-{i}.json"
                write_text(path, dense(audit))
                paths.append(path)
                short[name].append(_short(audit) | {"file": f"audits/{path.name}"})
        write_text(out / "compare.json", dense(document | {"audits": short}))
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from None
    return [out / "compare.json", *paths]


def _short(audit: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, block in audit["benchmarks"].items():
        curves = block["curves"]
        found[name] = {key: block[key] for key in KEPT} | {
            "curves": {"k": curves["k"], **{side: {"value": curves[side]["value"]} for side in ("base", "tuned")}}
        }
    return {"benchmarks": found, "models": audit["models"], "warnings": audit["warnings"]}


def safe(name: str) -> str:
    """A name as part of a file's name."""
    return "".join(c if c.isalnum() or c in "-." else "_" for c in name)
