"""From an audit document to what the page shows: verdict, tiles, sections of charts and tables, problems to read."""

from __future__ import annotations

from typing import Any

import analysis.report.charts as charts
from analysis.records import ModelSamples
from analysis.report.glance import glance
from analysis.report.glossary import MEANINGS, explain, for_page
from analysis.report.parts import sections
from analysis.report.reading import completions, problems
from analysis.report.support import equivalent
from analysis.report.words import interval, number, plainly, shortened
from analysis.tables import blocks
from analysis.verdict import meaning


def audit_page(document: dict, base: ModelSamples | None, *, tuned: ModelSamples | None) -> dict[str, Any]:
    """The page's data. base, tuned: the aligned samples, for completions to read; None leaves them out."""
    models = document.get("models") or {}
    names = tuple(str((models.get(side) or {}).get("name") or side) for side in ("base", "tuned"))
    names = tuple(names) if names[0] != names[1] else (f"{names[0]} (base)", f"{names[1]} (tuned)")
    short = (shortened(names[0]), shortened(names[1]))
    # charts and tables have room for short names only; the heading has the others
    labels = short if max(map(len, short)) <= SHORT else ("base", "tuned")
    by = blocks(document)
    pooled_first = dict(sorted(by.items(), key=lambda item: item[0] != "all"))
    rows = document["problems_detail"]
    several = len(by) > 1
    level = f"{round(100 * document['settings']['confidence'], 6):g}%"
    return {
        "names": dict(zip(("base", "tuned"), short, strict=True)),
        "labels": dict(zip(("base", "tuned"), labels, strict=True)),
        "warnings": document.get("warnings") or [],
        "categories": charts.CATEGORIES,
        "glossary": for_page(),
        "pages": [
            {
                "label": "all benchmarks" if name == "all" else name,
                "benchmark": None if name == "all" else name,
                "verdict": verdict(block),
                "glance": glance(block, document["settings"]["level"]),
                "tiles": tiles(block),
                "sections": explain(
                    sections(
                        name,
                        block,
                        by=by,
                        rows=[r for r in rows if name in ("all", r["benchmark"])],
                        names=labels,
                        authors=dict(zip(names, labels, strict=True)),
                        level=level,
                    )
                ),
            }
            for name, block in pooled_first.items()
        ],
        "problems": problems(rows, several=several, document=document),
        "problems_lead": "Look at the data: suspicious flips come first, then what changed most. Open a problem to read"
        " completions of both models, where they were recorded.",
        "completions": {} if base is None or tuned is None else completions(rows, base=base, tuned=tuned),
        "provenance": provenance(document),
    }


SHORT = 16  # characters of a name that charts and tables have room for


def verdict(block: dict) -> dict[str, Any]:
    certified = block.get("certified") or {}
    said = meaning(
        block["verdict"],
        certified_gains=certified.get("expanded", 0),
        certified_losses=certified.get("shrunk", 0),
    )
    word = f"{block['verdict'].capitalize()} {block['within']}"
    return {
        "word": word,
        "tone": block["verdict"],
        "meaning": said,
        "evidence": block["evidence"],
        "terms": terms(block),
    }


def terms(block: dict) -> list[list[str]]:
    """What the card's words rest on: draws n, eps of the certificates, and chance."""
    draws = block["draws"]
    sides = []
    for side in ("base", "tuned"):
        least, most = draws[side]["min"], draws[side]["max"]
        sides.append(
            f"{least:,} of the {side} model" if least == most else f"{least:,} to {most:,} of the {side} model"
        )
    out = [["n, draws a problem", " and ".join(sides)]]
    worth = block["efficiency"]
    out.append(
        [
            "in draws of the base",
            f"{worth['n']:,} draws of the tuned model reach what {equivalent(worth['base'])} of the base do",
        ]
    )
    if certified := block.get("certified"):
        out.append(
            [
                "eps, for what is certified",
                f"{certified['eps']:.3g}: a problem counts as within reach where a draw is correct with more than that "
                f"probability, at {certified['confidence']:.0%} confidence",
            ]
        )
    out.append(["p", MEANINGS["p"].removeprefix("p-value: ")])
    out.append(
        [
            "chance",
            "what one model drawn twice would show: which of a problem's draws are called base or tuned is shuffled",
        ]
    )
    return out


def tiles(block: dict) -> list[dict[str, str | None]]:
    s = block["support"]
    n = block["null"]
    p = block["pass_at_k"]
    # The ends of the curve. With --k it need not have 1, nor the k at which the support is read.
    last = str(s["k"]) if str(s["k"]) in p["base"] else list(p["base"])[-1]
    first = "1" if "1" in p["base"] else list(p["base"])[0]
    draws = block.get("draws") or {}
    total = " + ".join(f"{draws[side]['total']:,}" for side in ("base", "tuned") if side in draws)
    crossing = block.get("crossing_k")
    out = [
        tile("problems", f"{block['problems']:,}", note=f"{total} samples" if total else ""),
        tile("preserved", number(s["preserved"]), note="solved by both", colour="--preserved"),
        tile("shrunk", number(s["shrunk"]), note=beside_chance(s, n, key="shrunk"), colour="--shrunk"),
        tile("expanded", number(s["expanded"]), note=beside_chance(s, n, key="expanded"), colour="--expanded"),
        tile("out", number(s["out"]), note="solved by neither", colour="--out"),
    ]
    for k in dict.fromkeys((first, last)):
        out.append(
            tile(
                f"pass@{int(k):,}",
                f"{p['base'][k]['value']:.1%} → {p['tuned'][k]['value']:.1%}",
                note=f"difference {interval(p['difference'][k], sign=True)}",
            )
        )
    words = f"none up to k = {int(last):,}"
    if crossing:
        end = f"beyond {last}" if crossing["high"] is None else f"{crossing['high']:,.0f}"
        words = f"{crossing['low']:,.0f} to {end}"
    out.append(tile("curves cross at k", f"{crossing['value']:,.0f}" if crossing else "–", note=words))
    return out


def beside_chance(support: dict, null: dict, *, key: str) -> str:
    """What chance alone shows. The null is of all draws; where the count beside it is at a smaller k, the count over
    all draws is said too, so that like stands beside like."""
    chance = f"chance alone: {null['expected_' + key]:.3g}"
    return chance if support["whole_numbers"] else f"over all draws: {null['observed_' + key]}; {chance}"


def tile(label: str, value: str, *, note: str, colour: str | None = None) -> dict[str, str | None]:
    """A figure of the page's head.

    label, value: what it is, and the number as text.
    note: a line below.
    colour: of the page's own; None: plain.
    """
    return {"label": label, "value": value, "note": note, "colour": colour}


def provenance(document: dict) -> list[Any]:
    files = [
        [side, f["path"], f.get("select") or "", f["rows"], f["sha256"]]
        for side, list_ in document["inputs"].items()
        for f in (list_ if isinstance(list_, list) else list_.get("files", []))
    ]
    out: list[Any] = [
        {
            "caption": "Files",
            "columns": ["side", "path", "model", "rows", "sha256"],
            "rows": files,
            "text_columns": [1, 2, 4],
        }
    ]
    for key in ("models", "settings", "versions"):
        if document.get(key):
            flat = [[k, plainly(v)] for k, v in document[key].items() if v is not None]
            out.append({"caption": key.capitalize(), "columns": ["", ""], "rows": flat, "text_columns": [0, 1]})
    return [*out, f"seed {document.get('seed')}"]
