"""Writes what an audit found: report.html (one file, opens from disk), tables/ (CSV, Markdown, LaTeX), figures/ (SVG,
PNG), audit.json."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.comparison_files import write_documents
from analysis.figures import write_comparison_figures, write_figures
from analysis.json_files import by_lines
from analysis.records import ModelSamples
from analysis.report.comparison import comparison_page
from analysis.report.comparison_tables import comparison_tables
from analysis.report.html import rendered
from analysis.report.page import audit_page
from analysis.tables import audit_tables, write_tables, write_text


def write(
    document: dict[str, Any],
    base: ModelSamples | None,
    *,
    tuned: ModelSamples | None,
    out_dir: str | os.PathLike,
    with_json: bool = True,
) -> list[Path]:
    """Writes audit.json, report.html, tables/ and figures/ of an audit document, and returns their paths.

    Each file is written aside, then renamed.

    document: the audit's.
    base, tuned: the aligned samples that were audited; their completions go into the page (None: no completions).
    out_dir: made where it is missing.
    with_json: False where audit.json is there already.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    # the page, then the same numbers as tables and figures
    page = audit_page(document, base, tuned=tuned)
    names = page["names"]
    labels = page["labels"]
    heading = f"{names['base']} → {names['tuned']}: did the support change?"
    if with_json:
        write_text(out / "audit.json", by_lines(document))
    write_text(
        out / "report.html",
        render(page, heading=heading, kicker="audit of a tuned model against its base", json_name="audit.json"),
    )
    tables = write_tables(audit_tables(document), out / "tables")
    figures = write_figures(document, (labels["base"], labels["tuned"]), folder=out / "figures")
    return [out / "report.html", out / "audit.json", *tables, *figures]


def write_comparison(document: dict[str, Any], out_dir: str | os.PathLike, *, with_json: bool = True) -> list[Path]:
    """Writes compare.json, audits/, report.html, tables/ and figures/ of a comparison (`analysis.compare.compare`), and
    returns their paths.

    with_json: False where compare.json and audits/ are there already. An "exact" section in the document
    (docs/analysis.md) is shown beside the sampled figures.
    """
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    control = f"{document['base']['name']}, drawn again"  # which is no method
    methods = [name for name in document["methods"] if name != control] or list(document["methods"])
    named = ", ".join(methods) if len(methods) <= 6 else f"{len(methods)} methods"
    heading = f"{named} against {document['base']['name']}"
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
    """The page of an audit or a comparison, Plotly inside.

    page: what the template is filled with.
    heading: the page's.
    kicker: the line above it.
    json_name: the file with the same numbers, as the page names it.
    """
    return rendered(
        "page.html",
        page,
        script="page.js",
        title=heading,
        heading=heading,
        kicker=kicker,
        json_name=json_name,
        plotly=Markup(get_plotlyjs()),
    )
