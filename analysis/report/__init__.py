"""Writes what an audit found: report.html (one file, opens from disk), tables/ (CSV, Markdown, LaTeX), figures/ (SVG,
PNG), audit.json."""

from __future__ import annotations

import json
import math
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.comparison_files import write_documents
from analysis.figures import write_comparison_figures, write_figures
from analysis.records import ModelSamples
from analysis.report.comparison import comparison_page
from analysis.report.comparison_tables import comparison_tables
from analysis.report.page import audit_page
from analysis.tables import audit_tables, write_tables, write_text

HERE = Path(__file__).parent


def write(
    document: dict[str, Any],
    base: ModelSamples | None,
    tuned: ModelSamples | None,
    out_dir: str | os.PathLike,
    *,
    with_json: bool = True,
) -> list[Path]:
    """Writes audit.json, report.html, tables/ and figures/ of an audit document into `out_dir`, and returns their
    paths.

    base, tuned: the aligned samples that were audited; their completions go into the page (None: no completions).
    with_json: False where audit.json is there already. Each file is written aside, then renamed.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    page = audit_page(document, base, tuned=tuned)
    names = page["names"]
    heading = f"{names['base']} → {names['tuned']}: did the support change?"
    if with_json:
        write_text(out / "audit.json", json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    write_text(
        out / "report.html",
        render(page, heading=heading, kicker="audit of a tuned model against its base", json_name="audit.json"),
    )
    tables = write_tables(audit_tables(document), out / "tables")
    figures = write_figures(document, (names["base"], names["tuned"]), folder=out / "figures")
    return [out / "report.html", out / "audit.json", *tables, *figures]


def write_comparison(document: dict[str, Any], out_dir: str | os.PathLike, *, with_json: bool = True) -> list[Path]:
    """Writes compare.json, audits/, report.html, tables/ and figures/ of a comparison (`analysis.compare.compare`), and
    returns their paths.

    with_json: False where compare.json and audits/ are there already. An "exact" section in the document
    (docs/analysis.md) is shown beside the sampled figures.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    methods = list(document["methods"])
    heading = f"{', '.join(methods[:6])}{' …' if len(methods) > 6 else ''} against {document['base']['name']}"
    documents = write_documents(document, out) if with_json else [out / "compare.json"]
    write_text(
        out / "report.html",
        render(
            comparison_page(document),
            heading=heading,
            kicker="methods and runs against their base",
            json_name="compare.json",
        ),
    )
    tables = write_tables(comparison_tables(document), out / "tables")
    figures = write_comparison_figures(document, out / "figures")
    return [out / "report.html", *documents, *tables, *figures]


def render(page: dict[str, Any], *, heading: str, kicker: str, json_name: str) -> str:
    """The page as one HTML file: style, script, Plotly and data inside."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    data = json.dumps(finite(page), allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )  # no text can end the script
    try:
        release = version("explore-rl")
    except PackageNotFoundError:
        release = ""
    return environment.get_template("page.html").render(
        title=heading,
        heading=heading,
        kicker=kicker,
        json_name=json_name,
        version=release,
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        js=Markup((HERE / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
        data=Markup(data),
    )


def finite(value: Any) -> Any:
    """NaN and infinity, which JSON does not know, as null; charts round to six digits to stay small."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
