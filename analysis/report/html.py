"""A page as one HTML file: style, script and data inside, so that it opens from disk without a network."""

from __future__ import annotations

import json
import math
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

HERE = Path(__file__).parent


def rendered(template: str, page: dict[str, Any], *, script: str, **words: Any) -> str:
    """The template with the page's data and script in it.

    page: what the script draws; NaN and infinity become null. words: of the template itself.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    data = json.dumps(finite(page), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    data = data.replace("<", "\\u003c")  # no text can end the script
    try:
        release = version("explore-rl")
    except PackageNotFoundError:
        release = ""
    return environment.get_template(template).render(
        version=release,
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        js=Markup((HERE / script).read_text(encoding="utf-8")),
        data=Markup(data),
        **words,
    )


def finite(value: Any) -> Any:
    """NaN and infinity, which JSON does not know, as null; numbers round to six digits to stay small."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
